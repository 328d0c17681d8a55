"""Uniform quantization of arrays: x = S (q - Z) with integers q (Gholami et al. 2021, section III).

Arrays are matrices `[..., I, O]`, and S and Z `[..., G, O]` or `[..., G, 1]`: one for each group of
I / G rows, in each column or in all. So `[1, 1]` is per tensor and `[1, O]` per output channel.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError

BITS = (2, 3, 4, 8)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The integers that values are rounded to.

    Attributes:
      bits: b.
      symmetric: Z = 0 and q in +-(2^(b-1) - 1), so that the code -2^(b-1) is never used; otherwise
        q takes all 2^b values and Z is the code of 0.
    """

    bits: int = 8
    symmetric: bool = True

    def __post_init__(self) -> None:
        """Reject a width that no kernel stores."""
        if self.bits not in BITS:
            raise ConfigError(f"bits must be one of {BITS}, got {self.bits}")

    @property
    def lowest(self) -> int:
        """Smallest code."""
        return -(2 ** (self.bits - 1)) + int(self.symmetric)

    @property
    def highest(self) -> int:
        """Largest code."""
        return 2 ** (self.bits - 1) - 1


def scale_and_zero(
    low: jax.Array, high: jax.Array, grid: Grid
) -> tuple[jax.Array, jax.Array | None]:
    """S and Z that map a range onto the grid.

    S = max(-low, high) / (2^(b-1) - 1) on a symmetric grid, else (high - low) / (2^b - 1). A range
    that is a point has S = 1, so that nothing divides by zero.

    Args:
      low: smallest value of each group, at most 0: the range must hold 0 for 0 to be exact.
      high: largest value, at least 0.
      grid: the integers.

    Returns:
      S float32, and Z int8 or None, of the shape of `low`.
    """
    low, high = low.astype(jnp.float32), high.astype(jnp.float32)
    if grid.symmetric:
        scale = jnp.maximum(-low, high) / grid.highest
    else:
        scale = (high - low) / (grid.highest - grid.lowest)
    # Below this a division by the scale would overflow.
    scale = jnp.where(scale < jnp.finfo(jnp.float32).tiny * 256, 1.0, scale)
    if grid.symmetric:
        return scale, None
    zero = jnp.clip(jnp.round(grid.lowest - low / scale), grid.lowest, grid.highest)
    return scale, zero.astype(jnp.int8)


def encode(x: jax.Array, scale: jax.Array, zero: jax.Array | None, grid: Grid) -> jax.Array:
    """Round to codes, q = clip(round(x / S) + Z), ties to even: `[..., I, O]` int8."""
    codes = jnp.round(grouped(x.astype(jnp.float32), scale) / scale[..., None, :])
    if zero is not None:
        codes = codes + zero[..., None, :].astype(jnp.float32)
    return jnp.clip(codes, grid.lowest, grid.highest).astype(jnp.int8).reshape(x.shape)


def decode(codes: jax.Array, scale: jax.Array, zero: jax.Array | None) -> jax.Array:
    """S (q - Z): `[..., I, O]` float32."""
    # The difference spans up to 2^b - 1, more than int8 holds.
    values = grouped(codes, scale).astype(jnp.float32)
    if zero is not None:
        values = values - zero[..., None, :].astype(jnp.float32)
    return (values * scale[..., None, :]).reshape(codes.shape)


def grouped(x: jax.Array, scale: jax.Array) -> jax.Array:
    """`[..., I, O]` as `[..., G, I / G, O]`, by the groups of `scale`."""
    groups = scale.shape[-2]
    return x.reshape(*x.shape[:-2], groups, x.shape[-2] // groups, x.shape[-1])
