"""Quantization-aware training: the forward pass rounds, the gradient passes straight through.

A kernel keeps its float32 values and is read as if it were quantized. The rounding has a gradient
of one where a value lies on the grid and of zero where it is clipped (Bengio et al. 2013; Jacob et
al. 2018, section 3). Afterwards `finish` stores what the model was trained to be.
"""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxrec.nn import StoredKernel
from jaxrec.quant.activations import GRID, quantize_rows
from jaxrec.quant.grid import Grid, decode, encode, grouped
from jaxrec.quant.product import dense_product
from jaxrec.quant.sharding import box_arrays
from jaxrec.quant.uniform import UniformConfig, UniformKernel


def round_through(x: jax.Array, scale: jax.Array, zero: jax.Array | None, grid: Grid) -> jax.Array:
    """Round `[..., I, O]` to a grid, with the gradient of clipping alone.

    Args:
      x: float32.
      scale: S, as in `quant.grid`; nothing flows back to it.
      zero: Z, or None.
      grid: the integers.
    """
    codes = jnp.round(grouped(x, scale) / scale[..., None, :])
    if zero is not None:
        codes = codes + zero[..., None, :].astype(jnp.float32)
    inside = ((codes >= grid.lowest) & (codes <= grid.highest)).reshape(x.shape)
    passed = jnp.where(inside, x, jax.lax.stop_gradient(x))
    rounded = decode(encode(x, scale, zero, grid), scale, zero)
    return passed + jax.lax.stop_gradient(rounded - passed)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class RoundedKernel(StoredKernel):
    """A kernel in training, read as `config` would store it.

    Attributes:
      matrix: `[..., I, O]` float32, what is optimized.
      kernel_shape: of one layer's kernel.
      config: the grid, what shares a scale, how ranges are found, what happens to inputs.
    """

    matrix: jax.Array
    kernel_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    config: UniformConfig = dataclasses.field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it stands for."""
        return (*self.matrix.shape[:-2], *self.kernel_shape)

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """The rounded matrix, `[..., I, O]`."""
        # The range follows the weights as they are now, but is no way for them to learn.
        scale, zero = self.config.fit(jax.lax.stop_gradient(self.matrix))
        return round_through(self.matrix, scale, zero, self.config.grid).astype(dtype)

    def product(self, x: jax.Array) -> jax.Array:
        """Multiply `[M, I]`: `[M, O]` in the dtype of `x`."""
        if self.config.activations != "none":
            # [M, 1] or [1, 1] scales: rows take the place of groups.
            _, scale = quantize_rows(jax.lax.stop_gradient(x), self.config.activations)
            x = round_through(x.astype(jnp.float32), scale, None, GRID).astype(x.dtype)
        return dense_product(x, self.dense(x.dtype))

    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Box the matrix with its axis names."""
        *stack, inner, outer = axes
        return box_arrays(self, tuple(stack), matrix=(inner, outer))

    def stored(self) -> UniformKernel:
        """The integers."""
        return self.config.quantize(self.matrix, self.kernel_shape)


@dataclasses.dataclass(frozen=True)
class RoundedConfig:
    """The scheme of `quantize_params` for training: what the kernels are to become.

    Attributes:
      uniform: grid, scales, ranges, activations.
    """

    uniform: UniformConfig = UniformConfig()

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> RoundedKernel:
        """Wrap `[..., I, O]`, kernels of shape `kernel_shape`."""
        self.uniform.groups(matrix.shape[-2])
        return RoundedKernel(matrix.astype(jnp.float32), kernel_shape, self.uniform)


def finish(params: Any) -> Any:
    """Store what was trained: a `UniformKernel` that computes the same for each `RoundedKernel`."""

    def is_rounded(node: Any) -> bool:
        return isinstance(node, RoundedKernel)

    return jax.tree.map(
        lambda node: node.stored() if is_rounded(node) else node, params, is_leaf=is_rounded
    )
