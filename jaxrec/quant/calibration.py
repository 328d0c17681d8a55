"""Statistics of kernel inputs on calibration data: Gram matrices for GPTQ, maxima for scales."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec
from jaxrec.nn import KernelSpec, StoredKernel, kernel_specs
from jaxrec.quant.layers import Batch, Layer, Statistic, walk
from jaxrec.quant.tree import ALL, targets
from jaxrec.quant.uniform import UniformKernel


def _gram(x: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = jnp.where(rows[:, None], x, 0.0)
    gram = jnp.matmul(x.T, x, precision=jax.lax.Precision.HIGHEST)
    return gram, jnp.sum(rows, dtype=jnp.float32)


def _absmax(x: jax.Array, rows: jax.Array) -> jax.Array:
    return jnp.max(jnp.where(rows[:, None], jnp.abs(x), 0.0), axis=0)


# GRAM: sum x x' `[I, I]`, and the number of rows. ABSMAX: the largest |x| of every input, `[I]`.
GRAM = Statistic(_gram, jnp.add)
ABSMAX = Statistic(_absmax, jnp.maximum)


def stacked_targets(
    spec: ModelSpec, params: Any, names: Iterable[str] = (ALL,)
) -> dict[str, KernelSpec]:
    """Select the kernels that a layer-by-layer method quantizes, by path.

    Args:
      spec: the model.
      params: the "params" tree.
      names: which kernels, see `quant.targets`.

    Raises:
      ConfigError: a name is unknown, or a kernel lies outside the stacks or is already quantized.
    """
    chosen = targets(kernel_specs(spec.shapes()), names)
    outside = [path for path, found in chosen.items() if found.layers is None]
    if outside:
        raise ConfigError(
            "calibrated quantization works on the layers of stacks only, not "
            f"{', '.join(outside)}; round those to nearest with quantize_params"
        )
    leaves = flatten_dict(params, sep="/")
    for path in chosen:
        kernel = leaves[f"{path}/kernel"]
        if isinstance(kernel, StoredKernel):
            raise ConfigError(
                f"the kernel of {path} is already stored as {type(kernel).__name__}; calibrated "
                "quantization needs the original kernel, or names of other kernels"
            )
    return chosen


def input_ranges(spec: ModelSpec, variables: Any, batches: Sequence[Batch]) -> dict[str, jax.Array]:
    """Measure the largest |input| of every kernel in the stacks.

    Args:
      spec: the model.
      variables: {"params": tree}, with the `TUNED` collection of an adapter if there is one.
      batches: calibration data: keyword arguments of the model.

    Returns:
      `[layers, I]` float32 by the path of the kernel.

    Raises:
      DataError: there are no batches.
    """
    found: dict[str, list[jax.Array]] = {}

    def visit(layer: Layer) -> Any:
        groups = layer.groups()
        ranges = layer.gather(layer.params, ABSMAX, tuple(names[0] for names in groups))
        for names in groups:
            for name in names:
                found.setdefault(f"{layer.path}/{name}", []).append(ranges[names[0]])
        return layer.params

    walk(spec, variables, batches, visit)
    return {path: jnp.stack(layers) for path, layers in found.items()}


def with_static_activations(params: Any, ranges: dict[str, jax.Array]) -> Any:
    """Round the inputs of kernels by fixed scales instead of scales computed at run time.

    Args:
      params: the "params" tree; its `UniformKernel` nodes change.
      ranges: the result of `input_ranges`.

    Raises:
      ConfigError: the inputs of a kernel were not calibrated.
    """
    leaves = flatten_dict(params, sep="/")
    for path, leaf in leaves.items():
        if isinstance(leaf, UniformKernel):
            layer = path.removesuffix("/kernel")
            if layer not in ranges:
                raise ConfigError(
                    f"no range was calibrated for the inputs of {layer}; calibrated kernels: "
                    f"{', '.join(ranges) or 'none'}"
                )
            leaves[path] = leaf.calibrated(jnp.max(ranges[layer], axis=-1))
    return unflatten_dict(leaves, sep="/")
