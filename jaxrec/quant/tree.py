"""Quantization of a model: functions that replace kernels in a parameter tree."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, nearest
from jaxrec.nn import KernelSpec, StoredKernel

# The name of all kernels in the stacks. Kernels of heads have to be named explicitly.
ALL = "all"


class Scheme(Protocol):
    """How one kernel is quantized. Hashable, so that it is a static argument under `jax.jit`."""

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> StoredKernel:
        """Quantize the matrix `[I, O]` of a kernel of shape `kernel_shape`."""
        ...


def targets(specs: Mapping[str, KernelSpec], names: Iterable[str]) -> dict[str, KernelSpec]:
    """Select the kernels whose path ends in one of `names`.

    Args:
      specs: the kernels of the model, from `nn.kernel_specs`.
      names: ends of paths ("query", "mlp/up"), or "all" for every kernel of the transformer blocks.

    Raises:
      ConfigError: no path ends in a name; the message suggests the nearest one.

    Example:
      >>> spec = KernelSpec(shape=(4, 8), axes=("embed", "mlp"), contracted=1)
      >>> list(targets({"decoder/blocks/mlp/up": spec, "head/dense": spec}, ["all"]))
      ['decoder/blocks/mlp/up']
    """
    chosen: dict[str, KernelSpec] = {}
    for name in names:
        if name == ALL:
            found = [path for path in specs if "/blocks/" in path or "memory" in path]
        else:
            found = [path for path in specs if f"/{path}".endswith(f"/{name}")]
        if not found:
            ends = sorted({path.split("/")[-1] for path in specs})
            raise ConfigError(
                f"no kernel {name!r} to quantize{nearest(name, ends)}; kernels: "
                f"{', '.join(ends)}, or {ALL!r}; norms and embedding tables are never quantized"
            )
        chosen |= {path: specs[path] for path in found}
    return chosen


def quantize_params(
    params: Any,
    specs: Mapping[str, KernelSpec],
    scheme: Scheme,
    names: Iterable[str] = (ALL,),
    free: bool = False,
) -> Any:
    """Replace the kernels of a model by quantized ones.

    Repeated calls with different `names` give layers different schemes. Works under
    `jax.eval_shape`, to know sizes before anything is allocated.

    Args:
      params: the "params" tree.
      specs: the kernels of the model: `nn.kernel_specs(model_spec.shapes())`.
      scheme: how a kernel is quantized: a `UniformConfig`, `CodebookConfig`, `LlmInt8Config` or
        `QatConfig`.
      names: which kernels, see `targets`.
      free: delete each replaced array at once, even if other trees still refer to it.

    Returns:
      The "params" tree; all other leaves are shared with the given tree.

    Raises:
      ConfigError: a name matches nothing, or a kernel is already quantized or does not fit the
        scheme.

    Cost: layers of a stack are quantized one after another, so peak memory is the model, the
    kernels quantized so far, and the temporaries of one layer.

    Example:
      >>> from jaxrec.quant import UniformConfig
      >>> specs = {"up": KernelSpec(shape=(64, 2), axes=("embed", "mlp"), contracted=1)}
      >>> params = {"up": {"kernel": jnp.ones((64, 2))}, "norm": {"scale": jnp.ones(64)}}
      >>> stored = quantize_params(params, specs, UniformConfig(bits=4), names=["up"])
      >>> stored["up"]["kernel"].bits, stored["up"]["kernel"].shape
      (4, (64, 2))
      >>> stored["norm"]["scale"] is params["norm"]["scale"]
      True
    """
    leaves = flatten_dict(params, sep="/")
    for path, spec in targets(specs, names).items():
        kernel = leaves[f"{path}/kernel"]
        if isinstance(kernel, StoredKernel):
            raise ConfigError(
                f"the kernel of {path} is already stored as {type(kernel).__name__}; dequantize "
                "the parameters first, or name other kernels"
            )
        try:
            leaves[f"{path}/kernel"] = _store(kernel, spec, scheme)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        if free and isinstance(kernel, jax.Array) and not isinstance(kernel, jax.core.Tracer):
            jax.block_until_ready(leaves[f"{path}/kernel"])
            kernel.delete()
    return unflatten_dict(leaves, sep="/")


@functools.partial(jax.jit, static_argnums=(1, 2))
def _store(kernel: jax.Array, spec: KernelSpec, scheme: Scheme) -> StoredKernel:
    matrix = spec.matrix(kernel)
    if spec.layers is None:
        return scheme.quantize(matrix, spec.shape)
    return jax.lax.map(lambda own: scheme.quantize(own, spec.shape), matrix)


def dequantize_params(params: Any, dtype: Any = jnp.float32) -> Any:
    """Replace quantized kernels by plain arrays with the same values.

    Args:
      params: the "params" tree.
      dtype: of the new kernels.

    Returns:
      The "params" tree; all other leaves are shared with the given tree.

    Example:
      >>> from jaxrec.quant import UniformConfig
      >>> kernel = UniformConfig(bits=4).quantize(jnp.array([[3.5], [-1.6]]), (2, 1))
      >>> dequantize_params({"up": {"kernel": kernel}})["up"]["kernel"].tolist()
      [[3.5], [-1.5]]
    """
    leaves = flatten_dict(params, sep="/")
    for path, leaf in leaves.items():
        if isinstance(leaf, StoredKernel):
            leaves[path] = _dense(leaf, dtype)
    return unflatten_dict(leaves, sep="/")


@functools.partial(jax.jit, static_argnums=1)
def _dense(kernel: StoredKernel, dtype: Any) -> jax.Array:
    return kernel.dense(dtype).reshape(kernel.shape)


def bytes_of(tree: Any) -> int:
    """Count the bytes of all arrays in a tree, or of their shapes.

    Example:
      >>> bytes_of({"a": jnp.zeros(3), "b": jnp.zeros(2, jnp.int8)})
      14
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def parameters_of(tree: Any) -> int:
    """Count the parameters of a tree; a quantized kernel counts as the array that it replaces.

    Example:
      >>> from jaxrec.quant import UniformConfig
      >>> parameters_of({"kernel": UniformConfig(bits=4).quantize(jnp.ones((8, 2)), (8, 2))})
      16
    """
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, StoredKernel))
    total = 0
    for leaf in leaves:
        size = 1
        for length in leaf.shape:
            size *= length
        total += size
    return total


def bits_per_parameter(tree: Any) -> float:
    """Return the bits of storage per parameter of a model or of one kernel.

    Example:
      >>> from jaxrec.quant import UniformConfig
      >>> bits_per_parameter(UniformConfig(bits=4).quantize(jnp.ones((64, 2)), (64, 2)))
      4.5
    """
    return 8 * bytes_of(tree) / parameters_of(tree)
