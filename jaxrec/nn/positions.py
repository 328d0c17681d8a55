"""Positions: rotary embeddings, and the position of each token in a padded batch."""

import jax
import jax.numpy as jnp


def rotate(x: jax.Array, positions: jax.Array, theta: float) -> jax.Array:
    """Rotary position embedding (Su et al. 2021), half-split layout as in Llama.

    Args:
      x: `[B, T, N, H]` queries or keys, H even.
      positions: `[B, T]` int32.
      theta: base of the geometric series of wavelengths.

    Returns:
      `[B, T, N, H]`: each pair (x_i, x_{i+H/2}) turned by the angle position * theta^(-2i/H).
    """
    half = x.shape[-1] // 2
    frequency = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    # [B, T, 1, H/2]
    angle = jnp.einsum("bt,h->bth", positions.astype(jnp.float32), frequency)[:, :, None, :]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    left, right = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)
    return turned.astype(x.dtype)


def positions_of(valid: jax.Array) -> jax.Array:
    """Count valid tokens from 0: `[B, T]` bool to `[B, T]` int32; padding before the first gets 0.

    valid  = [0 0 1 1 1]  ->  [0 0 0 1 2]
    """
    return jnp.maximum(jnp.cumsum(valid.astype(jnp.int32), axis=-1) - 1, 0)
