"""Quantization-aware training: the forward pass rounds, the backward pass looks through it.

A `FakeKernel` stands where a kernel stood and holds its float values, so that a model is trained
with the loss that it will have once quantized, by the same code. Gradients pass rounding unchanged
inside of the range and stop outside of it (Jacob et al. 2018; Bengio et al. 2013). Scales follow
the weights, or are learned beside them (LSQ, Esser et al. 2020).

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

# A learned scale that training drives below this stays here.
LEAST_SCALE = 1e-8


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def fake_quantize(x: jax.Array, scale: jax.Array, zero: jax.Array | None, grid: Grid) -> jax.Array:
    """S (q - Z) with q = clip(round(x / S) + Z): what a stored matrix would be, differentiable.

    With v = x / S, and q before clipping in the grid or not,

        dy/dx = 1 or 0,    dy/dS = q - Z - v or q - Z

    Args:
      x: `[..., I, O]` float32.
      scale: S, `[..., G, O]` or `[..., G, 1]`; a sum over its group is its gradient.
      zero: Z, int8 of the shape of S, or None.
      grid: the integers.
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
    """A kernel, or a stack of them, that is rounded whenever it is read.

    Attributes:
      matrix: `[..., I, O]` float32, what is trained.
      scale: `[..., G, O or 1]` float32, trained too; None to find it from the matrix each time.
      bits, symmetric, per, group, method, percentile, activations: of `UniformConfig` and of its
        range.
      kernel_shape: of one layer's kernel.
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
        """How it is rounded."""
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
        """Shape of the array that it stands for."""
        return (*self.matrix.shape[:-2], *self.kernel_shape)

    def grid_of(self) -> tuple[jax.Array, jax.Array | None]:
        """S and Z; the gradient of a learned S is that of LSQ.

        It is 1 / sqrt(N Q) of the exact one, for N values that share S and Q the highest code.
        """
        if self.scale is None:
            return self.config.fit(jax.lax.stop_gradient(self.matrix))
        inner, outer = self.matrix.shape[-2:]
        values = inner // self.scale.shape[-2] * (outer if self.scale.shape[-1] == 1 else 1)
        factor = (values * self.config.grid.highest) ** -0.5
        scale = jnp.maximum(self.scale, LEAST_SCALE)
        return scale * factor + jax.lax.stop_gradient(scale * (1.0 - factor)), None

    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """`[..., I, O]`, rounded to the grid."""
        scale, zero = self.grid_of()
        matrix = self.matrix.astype(jnp.float32)
        return fake_quantize(matrix, scale, zero, self.config.grid).astype(dtype)

    def product(self, x: jax.Array) -> jax.Array:
        """Multiply `[M, I]`, rounded if activations are: `[M, O]` in the dtype of `x`."""
        if self.activations != "none":
            x = fake_rows(x, self.activations)
        return matrix_product(x, self.dense(x.dtype))

    def stored(self) -> UniformKernel:
        """The kernel in few bits."""
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
        """Box arrays with axis names: the matrix is split as the kernel is, groups are not."""
        *stack, inner, outer = axes
        column = None if self.scale is None or self.scale.shape[-1] == 1 else outer
        return box_arrays(self, tuple(stack), matrix=(inner, outer), scale=(None, column))


def fake_rows(x: jax.Array, how: Literal["token", "tensor"]) -> jax.Array:
    """Round `[M, I]` to int8 and back, by a scale for each row or one of all."""
    most = jnp.max(jnp.abs(x), axis=1 if how == "token" else (0, 1), keepdims=True)
    scale, _ = scale_and_zero(-most, most, GRID)
    # Rows take the place of groups: one row each, or all of them in one.
    rounded = fake_quantize(x.astype(jnp.float32), jax.lax.stop_gradient(scale), None, GRID)
    return rounded.astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class QatConfig:
    """Train with rounding: a scheme of `quantize_params`.

    Attributes:
      weights: grid, scales and activations.
      learn_scale: train scales by LSQ; symmetric grids only. They start where `weights.range` says.
    """

    weights: UniformConfig = UniformConfig(bits=4)
    learn_scale: bool = False

    def __post_init__(self) -> None:
        """Reject learned scales with zero points, which are integers."""
        if self.learn_scale and not self.weights.symmetric:
            raise ConfigError(
                "learn_scale trains scales alone, and an asymmetric grid has zero points too; "
                "use a symmetric grid"
            )

    def quantize(self, matrix: jax.Array, kernel_shape: tuple[int, ...]) -> FakeKernel:
        """Hold `[I, O]`, a kernel of shape `kernel_shape`."""
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
    """Store the kernels that were trained with rounding, in the bits that they were trained for.

    Args:
      params: the "params" tree; its `FakeKernel` nodes become `UniformKernel` ones.

    Raises:
      ConfigError: there are none.
    """
    leaves = flatten_dict(params, sep="/")
    fakes = [path for path, leaf in leaves.items() if isinstance(leaf, FakeKernel)]
    if not fakes:
        raise ConfigError("no kernel was trained with rounding; use quantize_params and QatConfig")
    for path in fakes:
        leaves[path] = leaves[path].stored()
    return unflatten_dict(leaves, sep="/")
