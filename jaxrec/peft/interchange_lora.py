"""Conversion of LoRA between our nodes and PEFT's tensors and settings.

Our node is a stack over all blocks. In PEFT every block has its own module, whose rank and alpha
may differ. A PEFT module may also hold several of our layers side by side: GPT-2's `c_attn`
computes queries, keys and values. Its B then consists of blocks, one for each layer and distinct A.
"""

import collections
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.peft.interchange_names import Site, regex
from jaxrec.peft.lora import Lora

Tensors = dict[str, np.ndarray]


class LoraSettings(TypedDict, total=False):
    """What is read of an `adapter_config.json` of LoRA."""

    lora_alpha: float
    lora_dropout: float | None
    use_rslora: bool | None
    alpha_pattern: dict[str, float] | None


# A `[R, I]` and B `[O, R]` by module and number of the block.
Pairs = dict[str, dict[int, tuple[np.ndarray, np.ndarray]]]

_NAME = re.compile(r"(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")


def is_lora(name: str) -> bool:
    """Whether a tensor belongs to LoRA, by its name."""
    return ".lora_" in name


def write_lora(
    nodes: Mapping[str, Lora], places: Sequence[Site], rank_stabilized: bool
) -> tuple[dict[str, Any], Tensors, dict[str, int | None]]:
    """Convert nodes to PEFT's format.

    Args:
      nodes: unboxed nodes, by the path of their layer.
      places: the result of `sites`.
      rank_stabilized: express each scale as alpha / sqrt(r) instead of alpha / r.

    Returns:
      Settings, tensors by name, and the tuned modules with their number of blocks.

    Raises:
      ConfigError: a layer has no module in PEFT, adapters are routed by row, or dropout differs
        between layers.
    """
    lost = sorted(set(nodes) - {site.path for site in places})
    if lost:
        raise ConfigError(f"LoRA of {', '.join(lost)} has no counterpart in Hugging Face's model")
    if any(node.gate is not None for node in nodes.values()):
        raise ConfigError("adapters routed by row cannot be saved as one; save each of them alone")
    dropout = {node.dropout for node in nodes.values()}
    if len(dropout) > 1:
        raise ConfigError(
            f"PEFT has one dropout for all layers, but these layers have {sorted(dropout)}"
        )
    grouped: dict[str, list[Site]] = {}
    for site in places:
        if site.path in nodes:
            grouped.setdefault(site.module, []).append(site)
    tensors: Tensors = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for module, parts in grouped.items():
        a, b, scale = _joined(parts, nodes)
        ends = (
            ("lora_embedding_A", "lora_embedding_B")
            if parts[0].is_embedding
            else ("lora_A.weight", "lora_B.weight")
        )
        for layer in range(len(a)):
            for end, array in zip(ends, (a[layer], b[layer]), strict=True):
                tensors[f"{parts[0].name(layer)}.{end}"] = np.ascontiguousarray(array)
        ranks[module] = a.shape[1]
        alphas[module] = _alpha(scale, a.shape[1], rank_stabilized)
    rank, alpha = _commonest(ranks.values()), _commonest(alphas.values())
    settings = {
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout.pop(),
        "use_rslora": rank_stabilized,
        "rank_pattern": {regex(m): value for m, value in ranks.items() if value != rank},
        "alpha_pattern": {regex(m): value for m, value in alphas.items() if value != alpha},
        "fan_in_fan_out": any(
            site.input_first and not site.is_embedding
            for parts in grouped.values()
            for site in parts
        ),
        "bias": "none",
    }
    return settings, tensors, {m: parts[0].kernel.layers for m, parts in grouped.items()}


