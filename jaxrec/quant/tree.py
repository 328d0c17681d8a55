"""Quantization of a model: its kernels replaced, leaf by leaf, in a tree of parameters."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError, nearest
from jaxrec.nn import KernelSpec, StoredKernel

# What "all" means: every kernel of the stacks. Kernels of heads have to be named.
ALL = "all"


class Scheme(Protocol):
    """How one kernel is stored; hashable, as it is a static argument of a compiled function."""

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> StoredKernel:
        """Store `[I, O]`, a kernel of shape `kernel_shape`."""
        ...


def targets(specs: Mapping[str, KernelSpec], names: Iterable[str]) -> dict[str, KernelSpec]:
    """Kernels whose path ends in one of `names`.

    Args:
      specs: of `nn.kernel_specs`.
      names: "query", "mlp/up", ..., or "all" for every kernel of the transformer's blocks.

    Raises:
      ConfigError: a name that is the end of no path, with the nearest.
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
                f"{', '.join(ends)}, or {ALL!r}; norms and tables of a vocabulary stay as they are"
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
    """Replace kernels by stored ones.

    One kernel at a time, and of a stack one layer at a time, so that memory holds the model, what
    is stored already, and one layer's work. Called several times with other names it gives layers
    different schemes. It may be traced, as for the shapes that `jax.eval_shape` gives.

    Args:
      params: the "params" tree.
      specs: of `nn.kernel_specs`.
      scheme: how a kernel is stored.
      names: which: see `targets`.
      free: delete the arrays that are replaced, whoever else holds them.

    Returns:
      The "params" tree, everything else shared with the one given.

    Raises:
      ConfigError: names that nothing matches, a kernel that is stored already, or one that the
        scheme cannot store.
    """
    leaves = flatten_dict(params, sep="/")
    for path, spec in targets(specs, names).items():
        kernel = leaves[f"{path}/kernel"]
        if isinstance(kernel, StoredKernel):
            raise ConfigError(
                f"the kernel of {path} is stored as {type(kernel).__name__} already; dequantize "
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
    """Plain kernels in place of stored ones: the values that the model computes with."""
    leaves = flatten_dict(params, sep="/")
    for path, leaf in leaves.items():
        if isinstance(leaf, StoredKernel):
            leaves[path] = _dense(leaf, dtype)
    return unflatten_dict(leaves, sep="/")


@functools.partial(jax.jit, static_argnums=1)
def _dense(kernel: StoredKernel, dtype: Any) -> jax.Array:
    return kernel.dense(dtype).reshape(kernel.shape)


def bytes_of(tree: Any) -> int:
    """Bytes of all arrays of a tree, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def parameters_of(tree: Any) -> int:
    """How many numbers a tree stands for, stored kernels counted as the arrays they replace."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, StoredKernel))
    total = 0
    for leaf in leaves:
        size = 1
        for length in leaf.shape:
            size *= length
        total += size
    return total


def bits_per_parameter(tree: Any) -> float:
    """Bits of storage for each number that a tree stands for: of a model, or of one kernel."""
    return 8 * bytes_of(tree) / parameters_of(tree)
