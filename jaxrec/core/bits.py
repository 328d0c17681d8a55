"""Bitmasks: 32 booleans per word, the lowest bit first."""

import jax
import jax.numpy as jnp


def unpack_bits(words: jax.Array, size: int) -> jax.Array:
    """Unpack uint32 words `[..., ceil(size / 32)]` into bool `[..., size]`.

    Example:
      >>> unpack_bits(jnp.array([0b101], jnp.uint32), 4).tolist()
      [True, False, True, False]
    """
    shift = jnp.arange(32, dtype=jnp.uint32).reshape((1,) * words.ndim + (32,))
    bits = (words[..., None] >> shift) & jnp.uint32(1)
    return (bits != 0).reshape(*words.shape[:-1], -1)[..., :size]
