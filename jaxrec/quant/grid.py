"""Uniform quantization of arrays: x = S (q - Z) with integers q (Gholami et al. 2021, section III).

Arrays are matrices `[..., I, O]`. S and Z are `[..., G, O]` or `[..., G, 1]`: one value for each
group of I / G rows, per column or for all columns. So `[1, 1]` means per tensor and `[1, O]` per
output channel.
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
      bits: b, one of 2, 3, 4 and 8.
      symmetric: if true, Z = 0 and q lies in +-(2^(b-1) - 1), so the code -2^(b-1) is never used;
        otherwise q takes all 2^b values and Z is the code of 0.

    Raises:
      ConfigError: a number of bits that no kernel stores.

    Example:
      >>> Grid(4).lowest, Grid(4).highest, Grid(4, symmetric=False).lowest
      (-7, 7, -8)
    """

    bits: int = 8
    symmetric: bool = True

    def __post_init__(self) -> None:
        """Reject widths that no kernel stores."""
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
    """Compute the S and Z that map a range of values onto the grid.

    S = max(-low, high) / (2^(b-1) - 1) on a symmetric grid, else (high - low) / (2^b - 1). An empty
    range gets S = 1, so nothing divides by zero.

    Args:
      low: smallest value of each group, at most 0: the range must contain 0 for 0 to be exact.
      high: largest value of each group, at least 0.
      grid: the integers.

    Returns:
      S float32, and Z int8 (None on a symmetric grid), both of the shape of `low`.

    Example:
      >>> low, high = jnp.array([[-3.0]]), jnp.array([[12.0]])
      >>> scale, zero = scale_and_zero(low, high, Grid(4, symmetric=False))
      >>> scale.tolist(), zero.tolist()
      ([[1.0]], [[-5]])
    """
    low, high = low.astype(jnp.float32), high.astype(jnp.float32)
    if grid.symmetric:
        scale = jnp.maximum(-low, high) / grid.highest
    else:
        scale = (high - low) / (grid.highest - grid.lowest)
    # Dividing by a smaller scale would overflow.
    scale = jnp.where(scale < jnp.finfo(jnp.float32).tiny * 256, 1.0, scale)
    if grid.symmetric:
        return scale, None
    zero = jnp.clip(jnp.round(grid.lowest - low / scale), grid.lowest, grid.highest)
    return scale, zero.astype(jnp.int8)


def encode(x: jax.Array, scale: jax.Array, zero: jax.Array | None, grid: Grid) -> jax.Array:
    """Round to codes, q = clip(round(x / S) + Z), with ties to even.

    Args:
      x: `[..., I, O]`.
      scale: S, `[..., G, O]` or `[..., G, 1]`.
      zero: Z, int8 of the shape of S, or None.
      grid: the integers.

    Returns:
      `[..., I, O]` int8.

    Example:
      >>> encode(jnp.array([[0.4], [-1.2]]), jnp.array([[0.5]]), None, Grid(4)).tolist()
      [[1], [-2]]
    """
    codes = jnp.round(grouped(x.astype(jnp.float32), scale) / scale[..., None, :])
    if zero is not None:
        codes = codes + zero[..., None, :].astype(jnp.float32)
    return jnp.clip(codes, grid.lowest, grid.highest).astype(jnp.int8).reshape(x.shape)


def decode(codes: jax.Array, scale: jax.Array, zero: jax.Array | None) -> jax.Array:
    """Return the values of codes, S (q - Z).

    Args:
      codes: q, `[..., I, O]` int8.
      scale: S, `[..., G, O]` or `[..., G, 1]`.
      zero: Z, int8 of the shape of S, or None.

    Returns:
      `[..., I, O]` float32.

    Example:
      >>> decode(jnp.array([[1], [-2]], jnp.int8), jnp.array([[0.5]]), None).tolist()
      [[0.5], [-1.0]]
    """
    # The difference spans up to 2^b - 1, which int8 cannot hold.
    values = grouped(codes, scale).astype(jnp.float32)
    if zero is not None:
        values = values - zero[..., None, :].astype(jnp.float32)
    return (values * scale[..., None, :]).reshape(codes.shape)


def grouped(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Reshape `[..., I, O]` to `[..., G, I / G, O]`, by the groups of `scale`."""
    groups = scale.shape[-2]
    return x.reshape(*x.shape[:-2], groups, x.shape[-2] // groups, x.shape[-1])
