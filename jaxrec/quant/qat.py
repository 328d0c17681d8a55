"""Quantization-aware training: the forward pass rounds, the backward pass ignores the rounding.

A `FakeKernel` replaces a kernel and holds its float values, so the same model code trains with the
loss that the quantized model will have. Gradients pass through rounding unchanged inside the range
and are zero outside (Jacob et al. 2018; Bengio et al. 2013). Scales follow the weights, or are
learned with them (LSQ, Esser et al. 2020).

    params = quantize_params(params, specs, QatConfig(UniformConfig(bits=4)))
    ...  # train
    params = finish(params)
"""

import dataclasses
import functools
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.nn import StoredKernel, matrix_product
from jaxrec.quant.activations import GRID
from jaxrec.quant.grid import Grid, decode, encode, grouped, scale_and_zero
from jaxrec.quant.ranges import RangeConfig
from jaxrec.quant.sharding import box_arrays
from jaxrec.quant.uniform import UniformConfig, UniformKernel

# Lower bound of learned scales.
LEAST_SCALE = 1e-8


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def fake_quantize(x: jax.Array, scale: jax.Array, zero: jax.Array | None, grid: Grid) -> jax.Array:
    """Round to the grid and back, differentiably: y = S (q - Z) with q = clip(round(x / S) + Z).

    With v = x / S, the gradients are

        dy/dx = 1,    dy/dS = q - Z - v     where q needs no clipping
        dy/dx = 0,    dy/dS = q - Z         where q is clipped

    Args:
      x: `[..., I, O]` float32.
      scale: S, `[..., G, O]` or `[..., G, 1]`; gradients sum over the values that share it.
      zero: Z, int8 of the shape of S, or None.
      grid: the integers.

    Example:
      >>> x, scale = jnp.array([[0.4], [9.0]]), jnp.array([[0.5]])
      >>> fake_quantize(x, scale, None, Grid(4)).tolist()
      [[0.5], [3.5]]
      >>> jax.grad(lambda x: fake_quantize(x, scale, None, Grid(4)).sum())(x).tolist()
      [[1.0], [0.0]]
    """
    return decode(encode(x, scale, zero, grid), scale, zero)


def _forward(
    x: jax.Array, scale: jax.Array, zero: jax.Array | None, grid: Grid
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array | None]]:
    return fake_quantize(x, scale, zero, grid), (x, scale, zero)


