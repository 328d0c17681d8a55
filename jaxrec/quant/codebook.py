"""A kernel stored as 4-bit codes into a table of levels: QLoRA's NF4 (Dettmers et al. 2023).

Blocks run along the rows of the transposed matrix `[O, I]`, which is how PyTorch stores a linear
layer, so codes and scales equal those of bitsandbytes. With double quantization a weight costs
4 + 8/64 + 32/(64 256) = 4.127 bits. The levels are not evenly spaced, so products cannot be taken
in integers: the matrix is expanded in the dtype of the input, which is bfloat16 in QLoRA's recipe.
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
    """Codes and block scales of one kernel, or of a stack of kernels.

    Attributes:
      codes: `[..., R, Q]` uint8, two codes per byte, the first in the high half. R is O if every
        row of `[O, I]` starts a new block; otherwise R is 1 and blocks continue across rows.
      absmax: scale of each block, `[..., N]`, in block order: float32, or uint8 with double
        quantization.
      absmax_scale: `[..., ceil(N / 256)]` float32, only with double quantization.
      absmax_mean: `[...]` float32, only with double quantization.
      codebook: the table of levels.
      block: values that share a scale.
      inner: I.
      kernel_shape: shape of one layer's kernel.
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
        """Shape of the kernel that this node represents."""
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
        # The barrier ties the table to the layer. Without it XLA hoists the look-up out of a scan
        # over layers and broadcasts each level to an array as large as the matrix.
        table, _ = jax.lax.optimization_barrier((table, self.absmax[..., :1]))
        levels = look_up(table, halves)
        # Rows stay a separate axis, so a matrix that is sharded by rows needs no communication.
        values = levels.reshape(*stack, rows, -1, self.block)
        values = values * self.scales.reshape(*stack, rows, -1, 1)
        values = values.reshape(*stack, -1)[..., : outer * self.inner]
        return values.reshape(*stack, outer, self.inner)

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """The matrix `[..., I, O]`, computed in float32 and rounded once to `dtype`."""
        return jnp.swapaxes(self.transposed().astype(dtype), -1, -2)

    def product(self, x: jax.Array) -> jax.Array:
        """Map `[M, I]` to `[M, O]` in the dtype of `x`."""
        return frozen_product(_multiply, x, self)

    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Box the arrays with axis names: codes are sharded like the kernel, scales are not."""
        *stack, inner, outer = axes
        # With a single row, blocks cross the rows of the matrix and codes cannot be sharded.
        split = (outer, inner) if self.codes.shape[-2] > 1 else (None, None)
        return box_arrays(
            self, tuple(stack), codes=split, absmax=(None,), absmax_scale=(None,), absmax_mean=()
        )


def _multiply(kernel: CodebookKernel, x: jax.Array) -> jax.Array:
    return dense_product(x, kernel.transposed().astype(x.dtype), transposed=True)


@dataclasses.dataclass(frozen=True)
class CodebookConfig:
    """Round each weight to the nearest level of a table, with one scale per block of weights.

    Attributes:
      codebook: "nf4" for the NormalFloat of QLoRA, "fp4" for a 4-bit float.
      block: values that share a scale; even, because two codes share a byte.
      double: whether the scales are quantized too.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> matrix = jnp.linspace(-1.0, 1.0, 8).reshape(4, 2)  # [I, O]
      >>> kernel = CodebookConfig(block=4, double=False).quantize(matrix, (4, 2))
      >>> kernel.absmax.tolist(), kernel.codes.shape  # one block and two bytes per output
      ([1.0, 1.0], (2, 2))
    """

    codebook: Codebook = "nf4"
    block: int = 64
    double: bool = True

    def __post_init__(self) -> None:
        """Reject unknown tables and block sizes that cannot be stored."""
        if self.codebook not in ("nf4", "fp4"):
            raise ConfigError(f"codebook must be nf4 or fp4, got {self.codebook!r}")
        if self.block < 2 or self.block % 2:
            raise ConfigError(f"block must be an even number of values, got {self.block}")

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> CodebookKernel:
        """Quantize the matrix `[I, O]` of a kernel of shape `kernel_shape`."""
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
