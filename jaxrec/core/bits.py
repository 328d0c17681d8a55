"""Bitmasks: 32 truths a word, the lowest bit first."""

import jax
import jax.numpy as jnp


def unpack_bits(words: jax.Array, size: int) -> jax.Array:
    """Bits of uint32 `[..., ceil(size / 32)]` as bool `[..., size]`."""
    shift = jnp.arange(32, dtype=jnp.uint32).reshape((1,) * words.ndim + (32,))
    bits = (words[..., None] >> shift) & jnp.uint32(1)
    return (bits != 0).reshape(*words.shape[:-1], -1)[..., :size]
