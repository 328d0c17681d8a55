"""Dropout whose mask comes from an integer hash of a counter.

Drawing masks with a cryptographic generator is the largest cost of a small model's training step on
a CPU. A mask needs only bits that are uncorrelated across positions, layers and steps.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn


def hash_bits(seed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return uint32 bits of the given shape: C. Wellons' `lowbias32` mixer of counter + seed.

    Args:
      seed: `[2]` uint32.
      shape: at most 2^32 elements.
    """
    x = jnp.arange(_size(shape), dtype=jnp.uint32).reshape(shape)
    # The second word enters between the rounds, because seeds that differ by a shift of the counter
    # must not give shifted copies of one mask.
    x = _mix(x + seed[0])
    return _mix(x ^ seed[1])


def _mix(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def hash_mask(seed: jax.Array, shape: tuple[int, ...], rate: float) -> jax.Array:
    """Return a bool mask that is False in a fraction `rate` of its places."""
    threshold = jnp.uint32(min(round(rate * 2**32), 2**32 - 1))
    return hash_bits(seed, shape) >= threshold


def hash_dropout(x: jax.Array, seed: jax.Array, rate: float) -> jax.Array:
    """Zero a fraction `rate` of `x` and scale the rest by 1 / (1 - rate).

    Args:
      x: any shape.
      seed: `[2]` uint32.
      rate: in [0, 1).
    """
    return jnp.where(
        hash_mask(seed, x.shape, rate), x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros_like(x)
    )


class Dropout(nn.Module):
    """Zero a fraction `rate` of the elements and scale the rest by 1 / (1 - rate)."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Return `x`, of any shape, with dropout; needs a "dropout" key unless deterministic."""
        if deterministic or self.rate == 0.0:
            return x
        seed = jax.random.key_data(self.make_rng("dropout"))[:2]
        return hash_dropout(x, seed, self.rate)