def _backward(
    grid: Grid, residuals: tuple[jax.Array, jax.Array, jax.Array | None], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    x, scale, zero = residuals
    steps = grouped(x, scale) / scale[..., None, :]
    shift = 0.0 if zero is None else zero[..., None, :].astype(jnp.float32)
    codes = jnp.round(steps) + shift
    inside = (codes >= grid.lowest) & (codes <= grid.highest)
    wide = grouped(gradient, scale)
    of_scale = wide * (
        jnp.clip(codes, grid.lowest, grid.highest) - shift - jnp.where(inside, steps, 0.0)
    )
    of_scale = jnp.sum(of_scale, axis=-2)
    if scale.shape[-1] == 1:
        of_scale = jnp.sum(of_scale, axis=-1, keepdims=True)
    return jnp.where(inside, wide, 0.0).reshape(x.shape), of_scale, None


fake_quantize.defvjp(_forward, _backward)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FakeKernel(StoredKernel):
    """A kernel, or a stack of kernels, that is rounded whenever it is read.

    Attributes:
      matrix: `[..., I, O]` float32, the trained values.
      scale: `[..., G, O or 1]` float32, trained too; None to fit it to the matrix at every step.
      bits, symmetric, per, group, activations: see `UniformConfig`.
      method, percentile: see `RangeConfig`.
      kernel_shape: shape of one layer's kernel.
    """

    matrix: jax.Array
    scale: jax.Array | None = None
    bits: int = dataclasses.field(default=8, metadata={"static": True})
    symmetric: bool = dataclasses.field(default=True, metadata={"static": True})
    per: Literal["tensor", "channel", "group"] = dataclasses.field(
        default="channel", metadata={"static": True}
    )
    group: int = dataclasses.field(default=128, metadata={"static": True})
    method: Literal["full", "percentile", "mse"] = dataclasses.field(
        default="full", metadata={"static": True}
    )
    percentile: float = dataclasses.field(default=99.9, metadata={"static": True})
    activations: Literal["none", "token", "tensor"] = dataclasses.field(
        default="none", metadata={"static": True}
    )
    kernel_shape: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def config(self) -> UniformConfig:
        """How the kernel is rounded."""
        range_ = RangeConfig(self.method, self.percentile)
        return UniformConfig(
            bits=self.bits,
            symmetric=self.symmetric,
            per=self.per,
            group=self.group,
            range=range_,
            activations=self.activations,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel that this node represents."""
        return (*self.matrix.shape[:-2], *self.kernel_shape)

    def grid_of(self) -> tuple[jax.Array, jax.Array | None]:
        """Return S and Z.

        The gradient of a learned S is multiplied by 1 / sqrt(N Q), as in LSQ, where N values share
        S and Q is the highest code.
        """
        if self.scale is None:
            return self.config.fit(jax.lax.stop_gradient(self.matrix))
        inner, outer = self.matrix.shape[-2:]
        values = inner // self.scale.shape[-2] * (outer if self.scale.shape[-1] == 1 else 1)
        factor = (values * self.config.grid.highest) ** -0.5
        scale = jnp.maximum(self.scale, LEAST_SCALE)
        return scale * factor + jax.lax.stop_gradient(scale * (1.0 - factor)), None

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """The matrix `[..., I, O]`, rounded to the grid."""
        scale, zero = self.grid_of()
        matrix = self.matrix.astype(jnp.float32)
        return fake_quantize(matrix, scale, zero, self.config.grid).astype(dtype)

    def product(self, x: jax.Array) -> jax.Array:
        """Map `[M, I]`, rounded according to `activations`, to `[M, O]` in the dtype of `x`."""
        if self.activations != "none":
            x = fake_rows(x, self.activations)
        return matrix_product(x, self.dense(x.dtype))

    def stored(self) -> UniformKernel:
        """Return the quantized kernel."""
        scale, zero = self.grid_of()
        return UniformKernel.of_codes(
            encode(self.matrix, scale, zero, self.config.grid),
            scale,
            zero,
            bits=self.bits,
            kernel_shape=self.kernel_shape,
            activations=self.activations,
        )

    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Box the arrays with axis names: the matrix is sharded like the kernel, groups are not."""
        *stack, inner, outer = axes
        column = None if self.scale is None or self.scale.shape[-1] == 1 else outer
        return box_arrays(self, tuple(stack), matrix=(inner, outer), scale=(None, column))


def fake_rows(x: jax.Array, how: Literal["token", "tensor"]) -> jax.Array:
    """Round `[M, I]` to int8 and back, with one scale per row or one for all rows."""
    most = jnp.max(jnp.abs(x), axis=1 if how == "token" else (0, 1), keepdims=True)
    scale, _ = scale_and_zero(-most, most, GRID)
    # Scales are shared over groups of rows: here one row each, or all rows in one group.
    rounded = fake_quantize(x.astype(jnp.float32), jax.lax.stop_gradient(scale), None, GRID)
    return rounded.astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class QatConfig:
    """Quantization-aware training: a scheme for `quantize_params`.

    Attributes:
      weights: grid, scales and activations.
      learn_scale: train the scales too, by LSQ; only for symmetric grids. The initial scales come
        from `weights.range`.

    Raises:
      ConfigError: `learn_scale` with an asymmetric grid.

    Example:
      >>> config = QatConfig(UniformConfig(bits=4), learn_scale=True)
      >>> kernel = config.quantize(jnp.array([[3.5], [-1.75]]), (2, 1))
      >>> kernel.matrix.tolist(), kernel.dense().tolist()
      ([[3.5], [-1.75]], [[3.5], [-2.0]])
    """

    weights: UniformConfig = UniformConfig(bits=4)
    learn_scale: bool = False

    def __post_init__(self) -> None:
        """Reject learned scales on asymmetric grids, whose zero points are integers."""
        if self.learn_scale and not self.weights.symmetric:
            raise ConfigError(
                "learn_scale cannot train the integer zero points of an asymmetric grid; use a "
                "symmetric grid"
            )

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> FakeKernel:
        """Wrap the matrix `[I, O]` of a kernel of shape `kernel_shape` for training."""
        weights = self.weights
        scale, _ = weights.fit(matrix)
        return FakeKernel(
            matrix=matrix.astype(jnp.float32),
            scale=scale if self.learn_scale else None,
            bits=weights.bits,
            symmetric=weights.symmetric,
            per=weights.per,
            group=weights.group,
            method=weights.range.method,
            percentile=weights.range.percentile,
            activations=weights.activations,
            kernel_shape=kernel_shape,
        )


def finish(params: Any) -> Any:
    """Quantize the kernels that were trained with rounding.

    Args:
      params: the "params" tree; its `FakeKernel` nodes become `UniformKernel` nodes.

    Raises:
      ConfigError: the tree has no `FakeKernel`.

    Example:
      >>> kernel = QatConfig().quantize(jnp.array([[3.5], [-1.6]]), (2, 1))
      >>> finish({"up": {"kernel": kernel}})["up"]["kernel"].integers.tolist()
      [[7], [-3]]
    """
    leaves = flatten_dict(params, sep="/")
    fakes = [path for path, leaf in leaves.items() if isinstance(leaf, FakeKernel)]
    if not fakes:
        raise ConfigError(
            "no kernel was trained with rounding; convert the parameters with quantize_params and "
            "QatConfig before training"
        )
    for path in fakes:
        leaves[path] = leaves[path].stored()
    return unflatten_dict(leaves, sep="/")
