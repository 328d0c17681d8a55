"""A kernel on a uniform grid: integers, with scales per tensor, output channel or group of rows.

With inputs in their own dtype, quantization saves memory only (W8A16, W4A16). If inputs are rounded
too, the product itself runs in int8 (W8A8, W4A8): S_x S_w (sum_i x_i q_i - Z sum_i x_i).

Scales and codes are computed here because qwix's symmetric grid ends at 127.5 and qwix does not
pack codes. Its `QArray` is the exchange format (`qarray`). Its `dot_general` is not used: it
multiplies int32 by float, which strict promotion rejects; it computes in floating point if groups
have fewer than 128 rows; and it corrects zero points by a second full product, where a sum over
each row is enough.
"""

import dataclasses
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import qwix

from jaxrec.core import ConfigError
from jaxrec.nn import StoredKernel
from jaxrec.quant.activations import Activations, quantize_rows
from jaxrec.quant.grid import Grid, encode
from jaxrec.quant.packing import pack, unpack
from jaxrec.quant.product import dense_product, frozen_product, integer_product
from jaxrec.quant.ranges import RangeConfig, fit
from jaxrec.quant.sharding import box_arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class UniformKernel(StoredKernel):
    """Codes and scales of one kernel, or of a stack of kernels, made by `of_codes`.

    Attributes:
      codes: `[..., I, O]` int8; below 8 bits packed as `[..., U, P, O]` uint32, see `packing`.
      scale: S, `[..., G, O]` or `[..., G, 1]` float32.
      zero: Z, int8 of the shape of `scale`; None on a symmetric grid.
      x_scale: `[..., 1, 1]` float32, the calibrated scale of the inputs; None if scales of inputs
        are computed at run time.
      order: `[..., I]` int32: row r of the codes multiplies input `order[r]`; None if it multiplies
        input r.
      bits: width of a code.
      inner: I.
      kernel_shape: shape of one layer's kernel.
      activations: how inputs are rounded.
    """

    codes: jax.Array
    scale: jax.Array
    zero: jax.Array | None = None
    x_scale: jax.Array | None = None
    order: jax.Array | None = None
    bits: int = dataclasses.field(default=8, metadata={"static": True})
    inner: int = dataclasses.field(default=0, metadata={"static": True})
    kernel_shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})
    activations: Activations = dataclasses.field(default="none", metadata={"static": True})

    @classmethod
    def of_codes(
        cls,
        codes: jax.Array,
        scale: jax.Array,
        zero: jax.Array | None = None,
        *,
        bits: int,
        kernel_shape: tuple[int, ...],
        activations: Activations = "none",
        x_scale: jax.Array | None = None,
        order: jax.Array | None = None,
    ) -> "UniformKernel":
        """Build a kernel from `[..., I, O]` int8 codes, packing them if `bits` is below 8."""
        inner = codes.shape[-2]
        if bits < 8:
            codes = pack(codes.astype(jnp.int32) + 2 ** (bits - 1), bits)
        return cls(
            codes=codes,
            scale=scale,
            zero=zero,
            x_scale=x_scale,
            order=order,
            bits=bits,
            inner=inner,
            kernel_shape=kernel_shape,
            activations=activations,
        )

    def calibrated(self, absmax: jax.Array) -> "UniformKernel":
        """Return the kernel with a fixed input scale in place of one computed at run time.

        Args:
          absmax: largest |input| on calibration data, one scalar per layer: `[...]`.
        """
        scale = absmax.astype(jnp.float32)[..., None, None] / 127.0
        scale = jnp.where(scale > 0, scale, 1.0)
        return dataclasses.replace(self, x_scale=scale, activations="static")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel that this node represents."""
        return (*self.scale.shape[:-2], *self.kernel_shape)

    @property
    def integers(self) -> jax.Array:
        """The unpacked codes, `[..., I, O]` int8, in stored order."""
        if self.bits == 8:
            return self.codes
        codes = unpack(self.codes, self.bits, self.inner).astype(jnp.int8)
        return codes - jnp.int8(2 ** (self.bits - 1))

    @property
    def qarray(self) -> qwix.QArray:
        """The matrix as a `qwix.QArray`, in stored order."""
        return qwix.QArray(self.integers, self.scale, self.zero)

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """The matrix `[..., I, O]`, computed in float32 and rounded once to `dtype`."""
        matrix = qwix.dequantize(self.qarray)
        if self.order is not None:
            back = jnp.argsort(self.order, axis=-1)
            matrix = jnp.take_along_axis(matrix, back[..., None], axis=-2)
        return matrix.astype(dtype)

    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Box the arrays with axis names: codes are sharded like the kernel, groups are not."""
        *stack, inner, outer = axes
        column = None if self.scale.shape[-1] == 1 else outer
        return box_arrays(
            self,
            tuple(stack),
            codes=(inner, outer) if self.bits == 8 else (inner, None, outer),
            scale=(None, column),
            zero=(None, column),
            x_scale=(None, None),
            order=(None,),
        )

    def product(self, x: jax.Array) -> jax.Array:
        """Map `[M, I]` to `[M, O]` in the dtype of `x`."""
        if self.activations == "none":
            return frozen_product(_with_weights_dense, x, self)
        if self.activations == "static":
            assert self.x_scale is not None
            # Clipping here, outside the product, gives values beyond the range no gradient.
            bound = (self.x_scale * 127.0).astype(x.dtype)
            x = jnp.clip(x, -bound, bound)
        return frozen_product(_with_integers, x, self)


