"""A kernel of 4-bit codes into a table of levels: QLoRA's NF4 (Dettmers et al. 2023).

Blocks run along the rows of the transposed matrix `[O, I]`, which is how PyTorch stores a linear
layer, so that codes and scales are those of bitsandbytes. With double quantization a weight costs
4 + 8/64 + 32/(64 256) = 4.127 bits. The levels are not evenly spaced, so that there is no product
of integers: the matrix is made in the dtype of the input, which is bfloat16 in the recipe.
"""

import dataclasses
import math
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.nn import StoredKernel
from jaxrec.quant.blocks import compress_scales, expand_scales, in_blocks
from jaxrec.quant.codebooks import Codebook, levels_of, look_up, nearest_code
from jaxrec.quant.product import dense_product, frozen_product
from jaxrec.quant.sharding import box_arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CodebookKernel(StoredKernel):
    """Codes and block scales of one kernel, or of a stack of them.

    Attributes:
      codes: `[..., R, Q]` uint8, two codes a byte, the first in the high half. R is O where every
        row of `[O, I]` begins with a block; otherwise 1, as blocks run on across rows.
      absmax: scale of each block in the order of the blocks, `[..., N]`: float32, or uint8 with
        double quantization.
      absmax_scale: `[..., ceil(N / 256)]` float32 of double quantization, else None.
      absmax_mean: `[...]` float32 of double quantization, else None.
      codebook: the levels.
      block: values that share a scale.
      inner: I.
      kernel_shape: of one layer's kernel.
    """

    codes: jax.Array
    absmax: jax.Array
    absmax_scale: jax.Array | None = None
    absmax_mean: jax.Array | None = None
    codebook: Codebook = dataclasses.field(default="nf4", metadata={"static": True})
    block: int = dataclasses.field(default=64, metadata={"static": True})
    inner: int = dataclasses.field(default=0, metadata={"static": True})
    kernel_shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it stands for."""
        return (*self.codes.shape[:-2], *self.kernel_shape)

    @property
    def scales(self) -> jax.Array:
        """Scale of every block, `[..., N]` float32."""
        if self.absmax_scale is None or self.absmax_mean is None:
            return self.absmax
        return expand_scales(self.absmax, self.absmax_scale, self.absmax_mean)

    def transposed(self) -> jax.Array:
        """The matrix as it is stored, `[..., O, I]` float32."""
        stack, rows = self.codes.shape[:-2], self.codes.shape[-2]
        outer = math.prod(self.kernel_shape) // self.inner
        halves = jnp.stack([self.codes >> jnp.uint8(4), self.codes & jnp.uint8(15)], axis=-1)
        table = jnp.asarray(levels_of(self.codebook), jnp.float32)
        # Tied to the layer, or XLA would spread each level over an array as large as the matrix,
        # once for all layers of a scan, before the scan.
        table, _ = jax.lax.optimization_barrier((table, self.absmax[..., :1]))
        levels = look_up(table, halves)
        # Rows stay an axis of their own, so that a matrix that is split by rows needs no exchange.
        values = levels.reshape(*stack, rows, -1, self.block)
        values = values * self.scales.reshape(*stack, rows, -1, 1)
        values = values.reshape(*stack, -1)[..., : outer * self.inner]
        return values.reshape(*stack, outer, self.inner)

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """`[..., I, O]`; rounded once, from float32."""
        return jnp.swapaxes(self.transposed().astype(dtype), -1, -2)

    def product(self, x: jax.Array) -> jax.Array:
        """Multiply `[M, I]`: `[M, O]` in the dtype of `x`."""
        return frozen_product(_multiply, x, self)

    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Box arrays with axis names: codes are split as the kernel is, scales are not."""
        *stack, inner, outer = axes
        # One row holds blocks of many columns: there is no place to cut.
        split = (outer, inner) if self.codes.shape[-2] > 1 else (None, None)
        return box_arrays(
            self, tuple(stack), codes=split, absmax=(None,), absmax_scale=(None,), absmax_mean=()
        )


def _multiply(kernel: CodebookKernel, x: jax.Array) -> jax.Array:
    return dense_product(x, kernel.transposed().astype(x.dtype), transposed=True)


@dataclasses.dataclass(frozen=True)
class CodebookConfig:
    """Nearest level of a table, in blocks.

    Attributes:
      codebook: "nf4", or "fp4" for a 4-bit float.
      block: values that share a scale; even, as two codes share a byte.
      double: whether scales are quantized too.
    """

    codebook: Codebook = "nf4"
    block: int = 64
    double: bool = True

    def __post_init__(self) -> None:
        """Reject tables and blocks that do not exist."""
        if self.codebook not in ("nf4", "fp4"):
            raise ConfigError(f"codebook is nf4 or fp4, got {self.codebook!r}")
        if self.block < 2 or self.block % 2:
            raise ConfigError(f"block must be an even number of values, got {self.block}")

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> CodebookKernel:
        """Store `[I, O]`, a kernel of shape `kernel_shape`."""
        inner, outer = matrix.shape
        scaled, absmax = in_blocks(matrix.T.reshape(-1), self.block)
        codes = nearest_code(scaled, self.codebook).reshape(-1, 2)
        packed = codes[:, 0] << jnp.uint8(4) | codes[:, 1]
        packed = packed.reshape(outer if inner % self.block == 0 else 1, -1)
        scale = mean = None
        if self.double:
            absmax, scale, mean = compress_scales(absmax)
        return CodebookKernel(
            codes=packed,
            absmax=absmax,
            absmax_scale=scale,
            absmax_mean=mean,
            codebook=self.codebook,
            block=self.block,
            inner=inner,
            kernel_shape=kernel_shape,
        )
