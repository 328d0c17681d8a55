"""Parameters that are trained in full along with an adapter: PEFT's `modules_to_save`.

PEFT saves whole modules, and saves tied modules separately. Here single leaves are replaced, and
tied modules are one leaf.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.models import Pretrained, Table, tensor_of, tensor_rows
from jaxrec.nn import StoredKernel

# PEFT always trains these modules of classifiers.
CLASSIFIERS = ("score", "classifier")

_BASE = ".base_layer."


def write_modules(
    model: Pretrained, base: Mapping[str, Any], full: Mapping[str, Any], table: Table
) -> tuple[dict[str, int | None], dict[str, np.ndarray]]:
    """Convert fully trained leaves to PEFT's modules.

    Args:
      model: the base.
      base: leaves of the base by path.
      full: trained leaves by path.
      table: the weight table of the model's family.

    Returns:
      The saved modules with their number of blocks, and all tensors of these modules.

    Raises:
      ConfigError: the model does not have a trained leaf.
    """
    shapes = model.spec.flat_shapes()
    for path in full:
        if path not in shapes:
            raise ConfigError(f"{path} is not a parameter of this model{nearest(path, shapes)}")
    rows = {row.name: row for row in table.weights}
    names = {row.name for row in table.weights if row.path in full}
    names |= {alias for alias, name in table.aliases.items() if name in names}
    chosen = {name.rpartition(".")[0] for name in names}
    if model.spec.kind.endswith("classifier"):
        chosen |= {name.split(".")[0] for name in rows} & set(CLASSIFIERS)
    chosen = {m for m in chosen if not any(m.startswith(f"{outer}.") for outer in chosen)}
    saved = [
        name
        for name in [*rows, *table.aliases]
        if any(name.startswith(f"{module}.") for module in chosen)
    ]
    own = {table.aliases.get(name, name) for name in saved}
    leaves = {
        row.path: _plain(full.get(row.path, base[row.path]))
        for row in table.weights
        if row.name in own
    }
    every = tensor_rows(table, shapes)
    tensors = {}
    for name in saved:
        row = rows[table.aliases.get(name, name)]
        for layer in range(shapes[row.path][0]) if row.stacked else [0]:
            there = row.name.replace("{layer}", str(layer))
            written = there if name == row.name else name
            tensors[written] = tensor_of(*every[there], leaves, "float32")
    blocks = {name.rpartition(".")[0]: shapes[row.path][0] for name, row in rows.items()}
    layers = {m: blocks[m] if "{layer}" in m else None for m in chosen}
    return layers, tensors


def read_modules(
    tensors: Mapping[str, np.ndarray], model: Pretrained, base: Mapping[str, Any], table: Table
) -> dict[str, Any]:
    """Convert PEFT's modules to leaves.

    Args:
      tensors: all tensors except those of the method itself, by their names without PEFT's prefix.
      model: the base.
      base: leaves of the base by path.
      table: the weight table of the model's family.

    Returns:
      The leaves that replace those of the base, by path.

    Raises:
      ConfigError: tied modules were trained to different values.
      DataError: a tensor does not belong to this model or has a wrong shape.
    """
    shapes = model.spec.flat_shapes()
    every = tensor_rows(table, shapes)

    def of_base(name: str) -> np.ndarray:
        own, layer = every[table.aliases.get(name, name)]
        return tensor_of(own, layer, {row.path: _plain(base[row.path]) for row in own}, "float32")

    given: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        plain = name.replace(_BASE, ".")
        if plain not in every and plain not in table.aliases:
            raise DataError(f"the adapter has {name}, which is not a tensor of this model")
        row = every[table.aliases.get(plain, plain)][0][0]
        expected = row.shape_there(shapes[row.path])
        if tensor.shape != expected:
            raise DataError(f"the adapter's {name} has shape {tensor.shape}, expected {expected}")
        if _BASE in name:
            # PEFT also saves the table that LoRA changes, which is usually unchanged.
            tensor = tensor.astype(jnp.asarray(base[row.path]).dtype).astype(np.float32)
            if np.array_equal(tensor, of_base(plain)):
                continue
        given[plain] = tensor
    for alias, name in table.aliases.items():
        if alias not in given and name not in given:
            continue
        one, other = (given[n] if n in given else of_base(n) for n in (alias, name))
        if not np.array_equal(one, other):
            raise ConfigError(
                f"the adapter has different values for {alias} and {name}, which the model ties; "
                "untie the model, or train the adapter with ensure_weight_tying"
            )
    found: dict[str, np.ndarray] = {}
    for name, tensor in given.items():
        if name in table.aliases:
            continue
        own, layer = every[name]
        for row in own:
            leaf = row.here(tensor, shapes[row.path])
            if layer is None:
                found[row.path] = leaf
                continue
            if row.path not in found:
                found[row.path] = np.array(_plain(base[row.path]), np.float32)
            found[row.path][layer] = leaf
    return {path: jnp.asarray(leaf, jnp.float32) for path, leaf in found.items()}


def _plain(leaf: Any) -> Any:
    return leaf.dense().reshape(leaf.shape) if isinstance(leaf, StoredKernel) else leaf
