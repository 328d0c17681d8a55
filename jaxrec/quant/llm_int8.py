"""LLM.int8(): int8 products, except for the few input features with outliers (Dettmers 2022).

Features (columns of X) with an entry of at least the threshold anywhere in the batch are multiplied
in the input's dtype. The others are multiplied as int8, with one scale per row of X and one per
column of W: Y = S_x S_w (X_q W_q) + X_O W_O. Which features are outliers therefore depends on the
rows that share a batch.

The number of outlier features varies at run time, but shapes cannot. Outliers are either masked,
which costs a second product of full size, or the `columns` largest of them are gathered. Like the
original implementation this saves memory, not time.
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
    """Codes of one kernel, or of a stack of kernels, optionally with the original kernel.

    Attributes:
      codes: `[..., I, O]` int8.
      scale: `[..., 1, O]` float32.
      original: `[..., I, O]`, read for outlier features; None to decode the codes for them, as
        bitsandbytes does once the original is discarded.
      threshold: an entry of at least this magnitude makes its feature an outlier; infinity disables
        outliers.
      columns: maximum number of outlier features of a product; None masks any number of them.
      kernel_shape: shape of one layer's kernel.
    """

    codes: jax.Array
    scale: jax.Array
    original: jax.Array | None = None
    threshold: float = dataclasses.field(default=6.0, metadata={"static": True})
    columns: int | None = dataclasses.field(default=None, metadata={"static": True})
    kernel_shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel that this node represents."""
        return (*self.scale.shape[:-2], *self.kernel_shape)

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """The matrix `[..., I, O]` decoded from the codes, even if the original is kept."""
        return decode(self.codes, self.scale, None).astype(dtype)

    def product(self, x: jax.Array) -> jax.Array:
        """Map `[M, I]` to `[M, O]` in the dtype of `x`."""
        return frozen_product(_multiply, x, self)

    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Box the arrays with axis names."""
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
    # As in the original, small entries of outlier features still count for the scale of their row.
    small = jnp.where((jnp.abs(x) >= kernel.threshold) & outlier[None], jnp.zeros_like(x), x)
    bound = jnp.max(jnp.abs(small), axis=1, keepdims=True)
    scale, _ = scale_and_zero(-bound, bound, GRID)
    rows = jnp.where(outlier[None], jnp.int8(0), encode(small, scale, None, GRID))
    y = integer_product(rows, kernel.codes).astype(jnp.float32) * kernel.scale * scale
    if math.isfinite(kernel.threshold):
        y = y + _outlier_product(kernel, jnp.where(outlier[None], x, jnp.zeros_like(x)), chosen)
    return y.astype(x.dtype)


def _outlier_product(kernel: LlmInt8Kernel, x: jax.Array, chosen: jax.Array | None) -> jax.Array:
    """Multiply the outlier features: `[M, O]` float32; `x` is zero in all other features."""
    matrix = kernel.codes if kernel.original is None else kernel.original
    if chosen is not None:
        # [M, I] -> [M, columns], [I, O] -> [columns, O]
        x, matrix = jnp.take(x, chosen, axis=1), jnp.take(matrix, chosen, axis=0)
    if kernel.original is None:
        matrix = decode(matrix, kernel.scale, None)
    return dense_product(x, matrix.astype(x.dtype)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class LlmInt8Config:
    """Vector-wise int8 quantization with separate treatment of outlier features.

    Attributes:
      threshold: magnitude from which an entry makes its feature an outlier; 6 in the paper.
      columns: maximum number of outlier features of a product; None masks any number of them.
      outlier_weights: "dequantized" decodes the codes for outlier features; "original" also keeps
        the unquantized kernel, in its own dtype.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> kernel = LlmInt8Config().quantize(jnp.array([[127.0], [2.4]]), (2, 1))
      >>> kernel.codes.tolist(), kernel.scale.tolist(), kernel.threshold
      ([[127], [2]], [[1.0]], 6.0)
    """

    threshold: float = 6.0
    columns: int | None = None
    outlier_weights: Literal["dequantized", "original"] = "dequantized"

    def __post_init__(self) -> None:
        """Reject thresholds and limits that cannot be meant."""
        if not self.threshold > 0:
            raise ConfigError(
                f"threshold of LLM.int8() must be positive, got {self.threshold}; infinity turns "
                "the decomposition off"
            )
        if self.columns is not None and self.columns < 1:
            raise ConfigError(f"columns of LLM.int8() must be at least 1, got {self.columns}")
        if self.outlier_weights not in ("dequantized", "original"):
            raise ConfigError(
                f"outlier_weights must be dequantized or original, got {self.outlier_weights!r}"
            )

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> LlmInt8Kernel:
        """Quantize the matrix `[I, O]` of a kernel of shape `kernel_shape`."""
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
