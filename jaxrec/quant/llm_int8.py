"""LLM.int8(): products in int8, except for the few input features with outliers (Dettmers 2022).

Features (columns of X) with an entry of at least the threshold anywhere in the batch are multiplied
in the input's dtype, the others as int8 with a scale a row of X and one a column of W:
Y = S_x S_w (X_q W_q) + X_O W_O. What is an outlier depends on the rows that happen to be together.

The number of outlier features is data, and shapes are not: they are either masked, which costs a
second product of full size, or the `columns` largest of them are gathered. Like the original it
saves memory, not time.
"""

import dataclasses
import math
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.nn import StoredKernel
from jaxrec.quant.activations import GRID
from jaxrec.quant.grid import decode, encode, scale_and_zero
from jaxrec.quant.product import dense_product, frozen_product, integer_product
from jaxrec.quant.ranges import RangeConfig, fit
from jaxrec.quant.sharding import box_arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LlmInt8Kernel(StoredKernel):
    """Codes of one kernel, or of a stack of them, and perhaps the kernel itself.

    Attributes:
      codes: `[..., I, O]` int8.
      scale: `[..., 1, O]` float32.
      original: `[..., I, O]`, read for outlier features; None to read the codes for them too, as
        bitsandbytes does once the original is gone.
      threshold: an entry of at least this makes its feature an outlier; infinity for none.
      columns: most outlier features of a product; None for a mask without limit.
      kernel_shape: of one layer's kernel.
    """

    codes: jax.Array
    scale: jax.Array
    original: jax.Array | None = None
    threshold: float = dataclasses.field(default=6.0, metadata={"static": True})
    columns: int | None = dataclasses.field(default=None, metadata={"static": True})
    kernel_shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it stands for."""
        return (*self.scale.shape[:-2], *self.kernel_shape)

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """`[..., I, O]`: what the codes stand for, whether or not the original is there."""
        return decode(self.codes, self.scale, None).astype(dtype)

    def product(self, x: jax.Array) -> jax.Array:
        """Multiply `[M, I]`: `[M, O]` in the dtype of `x`."""
        return frozen_product(_multiply, x, self)

    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Box arrays with axis names."""
        *stack, inner, outer = axes
        return box_arrays(
            self,
            tuple(stack),
            codes=(inner, outer),
            scale=(None, outer),
            original=(inner, outer),
        )


def _multiply(kernel: LlmInt8Kernel, x: jax.Array) -> jax.Array:
    most = jnp.max(jnp.abs(x), axis=0)
    outlier = most >= kernel.threshold
    chosen = None
    if kernel.columns is not None and kernel.columns < x.shape[1]:
        most, chosen = jax.lax.top_k(most, kernel.columns)
        outlier = jnp.zeros_like(outlier).at[chosen].set(most >= kernel.threshold)
    # Small entries of outlier features still count for the scale of their row, as in the original.
    small = jnp.where((jnp.abs(x) >= kernel.threshold) & outlier[None], jnp.zeros_like(x), x)
    bound = jnp.max(jnp.abs(small), axis=1, keepdims=True)
    scale, _ = scale_and_zero(-bound, bound, GRID)
    rows = jnp.where(outlier[None], jnp.int8(0), encode(small, scale, None, GRID))
    y = integer_product(rows, kernel.codes).astype(jnp.float32) * kernel.scale * scale
    if math.isfinite(kernel.threshold):
        y = y + _outlier_product(kernel, jnp.where(outlier[None], x, jnp.zeros_like(x)), chosen)
    return y.astype(x.dtype)


def _outlier_product(kernel: LlmInt8Kernel, x: jax.Array, chosen: jax.Array | None) -> jax.Array:
    """The product of outlier features alone, `[M, O]` float32; `x` is zero in all others."""
    matrix = kernel.codes if kernel.original is None else kernel.original
    if chosen is not None:
        # [M, I] -> [M, columns], [I, O] -> [columns, O]
        x, matrix = jnp.take(x, chosen, axis=1), jnp.take(matrix, chosen, axis=0)
    if kernel.original is None:
        matrix = decode(matrix, kernel.scale, None)
    return dense_product(x, matrix.astype(x.dtype)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class LlmInt8Config:
    """Vector-wise int8 with outliers apart.

    Attributes:
      threshold: see `LlmInt8Kernel`; the paper's is 6.
      columns: most outlier features of a product; None for a mask without limit.
      outlier_weights: "dequantized" reads the codes for outlier features; "original" keeps the
        kernel itself beside them, in its own dtype.
    """

    threshold: float = 6.0
    columns: int | None = None
    outlier_weights: Literal["dequantized", "original"] = "dequantized"

    def __post_init__(self) -> None:
        """Reject settings under which everything or nothing could be an outlier by mistake."""
        if not self.threshold > 0:
            raise ConfigError(
                f"threshold of LLM.int8() must be positive, got {self.threshold}; infinity turns "
                "the decomposition off"
            )
        if self.columns is not None and self.columns < 1:
            raise ConfigError(f"columns of LLM.int8() must be at least 1, got {self.columns}")
        if self.outlier_weights not in ("dequantized", "original"):
            raise ConfigError(
                f"outlier_weights are dequantized or original, got {self.outlier_weights!r}"
            )

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> LlmInt8Kernel:
        """Store `[I, O]`, a kernel of shape `kernel_shape`."""
        scale, _ = fit(matrix, GRID, per_column=True, groups=1, config=RangeConfig())
        codes = encode(matrix, scale, None, GRID)
        original = matrix if self.outlier_weights == "original" else None
        return LlmInt8Kernel(
            codes=codes,
            scale=scale,
            original=original,
            threshold=self.threshold,
            columns=self.columns,
            kernel_shape=kernel_shape,
        )
