"""Several LoRA adapters over one base: as a weighted sum, or each row of a batch with its own.

Both concatenate ranks, so that a layer still adds one product of two thin matrices:

    sum_i w_i s_i A_i B_i = [A_1 A_2 ...] [w_1 s_1 B_1; w_2 s_2 B_2; ...]
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.peft.lora import Lora, updates

# Layers that read an update as factors of a table, one for all rows.
_TABLES = ("embedding", "head")


def combine(adapters: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """Sum adapters, weighted, as one whose rank is the sum of theirs (PEFT's "cat").

    Args:
      adapters: `TUNED` trees by name; they need not change the same layers.
      weights: of each, by name: numbers or float32 scalars, negative to take one away.

    Raises:
      ConfigError: names that differ, nodes other than `Lora`, or dropouts that differ.
    """
    if set(adapters) != set(weights):
        raise ConfigError(
            f"adapters {', '.join(sorted(adapters))} need one weight each, got weights of "
            f"{', '.join(sorted(weights)) or 'none'}"
        )
    made = {}
    for path, nodes in _by_layer(adapters).items():
        scaled = [_weighted(node, weights[name]) for name, node in nodes.items()]
        made[f"{path}/update"] = _joined(path, scaled)
    return unflatten_dict(made, sep="/")


def route(adapters: Sequence[Any], choice: jax.Array) -> dict[str, Any]:
    """Let each row of a batch use an adapter of its own, all in one pass.

    Args:
      adapters: `TUNED` trees; they need not change the same layers.
      choice: `[B]` int32, number of each row's adapter; -1 for the base alone. Rows are those of
        the model's calls: users in training, reading and searching.

    Returns:
      The `TUNED` tree, for batches of B rows.

    Raises:
      ConfigError: an update of an embedding or of a head, whose table all rows share; nodes other
        than `Lora`; dropouts that differ.
    """
    made = {}
    for path, nodes in _by_layer(dict(enumerate(adapters))).items():
        if path.split("/")[-1] in _TABLES:
            raise ConfigError(
                f"adapters routed by row cannot change {path}, one table for all rows; leave it "
                "out of targets"
            )
        node = _joined(path, [_weighted(each, 1.0) for each in nodes.values()])
        ranks = [each.a.shape[-1] for each in nodes.values()]
        owner = np.repeat(np.array(list(nodes), np.int32), ranks)
        gate = (choice[:, None] == owner[None, :]).astype(jnp.float32)
        if node.a.ndim == 3:
            gate = jnp.broadcast_to(gate[None], (node.a.shape[0], *gate.shape))
        made[f"{path}/update"] = dataclasses.replace(node, gate=gate)
    return unflatten_dict(made, sep="/")


def _by_layer(adapters: Mapping[Any, Any]) -> dict[str, dict[Any, Lora]]:
    """Nodes of every layer, by the adapter's name."""
    found: dict[str, dict[Any, Lora]] = {}
    for name, tuned in adapters.items():
        for path, node in updates(tuned).items():
            found.setdefault(path, {})[name] = node
    return found


def _weighted(node: Lora, weight: Any) -> Lora:
    """The same change times a weight, with a scale of one."""
    a, b = node.factors()
    return Lora(a=a, b=b * jnp.asarray(weight, b.dtype), dropout=node.dropout)


def _joined(path: str, nodes: Sequence[Lora]) -> Lora:
    rates = sorted({node.dropout for node in nodes})
    if len(rates) > 1:
        raise ConfigError(
            f"adapters of {path} have dropouts {rates}, and one branch drops once; set the same"
        )
    return Lora(
        a=jnp.concatenate([node.a for node in nodes], axis=-1),
        b=jnp.concatenate([node.b for node in nodes], axis=-2),
        dropout=rates[0],
    )
