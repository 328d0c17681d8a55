"""Several LoRA adapters over one base: as a weighted sum, or one for each row of a batch.

Both concatenate the ranks, so a layer still adds a single product of two thin matrices:

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

# Layers that add an update to their table, which all rows share.
_TABLES = ("embedding", "head")


def combine(adapters: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """Combine adapters into their weighted sum, whose rank is the sum of ranks (PEFT's "cat").

    Args:
      adapters: `TUNED` trees by name; they may change different layers.
      weights: numbers or float32 scalars by name; a negative weight subtracts an adapter.

    Returns:
      The `TUNED` tree of the sum.

    Raises:
      ConfigError: adapters and weights have different names, a node is not `Lora`, or dropout
        differs between adapters.

    Example:
      >>> def adapter(value):
      ...     return {"up": {"update": Lora(a=jnp.ones((2, 1)), b=jnp.full((1, 2), value))}}
      >>> both = combine({"a": adapter(1.0), "b": adapter(3.0)}, {"a": 1.0, "b": 0.5})
      >>> a, b = both["up"]["update"].factors()
      >>> (a @ b).tolist()
      [[2.5, 2.5], [2.5, 2.5]]
    """
    if set(adapters) != set(weights):
        raise ConfigError(
            f"adapters {', '.join(sorted(adapters))} need one weight each, got weights for "
            f"{', '.join(sorted(weights)) or 'none'}"
        )
    made = {}
    for path, nodes in _by_layer(adapters).items():
        scaled = [_weighted(node, weights[name]) for name, node in nodes.items()]
        made[f"{path}/update"] = _joined(path, scaled)
    return unflatten_dict(made, sep="/")


def route(adapters: Sequence[Any], choice: jax.Array) -> dict[str, Any]:
    """Let each row of a batch use its own adapter, all in one pass.

    Args:
      adapters: `TUNED` trees; they may change different layers.
      choice: `[B]` int32, the number of each row's adapter; -1 for the base without an adapter.
        Rows are users in training, reading and searching.

    Returns:
      The `TUNED` tree for batches of B rows.

    Raises:
      ConfigError: an adapter changes an embedding or a head, whose table all rows share; a node is
        not `Lora`; or dropout differs between adapters.

    Example:
      >>> def adapter(value):
      ...     return {"up": {"update": Lora(a=jnp.ones((2, 1)), b=jnp.full((1, 2), value))}}
      >>> tuned = route([adapter(1.0), adapter(3.0)], jnp.array([1, 0, -1], jnp.int32))
      >>> tuned["up"]["update"].branch(jnp.ones((3, 2)), None).tolist()
      [[6.0, 6.0], [2.0, 2.0], [0.0, 0.0]]
    """
    made = {}
    for path, nodes in _by_layer(dict(enumerate(adapters))).items():
        if path.split("/")[-1] in _TABLES:
            raise ConfigError(
                f"adapters routed by row cannot change {path}, whose table all rows share; leave "
                "it out of targets"
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
    """Return the nodes of every layer, by path and adapter."""
    found: dict[str, dict[Any, Lora]] = {}
    for name, tuned in adapters.items():
        for path, node in updates(tuned).items():
            found.setdefault(path, {})[name] = node
    return found


def _weighted(node: Lora, weight: Any) -> Lora:
    """Multiply an update by a weight and move its scale into A."""
    a, b = node.factors()
    return Lora(a=a, b=b * jnp.asarray(weight, b.dtype), dropout=node.dropout)


def _joined(path: str, nodes: Sequence[Lora]) -> Lora:
    rates = sorted({node.dropout for node in nodes})
    if len(rates) > 1:
        raise ConfigError(
            f"adapters of {path} have different dropouts {rates}, but share one branch; give them "
            "the same dropout"
        )
    return Lora(
        a=jnp.concatenate([node.a for node in nodes], axis=-1),
        b=jnp.concatenate([node.b for node in nodes], axis=-2),
        dropout=rates[0],
    )