def _joined(
    parts: Sequence[Site], nodes: Mapping[str, Lora]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return PEFT's A `[L, R, I]`, B `[L, O, R]` and scale of one module; L is 1 outside stacks.

    Layers with equal A, such as those loaded from one PEFT module, share its rows.
    """
    downs: list[np.ndarray] = []
    which = []
    for site in parts:
        a = _stacked(site, nodes[site.path].a)
        same = [at for at, other in enumerate(downs) if np.array_equal(a, other)]
        if not same:
            downs.append(a)
        which.append(same[0] if same else len(downs) - 1)
    ends = np.cumsum([0, *(a.shape[-1] for a in downs)])
    first, scale = parts[0], nodes[parts[0].path].scale
    count = first.part[1] if first.part else 1
    # [L, parts, R, O]
    blocks = np.zeros((len(downs[0]), count, ends[-1], first.kernel.outer), np.float32)
    for site, at in zip(parts, which, strict=True):
        node = nodes[site.path]
        b = _stacked(site, node.b) * np.float32(node.scale / scale)
        blocks[:, site.part[0] if site.part else 0, ends[at] : ends[at + 1]] = b
    down = np.concatenate(downs, axis=-1)
    return (
        np.stack([first.down_there(a) for a in down]),
        np.stack([first.up_there(b) for b in blocks]),
        scale,
    )


def _stacked(site: Site, array: Any) -> np.ndarray:
    found = np.asarray(array, np.float32)
    return found[None] if site.kernel.layers is None else found


def _alpha(scale: float, rank: int, rank_stabilized: bool) -> float:
    """Return PEFT's alpha, free of the rounding errors of dividing by r and multiplying again."""
    alpha = float(f"{scale * (rank**0.5 if rank_stabilized else rank):.12g}")
    return int(alpha) if alpha.is_integer() else alpha


def _commonest(values: Any) -> Any:
    return collections.Counter(values).most_common(1)[0][0]


def read_lora(
    tensors: Mapping[str, np.ndarray], settings: Mapping[str, Any], places: Sequence[Site]
) -> dict[str, Lora]:
    """Convert PEFT's tensors to nodes.

    Blocks without an adapter get zeros, which stay zero in training. Smaller ranks are padded with
    zeros. If scales differ between blocks, they are multiplied into B.

    Args:
      tensors: the tensors of LoRA, by their names without PEFT's prefix.
      settings: the contents of `adapter_config.json`.
      places: the result of `sites`.

    Returns:
      Nodes by the path of their layer.

    Raises:
      ConfigError: a module matches none of our layers, or tensors belong to a variant of LoRA.
      DataError: A or B is missing or has a wrong shape.
    """
    pairs = _pairs(tensors, places)
    found: dict[str, Lora] = {}
    for path in dict.fromkeys(site.path for site in places):
        own = [site for site in places if site.path == path]
        there = [site for site in own if site.module in pairs]
        if not there:
            continue
        nodes = [_node(site, pairs[site.module], settings) for site in there]
        first = nodes[0]
        alike = all(
            np.array_equal(node.a, first.a)
            and np.array_equal(node.b, first.b)
            and node.scale == first.scale
            for node in nodes
        )
        if len(there) < len(own) or not alike:
            raise ConfigError(
                f"the modules {', '.join(site.module for site in own)} are one layer of this "
                f"model, {path}: the adapter must change all of them in the same way"
            )
        found[path] = first
    return found


def _pairs(tensors: Mapping[str, np.ndarray], places: Sequence[Site]) -> Pairs:
    """Return A and B by PEFT module and block, after checking their shapes."""
    known = {
        site.name(layer): (site, layer)
        for site in places
        for layer in range(site.kernel.layers or 1)
    }
    halves: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ConfigError(f"tensor {name} belongs to a variant of LoRA that is not supported")
        halves.setdefault(match[1], {})[match[2]] = tensor
    pairs: Pairs = {}
    for module, found in halves.items():
        if module not in known:
            raise ConfigError(
                f"LoRA of {module} changes no layer of this model{nearest(module, known)}"
            )
        if len(found) < 2:
            there = next(iter(found))
            missing = "B" if there == "A" else "A"
            raise DataError(f"the adapter has lora_{there} of {module} but no lora_{missing}")
        site, layer = known[module]
        a, b = found["A"], found["B"]
        if not a.ndim or not len(a):
            raise DataError(f"LoRA of {module} has rank 0; save the adapter again")
        rank = a.shape[0]
        expected = (rank, site.kernel.inner), (site.width_there, rank)
        if (a.shape, b.shape) != expected:
            raise DataError(
                f"LoRA of {module} has shapes {a.shape} and {b.shape}, expected "
                f"{expected[0]} and {expected[1]}"
            )
        pairs.setdefault(site.module, {})[layer] = a, b
    return pairs


def _node(
    site: Site,
    layers: Mapping[int, tuple[np.ndarray, np.ndarray]],
    settings: Mapping[str, Any],
) -> Lora:
    depth = site.kernel.layers or 1
    rank = max(len(a) for a, _ in layers.values())
    scales = {at: _scale(site.name(at), len(a), settings) for at, (a, _) in layers.items()}
    common = set(scales.values())
    equal = len(common) == 1
    scale = common.pop() if equal else 1.0
    down = np.zeros((depth, site.kernel.inner, rank), np.float32)
    up = np.zeros((depth, rank, site.kernel.outer), np.float32)
    for at, (a, b) in layers.items():
        down[at, :, : len(a)] = site.down_here(a)
        up[at, : len(a)] = site.up_here(b) * np.float32(1.0 if equal else scales[at])
    if site.kernel.layers is None:
        down, up = down[0], up[0]
    dropout = float(settings.get("lora_dropout") or 0.0)
    return Lora(a=jnp.asarray(down), b=jnp.asarray(up), scale=scale, dropout=dropout)


def _scale(module: str, rank: int, settings: Mapping[str, Any]) -> float:
    """Return the scale of one module; alpha is that of the first matching pattern, as in PEFT."""
    alpha = settings.get("lora_alpha", 8)
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        try:
            found = re.match(rf"(.*\.)?({pattern})$", module)
        except (re.error, RecursionError) as error:
            raise ConfigError(f"alpha_pattern {pattern!r:.60} is no pattern: {error}") from error
        if found:
            alpha = value
            break
    if not math.isfinite(alpha):
        raise DataError(f"the alpha of {module} is {alpha}; save the adapter again")
    return alpha / (rank**0.5 if settings.get("use_rslora") else rank)
