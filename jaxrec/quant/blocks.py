"""Block-wise quantization: each block of values is divided by its own largest magnitude."""

import jax
import jax.numpy as jnp

from jaxrec.quant.codebooks import dynamic_levels, nearest_dynamic

# Number of scales that share a second scale (double quantization, Dettmers et al. 2023, section 3).
SCALES_A_BLOCK = 256


def in_blocks(x: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """Cut a vector into blocks and divide each by its largest magnitude.

    Args:
      x: `[X]`.
      block: values per block; the last block is padded with zeros.

    Returns:
      `[N, block]` values in [-1, 1], and the magnitudes, `[N]`; both float32.
    """
    x = x.astype(jnp.float32)
    blocks = jnp.pad(x, (0, -x.size % block)).reshape(-1, block)
    absmax = jnp.max(jnp.abs(blocks), axis=1)
    # The smallest normal number keeps a block of zeros at zero.
    inverse = 1.0 / jnp.maximum(absmax, jnp.finfo(jnp.float32).tiny)
    return jnp.clip(blocks * inverse[:, None], -1.0, 1.0), absmax


def compress_scales(absmax: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Double quantization: subtract the mean of the magnitudes and store the rest in 8 bits.

    Args:
      absmax: `[N]` float32.

    Returns:
      Codes `[N]` uint8, scales `[ceil(N / 256)]` float32, and the mean `[]` float32.
    """
    mean = jnp.mean(absmax)
    scaled, scale = in_blocks(absmax - mean, SCALES_A_BLOCK)
    return nearest_dynamic(scaled).reshape(-1)[: absmax.size], scale, mean


def expand_scales(codes: jax.Array, scale: jax.Array, mean: jax.Array) -> jax.Array:
    """Undo `compress_scales`, for any leading axes: `[..., N]` float32."""
    values = jnp.take(jnp.asarray(dynamic_levels()), codes.astype(jnp.int32), axis=0)
    scales = jnp.repeat(scale, SCALES_A_BLOCK, axis=-1)[..., : codes.shape[-1]]
    return values * scales + mean[..., None]