def _with_weights_dense(kernel: UniformKernel, x: jax.Array) -> jax.Array:
    return dense_product(x, kernel.dense(x.dtype))


def _with_integers(kernel: UniformKernel, x: jax.Array) -> jax.Array:
    if kernel.order is not None:
        x = jnp.take(x, kernel.order, axis=1)
    rows, x_scale = quantize_rows(x, kernel.activations, kernel.x_scale)
    groups = kernel.scale.shape[0]
    if groups == 1:
        y = _corrected(rows, kernel.integers, kernel.zero) * kernel.scale
        return (y * x_scale).astype(x.dtype)
    size = kernel.inner // groups
    # [M, I] -> [G, M, I / G], and [I, O] -> [G, I / G, O]
    pieces = jnp.swapaxes(rows.reshape(-1, groups, size), 0, 1)
    codes = kernel.integers.reshape(groups, size, -1)
    zero = None if kernel.zero is None else kernel.zero[:, None]

    def add(total: jax.Array, group: Any) -> tuple[jax.Array, None]:
        piece, own, scale, zero = group
        return total + _corrected(piece, own, zero) * scale, None

    # Groups are summed one by one; all at once would hold G results of [M, O].
    start = jnp.zeros((rows.shape[0], codes.shape[-1]), jnp.float32)
    y, _ = jax.lax.scan(add, start, (pieces, codes, kernel.scale[:, None], zero))
    return (y * x_scale).astype(x.dtype)


def _corrected(rows: jax.Array, codes: jax.Array, zero: jax.Array | None) -> jax.Array:
    """Compute sum_i x_i (q_i - Z) in integers: `[M, O]` float32."""
    y = integer_product(rows, codes)
    if zero is not None:
        total = jnp.sum(rows, axis=1, keepdims=True, dtype=jnp.int32)
        y = y - total * zero.astype(jnp.int32)
    return y.astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformConfig:
    """Round to nearest on a uniform grid.

    Attributes:
      bits: width of a weight: 2, 3, 4 or 8.
      symmetric: whether the grid is symmetric around 0, see `Grid`.
      per: which weights share a scale: the whole "tensor", an output "channel", or a "group" of
        rows within a channel.
      group: rows per group; must divide I.
      range: how ranges are determined.
      activations: how inputs are rounded: "none", or int8 with a scale per "token" or one scale
        per "tensor". For fixed scales see `with_static_activations`.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> matrix = jnp.array([[3.5, -7.0], [-1.6, 2.2]])  # [I, O]
      >>> kernel = UniformConfig(bits=4).quantize(matrix, (2, 2))
      >>> kernel.integers.tolist(), kernel.scale.tolist()
      ([[7, -7], [-3, 2]], [[0.5, 1.0]])
      >>> kernel.dense().tolist()
      [[3.5, -7.0], [-1.5, 2.0]]
    """

    bits: int = 8
    symmetric: bool = True
    per: Literal["tensor", "channel", "group"] = "channel"
    group: int = 128
    range: RangeConfig = RangeConfig()
    activations: Literal["none", "token", "tensor"] = "none"

    def __post_init__(self) -> None:
        """Reject values out of range."""
        Grid(self.bits, self.symmetric)
        if self.per not in ("tensor", "channel", "group"):
            raise ConfigError(f"per must be tensor, channel or group, got {self.per!r}")
        if self.group < 1:
            raise ConfigError(f"group must be at least 1 row, got {self.group}")
        if self.activations not in ("none", "token", "tensor"):
            raise ConfigError(
                f"activations must be none, token or tensor, got {self.activations!r}; for static "
                "scales calibrate with with_static_activations"
            )

    @property
    def grid(self) -> Grid:
        """The integers."""
        return Grid(self.bits, self.symmetric)

    def groups(self, inner: int) -> int:
        """Return G, the number of groups of a matrix with `inner` rows.

        Raises:
          ConfigError: the size of a group does not divide `inner`.
        """
        if self.per != "group":
            return 1
        if inner % self.group:
            raise ConfigError(
                f"groups of {self.group} rows do not divide the {inner} rows of the kernel; set "
                f"group to a divisor of {inner}"
            )
        return inner // self.group

    def fit(self, matrix: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Fit S and Z to a matrix `[..., I, O]`."""
        groups = self.groups(matrix.shape[-2])
        return fit(matrix, self.grid, self.per != "tensor", groups, self.range)

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> UniformKernel:
        """Quantize the matrices `[..., I, O]` of kernels of shape `kernel_shape`."""
        scale, zero = self.fit(matrix)
        return UniformKernel.of_codes(
            encode(matrix, scale, zero, self.grid),
            scale,
            zero,
            bits=self.bits,
            kernel_shape=kernel_shape,
            activations=self.activations,
        )
