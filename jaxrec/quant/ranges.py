"""The range of values that a grid covers: a wide range clips nothing, a narrow one rounds finer."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.quant.grid import Grid, decode, encode, scale_and_zero

# The search of GPTQ's published code (Frantar et al. 2022): factors 1, 0.99, ... above 0.2, and
# |error|^2.4.
SHRINK_STEPS, SHRINK_MOST, ERROR_NORM = 100, 0.8, 2.4


@dataclasses.dataclass(frozen=True)
class RangeConfig:
    """How the range of a grid is determined.

    Attributes:
      method: "full" covers every value (absmax on a symmetric grid, minmax otherwise);
        "percentile" clips the extremes; "mse" shrinks the full range by the factor with the
        smallest error.
      percentile: the percentile of |x| that a symmetric grid covers; otherwise the percentile of x
        on each side. In (50, 100].

    Raises:
      ConfigError: an unknown method or a percentile out of range.

    Example:
      >>> RangeConfig("percentile", 99.0)
      RangeConfig(method='percentile', percentile=99.0)
    """

    method: Literal["full", "percentile", "mse"] = "full"
    percentile: float = 99.9

    def __post_init__(self) -> None:
        """Reject unknown methods and percentiles that cross."""
        if self.method not in ("full", "percentile", "mse"):
            raise ConfigError(
                f"method of a range must be full, percentile or mse, got {self.method!r}"
            )
        if not 50.0 < self.percentile <= 100.0:
            raise ConfigError(f"percentile of a range must lie in (50, 100], got {self.percentile}")


def fit(
    x: jax.Array, grid: Grid, per_column: bool, groups: int, config: RangeConfig
) -> tuple[jax.Array, jax.Array | None]:
    """Fit the scale S and zero point Z of a grid to a matrix.

    Args:
      x: `[..., I, O]`.
      grid: the integers.
      per_column: whether every column has its own S and Z; otherwise all columns share them.
      groups: G; each group of I / G consecutive rows has its own S and Z.
      config: how the range is determined.

    Returns:
      S float32 and Z int8 (None on a symmetric grid), `[..., G, O]` or `[..., G, 1]`.

    Example:
      >>> x = jnp.array([[7.0, -1.0], [3.0, 14.0]])
      >>> scale, zero = fit(x, Grid(4), per_column=True, groups=1, config=RangeConfig())
      >>> scale.tolist(), zero
      ([[1.0, 2.0]], None)
    """
    x = x.astype(jnp.float32)
    blocks = x.reshape(*x.shape[:-2], groups, x.shape[-2] // groups, x.shape[-1])
    axes = (-2,) if per_column else (-2, -1)
    if config.method == "percentile":
        low, high = _percentiles(blocks, axes, grid, config.percentile)
    else:
        low, high = jnp.min(blocks, axes), jnp.max(blocks, axes)
    if not per_column:
        low, high = low[..., None], high[..., None]
    # 0 must be exact, because padding, dropped inputs and absent features are zeros.
    low, high = jnp.minimum(low, 0.0), jnp.maximum(high, 0.0)
    if config.method == "mse":
        low, high = _least_error(x, low, high, grid)
    return scale_and_zero(low, high, grid)


def _percentiles(
    blocks: jax.Array, axes: tuple[int, ...], grid: Grid, percentile: float
) -> tuple[jax.Array, jax.Array]:
    if grid.symmetric:
        bound = jnp.percentile(jnp.abs(blocks), percentile, axes)
        return -bound, bound
    low = jnp.percentile(blocks, 100.0 - percentile, axes)
    return low, jnp.percentile(blocks, percentile, axes)


def _least_error(
    x: jax.Array, low: jax.Array, high: jax.Array, grid: Grid
) -> tuple[jax.Array, jax.Array]:
    def error(factor: jax.Array) -> jax.Array:
        scale, zero = scale_and_zero(low * factor, high * factor, grid)
        lost = jnp.abs(x - decode(encode(x, scale, zero, grid), scale, zero)) ** ERROR_NORM
        groups = low.shape[-2]
        lost = lost.reshape(*x.shape[:-2], groups, x.shape[-2] // groups, x.shape[-1])
        lost = jnp.sum(lost, -2)
        return lost if low.shape[-1] == x.shape[-1] else jnp.sum(lost, -1, keepdims=True)

    def step(
        best: tuple[jax.Array, jax.Array], factor: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        least, kept = best
        found = error(factor)
        better = found < least
        return (jnp.where(better, found, least), jnp.where(better, factor, kept)), None

    factors = 1.0 - jnp.arange(int(SHRINK_MOST * SHRINK_STEPS)) / SHRINK_STEPS
    start = (jnp.full(low.shape, jnp.inf), jnp.ones(low.shape))
    (_, factor), _ = jax.lax.scan(step, start, factors)
    return low * factor, high * factor
