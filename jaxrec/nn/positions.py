"""Positions of tokens in a padded batch, rotary embeddings, and relative position buckets."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import Count, Positive, check_ranges

Rotation = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """How rotary wavelengths are stretched for contexts longer than those of pre-training.

    Attributes:
      kind: `none` keeps all frequencies. `linear` divides each by `factor`. `llama3` divides only
        the low ones, which rotate fewer than `low` times within the original context; from `low` to
        `high` rotations the division fades out.
      factor: by how much wavelengths grow.
      low, high: rotations within the original context (`llama3` only).
      original: number of tokens in the original context (`llama3` only).

    Raises:
      ConfigError: a number is out of range.
    """

    kind: Literal["none", "linear", "llama3"] = "none"
    factor: Positive = 1.0
    low: Positive = 1.0
    high: Positive = 4.0
    original: Count = 8192

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--model.rope-scaling.")


def rotary_frequencies(
    head_size: int, theta: float, scaling: RopeScaling = RopeScaling()
) -> np.ndarray:
    """Return theta^(-2i/H) for i < H/2, after `scaling`: `[H/2]` float32, in radians per token."""
    half = head_size // 2
    frequency = theta ** (-np.arange(half, dtype=np.float64) / half)
    if scaling.kind == "linear":
        frequency = frequency / scaling.factor
    elif scaling.kind == "llama3":
        rotations = scaling.original * frequency / (2 * math.pi)
        keep = np.clip((rotations - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0)
        frequency = frequency * (keep + (1 - keep) / scaling.factor)
    return frequency.astype(np.float32)


def rotation(positions: jax.Array, frequencies: np.ndarray) -> Rotation:
    """Return sine and cosine of each token's angles, `[B, T, 1, H/2]`, from `[B, T]` positions."""
    angle = jnp.einsum("bt,h->bth", positions.astype(jnp.float32), frequencies)[:, :, None, :]
    return jnp.sin(angle), jnp.cos(angle)


def rotate(x: jax.Array, angles: Rotation) -> jax.Array:
    """Apply rotary position embedding (Su et al. 2021), in Llama's half-split layout.

    Args:
      x: `[B, T, N, H]` queries or keys, H even.
      angles: sine and cosine for the tokens' positions, from `rotation`.

    Returns:
      `[B, T, N, H]`: each pair (x_i, x_{i+H/2}) is rotated by the angle position * theta^(-2i/H).
    """
    sin, cos = angles
    left, right = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)
    return rotated.astype(x.dtype)


def positions_of(valid: jax.Array, segments: jax.Array | None = None) -> jax.Array:
    """Count valid tokens from 0: `[B, T]` bool to `[B, T]` int32; padding before the first gets 0.

    valid  = [0 0 1 1 1]  ->  [0 0 0 1 2]

    `segments` are `[B, T]` int32 numbers of the sequences packed into a row; each of those is then
    counted from 0.
    """
    count = jnp.maximum(jnp.cumsum(valid.astype(jnp.int32), axis=-1) - 1, 0)
    if segments is None:
        return count
    before = jnp.pad(segments[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    first = jax.lax.cummax(jnp.where(segments != before, count, 0), axis=1)
    return count - first


def relative_buckets(
    distance: jax.Array, num_buckets: int, max_distance: int, causal: bool
) -> jax.Array:
    """Return the bucket of each relative position, as in T5 (Raffel et al. 2020, section 2.1).

    Half of the buckets of a direction are one position wide. The others grow logarithmically up to
    `max_distance`, and all greater distances share the last bucket.

    Args:
      distance: int32, query position minus key position: positive for keys in the past.
      num_buckets: total number of buckets.
      max_distance: where the last bucket begins.
      causal: whether all keys lie in the past and use all buckets; otherwise half of the buckets
        are for keys in the future.

    Returns:
      int32 of the same shape, in `[0, num_buckets)`.
    """
    start = jnp.zeros_like(distance)
    if causal:
        distance = jnp.maximum(distance, 0)
    else:
        num_buckets //= 2
        start = jnp.where(distance < 0, num_buckets, 0)
        distance = jnp.abs(distance)
    exact = num_buckets // 2
    far = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / exact)
    far = far / math.log(max_distance / exact) * (num_buckets - exact)
    far = jnp.minimum(exact + far.astype(jnp.int32), num_buckets - 1)
    return start + jnp.where(distance < exact, distance, far)
