"""Tables of levels in [-1, 1] that codes index, and the search for the level nearest to a value.

NF4 puts its levels at quantiles of a normal distribution (Dettmers et al. 2023, section 3), because
trained weights are nearly normal within a block. The dynamic map (Dettmers 2015) spends bits on an
exponent, for values that span many magnitudes.

Published checkpoints hold these levels as float32. The derivations here round at the same places
and give the same 16 and 256 numbers to the last bit.
"""

import functools
from statistics import NormalDist
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Codebook = Literal["nf4", "fp4"]

# Probability mass below the outermost quantile, before the levels are scaled to [-1, 1].
NF4_OFFSET = 0.9677083


@functools.cache
def levels_of(codebook: Codebook) -> tuple[float, ...]:
    """Return the level of each of the 16 codes, as float32 values."""
    return _normal_float() if codebook == "nf4" else _float4()


def _normal_float() -> tuple[float, ...]:
    """Return eight quantiles above 0, seven below, evenly spaced in mass, and 0 itself."""

    def quantiles(count: int) -> np.ndarray:
        masses = _linspace(NF4_OFFSET, 0.5, count + 1)[:-1]
        return np.array([NormalDist().inv_cdf(float(mass)) for mass in masses], np.float32)

    levels = np.sort(np.concatenate([quantiles(8), -quantiles(7), [0.0]]))
    return tuple((levels / levels.max()).astype(np.float32).tolist())


def _float4() -> tuple[float, ...]:
    """Return the values of a sign, two exponent bits and one mantissa bit, ordered by code."""
    positive = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0]
    levels = np.array([*positive, *(-value for value in positive)]) / 12.0
    return tuple(levels.astype(np.float32).tolist())


@functools.cache
def dynamic_levels() -> np.ndarray:
    """Return the signed dynamic map of 8 bits: `[256]` float32, ascending.

    Magnitude 10^(i - 6), i = 0..6, has 2^i levels in (0.1, 1) of each sign. Two more levels are
    0 and 1.
    """
    levels = [np.array([0.0, 1.0], np.float32)]
    for exponent in range(7):
        bounds = _linspace(0.1, 1.0, 2**exponent + 1)
        middles = (bounds[1:] + bounds[:-1]) / np.float32(2.0)
        magnitudes = np.float32(10.0 ** (exponent - 6)) * middles
        levels += [magnitudes, -magnitudes]
    return np.sort(np.concatenate(levels))


def _linspace(start: float, stop: float, count: int) -> np.ndarray:
    """Evenly spaced float32 numbers, rounded as in PyTorch: from both ends, with a fused sum."""
    first, last = np.float32(start), np.float32(stop)
    step = np.float64(np.float32((last - first) / np.float32(count - 1)))
    index = np.arange(count)
    below = np.float64(first) + step * index
    above = np.float64(last) - step * (count - 1 - index)
    return np.where(index < count // 2, below, above).astype(np.float32)


def nearest_code(x: jax.Array, codebook: Codebook) -> jax.Array:
    """Return the uint8 code of the level nearest to each value; ties take the lower level."""
    levels = np.array(levels_of(codebook), np.float32)
    order = np.argsort(levels, kind="stable")
    bounds = (levels[order][1:] + levels[order][:-1]) / np.float32(2.0)
    rank = sum((x > bound).astype(jnp.uint8) for bound in bounds)
    if np.array_equal(order, np.arange(16)):
        return jnp.asarray(rank)
    return look_up(jnp.asarray(order, jnp.float32), jnp.asarray(rank)).astype(jnp.uint8)


def look_up(table: jax.Array, codes: jax.Array) -> jax.Array:
    """Return the float32 entry of a table `[16]` for each code.

    Four rounds of selects, one for each bit, are fast on every device; gathers are not.
    """
    values = [table[code] for code in range(16)]
    for bit in range(4):
        is_set = (codes >> jnp.uint8(bit) & jnp.uint8(1)) == 1
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [jnp.where(is_set, high, low) for low, high in pairs]
    return values[0]


def nearest_dynamic(x: jax.Array) -> jax.Array:
    """Return the uint8 code of the level of the dynamic map that is nearest to each value."""
    levels = dynamic_levels()
    bounds = (levels[1:] + levels[:-1]) / np.float32(2.0)
    return jnp.searchsorted(jnp.asarray(bounds), x, side="left").astype(jnp.uint8)
