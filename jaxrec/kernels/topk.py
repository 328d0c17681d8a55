"""Exact top-k in two steps: the best groups by their maxima, then the best elements of those.

A top-k over N scores costs far more than reading them (a GPU sorts the row, a CPU keeps a heap).
The maxima of groups take one pass, and both smaller selections see about sqrt(N k) numbers.

The result is that of `jax.lax.top_k`, ties included. Proof: rank elements by (value falling, index
rising): top_k returns the first k. Cut the row into contiguous groups and rank these by (maximum
falling, index rising). Let e be one of the first k elements, of group g, and let group g' come
before g. Either the maximum of g' exceeds that of g, and so e; or both are equal, and then
g' < g, so that everything in g' has a smaller index than e. In both cases the maximum of g' comes
before e. Fewer than k elements come before e, so fewer than k groups come before g: g is among the
best k groups. Ordering the chosen groups by index keeps candidates in the order of the row, so a
top_k over them breaks ties as one over the row does.
"""

import math

import jax
import jax.numpy as jnp

from jaxrec.core import by_rows

# Below this ratio of scores to k the flat top-k is faster. Medians on one CPU core, flat
# against grouped: [32, 3200] k=50 0.57/0.71 ms, [32, 12800] k=50 1.23/0.98 ms, [8, 102400] k=50
# 2.2/0.66 ms, [1, 2097152] k=256 3.8/0.70 ms.
GROUPED_FROM = 256


def group_size(size: int, k: int) -> int | None:
    """Return how many scores a group has; None to select without groups.

    The size is a power of two near sqrt(size / k), which makes both selections about equally long:
    k groups hold as many candidates as there are groups.
    """
    if size < GROUPED_FROM * k:
        return None
    return 1 << round(math.log2(math.sqrt(size / k)))


def best_groups(maxima: jax.Array, k: int) -> jax.Array:
    """Return the k groups with the largest maxima, in index order: `[..., M]` to `[..., k]`."""
    return jnp.sort(flat_top_k(maxima, k)[1], axis=-1)


def flat_top_k(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Return `jax.lax.top_k` with int32 places, computed in two dimensions: a CPU is fast there.

    Args:
      scores: `[..., N]`.
      k: at most N.

    Example:
      >>> best, place = flat_top_k(jnp.array([[1.0, 3.0, 2.0]]), 2)
      >>> best.tolist(), place.tolist()
      ([[3.0, 2.0]], [[1, 2]])
    """
    lead = scores.shape[:-1]
    rows = scores.reshape(-1, scores.shape[-1])
    best, place = by_rows(lambda rows: tuple(jax.lax.top_k(rows, k)), rows)
    return best.reshape(*lead, k), place.astype(jnp.int32).reshape(*lead, k)


def grouped_top_k(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Return the k largest numbers of the last axis and their places; ties go to the smaller place.

    Args:
      scores: `[..., N]`, without NaN. -0 and 0 count as equal here, and any of them may come first:
        a maximum that tells them apart takes a CPU several times as long.
      k: at most N.

    Returns:
      `[..., k]` values, best first, and int32 `[..., k]` places: those of `jax.lax.top_k`.

    Cost a row: one read of N scores, then two selections among about sqrt(N k) numbers.

    Example:
      >>> best, place = jax.jit(grouped_top_k, static_argnums=1)(jnp.arange(1000.0), 2)
      >>> best.tolist(), place.tolist()
      ([999.0, 998.0], [999, 998])
    """
    *lead, n = scores.shape
    size = group_size(n, k)
    if size is None:
        return flat_top_k(scores, k)
    # Padding comes last, so that a tie with a real score never selects it.
    width = [(0, 0)] * len(lead) + [(0, -n % size)]
    groups = jnp.pad(scores, width, constant_values=-jnp.inf).reshape(*lead, -1, size)
    chosen = best_groups(groups.max(-1), k)
    # [..., k, size]
    candidates = jnp.take_along_axis(groups, chosen[..., None], axis=-2)
    best, place = flat_top_k(candidates.reshape(*lead, k * size), k)
    return best, jnp.take_along_axis(chosen, place // size, axis=-1) * size + place % size
