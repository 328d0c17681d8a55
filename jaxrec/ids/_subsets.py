"""Restrict an `ItemIndex` to some of its items: pure functions on its flat arrays.

The leaves below a node are contiguous, so the number of allowed leaves in a range tells whether an
edge still leads to an item.

Shapes: `B` batch, `I` items, `L` levels, `N_l` nodes at depth l, `S` excluded items.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxrec.core import check_mask, check_numbers
from jaxrec.ids._starts import Starts

Array = jax.Array


def check_allowed(allowed: Array, num_items: int) -> None:
    """Reject a mask that is not bool [I] or [B, I] with a ConfigError."""
    rows = () if allowed.ndim == 1 else (None,)
    check_mask(allowed, (*rows, num_items), "allowed items")


def check_excluded(items: Array, num_items: int) -> None:
    """Reject numbers outside the catalogue, or a mask instead of numbers, with a DataError."""
    check_numbers(items, num_items, "excluded items")


def restrict(starts: Sequence[Starts], leaf_items: Array, allowed: Array) -> tuple[Array, ...]:
    """Return which edges lead to an allowed item: bool [(B,) I] to L arrays bool [(B,) N_{l+1}]."""
    leaves = jnp.take(allowed, leaf_items, axis=-1)
    words, before = _pack(leaves)
    alive = []
    for bounds in _leaf_bounds(starts, leaf_items.shape[0])[:-1]:
        word = bounds >> 5
        below = (jnp.uint32(1) << (bounds & 31).astype(jnp.uint32)) - jnp.uint32(1)
        below = below.reshape((1,) * (words.ndim - 1) + (-1,))
        inside = jax.lax.population_count(jnp.take(words, word, axis=-1) & below)
        at = jnp.take(before, word, axis=-1) + inside.astype(jnp.int32)
        alive.append(at[..., 1:] > at[..., :-1])
    return (*alive, leaves)


def _pack(leaves: Array) -> tuple[Array, Array]:
    """Pack a mask: bool [..., I] to uint32 [..., W], and the number of ones before each word.

    A prefix sum over words costs a fraction of one over leaves.
    """
    count = leaves.shape[-1] // 32 + 1
    free = [(0, 0)] * (leaves.ndim - 1) + [(0, 32 * count - leaves.shape[-1])]
    bits = jnp.pad(leaves, free).reshape(*leaves.shape[:-1], count, 32)
    place = jnp.arange(32, dtype=jnp.uint32).reshape((1,) * leaves.ndim + (32,))
    words = (bits.astype(jnp.uint32) << place).sum(axis=-1, dtype=jnp.uint32)
    ones = jax.lax.population_count(words).astype(jnp.int32)
    return words, jnp.cumsum(ones, axis=-1) - ones


def exclude(starts: Sequence[Starts], states: Array) -> tuple[Array, ...]:
    """Return the edges below which every item is excluded: L arrays int32 [S], -1 where unused.

    Args:
      starts: starts of each level.
      states: states [S, L] of the excluded items, as `ItemIndex.path` gives them. They may repeat;
        negative states are padding.
    """
    states = states[jnp.argsort(states[:, -1])]  # sorting by leaf sorts every level
    leaf = states[:, -1]
    fresh = (leaf >= 0) & (leaf != jnp.roll(leaf, 1).at[0].set(-1))
    count = jnp.pad(jnp.cumsum(fresh.astype(jnp.int32)), (1, 0))
    dead = []
    for level in range(len(starts)):
        edge = jnp.maximum(states[:, level], 0)
        begin, end = (leaf_begin(starts[level + 1 :], e) for e in (edge, edge + 1))
        inside = count[jnp.searchsorted(leaf, end)] - count[jnp.searchsorted(leaf, begin)]
        dead.append(jnp.where((leaf >= 0) & (inside == end - begin), edge, -1))
    return tuple(dead)


def leaf_begin(below: Sequence[Starts], edge: Array) -> Array:
    """Return the first leaf below edges [...], given the starts of all levels below them.

    For the edge after the last one it is the number of leaves.
    """
    for starts in below:
        edge = starts[edge]
    return edge


def _leaf_bounds(starts: Sequence[Starts], leaves: int) -> list[Array]:
    """Return where the leaves of each edge begin, for every level: L arrays int32 [N_{l+1} + 1]."""
    bounds = [jnp.arange(leaves + 1, dtype=jnp.int32)]
    for level in starts[:0:-1]:
        bounds.append(bounds[-1][level.unpack()])
    return bounds[::-1]
