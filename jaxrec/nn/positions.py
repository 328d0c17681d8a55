"""Positions: of tokens in a padded batch, rotary embeddings, relative buckets."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Rotation = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """How rotary wavelengths are stretched for contexts longer than those of pre-training.

    Attributes:
      kind: `none`; `linear` divides every frequency by `factor`; `llama3` only the low ones, those
        with fewer than `low` turns in the `original` context, blending up to `high` turns.
      factor: of the stretch.
      low, high: turns within the original context (`llama3` alone).
      original: tokens of the original context (`llama3` alone).
    """

    kind: Literal["none", "linear", "llama3"] = "none"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original: int = 8192


def rotary_frequencies(
    head_size: int, theta: float, scaling: RopeScaling = RopeScaling()
) -> np.ndarray:
    """theta^(-2i/H) for i < H/2, stretched as asked: `[H/2]` float32, radians a token."""
    half = head_size // 2
    frequency = theta ** (-np.arange(half, dtype=np.float64) / half)
    if scaling.kind == "linear":
        frequency = frequency / scaling.factor
    elif scaling.kind == "llama3":
        turns = scaling.original * frequency / (2 * math.pi)
        keep = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0)
        frequency = frequency * (keep + (1 - keep) / scaling.factor)
    return frequency.astype(np.float32)


def rotation(positions: jax.Array, frequencies: np.ndarray) -> Rotation:
    """Sine and cosine of each token's angles: `[B, T]` positions to two arrays `[B, T, 1, H/2]`."""
    angle = jnp.einsum("bt,h->bth", positions.astype(jnp.float32), frequencies)[:, :, None, :]
    return jnp.sin(angle), jnp.cos(angle)


def rotate(x: jax.Array, turn: Rotation) -> jax.Array:
    """Rotary position embedding (Su et al. 2021), half-split layout as in Llama.

    Args:
      x: `[B, T, N, H]` queries or keys, H even.
      turn: of the tokens' positions, from `rotation`.

    Returns:
      `[B, T, N, H]`: each pair (x_i, x_{i+H/2}) turned by the angle position * theta^(-2i/H).
    """
    sin, cos = turn
    left, right = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)
    return turned.astype(x.dtype)


def positions_of(valid: jax.Array, segments: jax.Array | None = None) -> jax.Array:
    """Count valid tokens from 0: `[B, T]` bool to `[B, T]` int32; padding before the first gets 0.

    valid  = [0 0 1 1 1]  ->  [0 0 0 1 2]

    With `segments`, `[B, T]` int32 numbers of the sequences packed into a row, each counts anew.
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
    """Bucket of each relative position, as in T5 (Raffel et al. 2020, section 2.1).

    Half of the buckets of a direction are one position wide, the others grow as the logarithm up
    to `max_distance`; all beyond share the last one.

    Args:
      distance: int32, query position less key position: positive for keys in the past.
      num_buckets: in all.
      max_distance: where the last bucket begins.
      causal: keys lie in the past only, so all buckets serve them; else half serve the future.

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
