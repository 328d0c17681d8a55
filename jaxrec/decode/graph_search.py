"""Ranking by walking a graph of similar items, at a cost that does not depend on the catalogue.

Source: Hou et al. 2025, "RPG" (arXiv:2506.05781). The nodes are items, and an item has edges to the
items whose codes are most similar (`item_graph`). A search keeps the best nodes found so far,
scores their neighbours, and keeps the best of those, a fixed number of times.

    starts -> best K -> their neighbours -> best K -> ... -> list

As published, the search begins at K random items, and a step keeps the best K of the neighbours
that it scored. So few random items lie far from most answers. Three changes find nearly all of the
exact list:

- Thousands of items at which all users begin, spread evenly over clusters (`spread_starts`). They
  are scored for all users together, which costs a fraction of as many nodes of a walk.
- The best nodes of the whole walk are kept, and the neighbours of none of them are visited twice.
- Edges lead to items that are nobody's near neighbour (`add_reverse_edges`).

Shapes: `B` users, `I` items, `L` levels, `C` codes a level, `E` edges, `K` nodes of a step.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode.packed_codes import PackedCodes
from jaxrec.decode.parallel_codes import exact_top, own_scores

# The walk's keys of items hold one more bit.
_MOST_ITEMS = 1 << 30


@functools.partial(jax.jit, static_argnames=("top", "beams", "steps", "keep"))
def graph_top(
    table: jax.Array,
    codes: jax.Array | PackedCodes,
    neighbours: jax.Array,
    starts: jax.Array,
    top: int,
    excluded: jax.Array | None = None,
    *,
    beams: int = 20,
    steps: int = 4,
    keep: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """Return the best items that a walk over the graph finds for each user.

    Args:
      table: `[B, L, C]` log-probabilities of the codes at each place.
      codes: the IDs of all items, at most 2^30, as `pack_codes` packs them; or `[I, L]` int, with
        which a walk takes up to twice as long on a CPU.
      neighbours: `[I, E]` int32, see `item_neighbours`.
      starts: `[S]` int32, different items at which all users begin.
      top: length of the lists, at most `beams` x E.
      excluded: `[B, X]` int32, items that the lists leave out, -1 for none; the walk may
        cross them.
      beams: K, nodes whose neighbours are visited in a step.
      steps: how often the neighbours of K nodes are visited.
      keep: keep the 2 K best nodes of the whole walk (or `top`, if that is more), and visit the
        neighbours of no node twice. As published, a step keeps only the K best of the neighbours
        that it has just scored.

    Returns:
      `[B, top]` int32 items, best first, equal scores in the order of the item numbers, -1 where no
      more were found; and `[B, top]` float32 scores, -inf there.

    Raises:
      ConfigError: more items than the keys can hold.

    Cost a user: S + steps x (K x E + 2 K) scores of L numbers each, whatever the size of the
    catalogue.

    Example:
      >>> table = jnp.array([[[0.0, 1.0, 2.0, 3.0]]])
      >>> codes, line = jnp.arange(4)[:, None], jnp.array([[0, 1], [1, 2], [2, 3], [3, 2]])
      >>> items, scores = graph_top(table, codes, line, jnp.array([0]), 2, beams=1, steps=3)
      >>> items.tolist()
      [[3, 2]]
    """
    if len(codes) > _MOST_ITEMS:
        raise ConfigError(
            f"a walk over {len(codes):,} items is not possible, because its keys hold at most "
            f"{_MOST_ITEMS:,}; rank exactly, or split the catalogue"
        )
    pool = max(2 * beams, top) if keep else beams
    places, best = exact_top(table, _codes_of(codes, starts), min(pool, len(starts)))
    # A key is the item number and a last bit that says whether the node's neighbours are still to
    # be visited. Sorting keys alone is many times as fast on a CPU as sorting pairs.
    keys = 2 * jnp.take(starts, places, mode="clip") + 1
    for step in range(steps):
        if step:
            best, place = jax.lax.top_k(best, min(pool, best.shape[1]))
            keys = jnp.take_along_axis(keys, place, axis=1)
        keys = _visit(neighbours, keys, best, beams, keep)
        items = keys >> 1
        # Equal nodes stand side by side, the one whose neighbours were visited first.
        again = jnp.pad(items[:, 1:] == items[:, :-1], ((0, 0), (1, 0)))
        best = own_scores(table, _codes_of(codes, items))
        best = jnp.where(again, -jnp.inf, best)
    if excluded is not None:
        best = jnp.where(_is_in(items, excluded), -jnp.inf, best)
    short = max(top - best.shape[1], 0)
    if short:
        best = jnp.pad(best, ((0, 0), (0, short)), constant_values=-jnp.inf)
        items = jnp.pad(items, ((0, 0), (0, short)), constant_values=-1)
    scores, place = jax.lax.top_k(best, top)
    items = jnp.take_along_axis(items, place, axis=1)
    return jnp.where(jnp.isneginf(scores), -1, items), scores


def _codes_of(codes: jax.Array | PackedCodes, items: jax.Array) -> jax.Array:
    """Codes of items: `[...]` to `[..., L]`."""
    if isinstance(codes, PackedCodes):
        return codes.take(items)
    return jnp.take(codes, items, axis=0, mode="clip")


def _visit(
    neighbours: jax.Array, keys: jax.Array, best: jax.Array, beams: int, keep: bool
) -> jax.Array:
    """Visit the neighbours of the best new nodes: keys and scores `[B, P]` to sorted keys."""
    waiting = jnp.where(keys & 1, best, -jnp.inf)
    _, place = jax.lax.top_k(waiting, min(beams, keys.shape[1]))
    nodes = jnp.take_along_axis(keys, place, axis=1) >> 1  # [B, K]
    near = jnp.take(neighbours, nodes, axis=0, mode="clip").reshape(len(nodes), -1)
    near = 2 * near + 1
    if keep:
        rows = jnp.arange(len(keys), dtype=jnp.int32)[:, None]
        near = jnp.concatenate([keys.at[rows, place].set(2 * nodes), near], axis=1)
    return jnp.sort(near, axis=1)


def _is_in(items: jax.Array, lists: jax.Array) -> jax.Array:
    """Which items are in a list of their row: `[B, n]` and `[B, X]` to `[B, n]` bool."""
    listed = jnp.sort(lists, axis=1)
    place = jax.vmap(jnp.searchsorted)(listed, items)
    return jnp.take_along_axis(listed, place, axis=1, mode="clip") == items


def random_starts(num_items: int, number: int, seed: int = 0) -> np.ndarray:
    """Draw different items as beginnings, as published: `[min(number, I)]` int32.

    Example:
      >>> len(set(random_starts(9, 4).tolist()))
      4
    """
    rng = np.random.default_rng(seed)
    return rng.choice(num_items, min(number, num_items), replace=False).astype(np.int32)


def recall(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the share of an exact list that another list holds too, for each user: `[B]`.

    Args:
      found: `[B, n]` items of a search, -1 in unfilled places.
      exact: `[B, K]` items of the exact ranking, -1 in unfilled places.

    Example:
      >>> recall(np.array([[1, 2, -1]]), np.array([[2, 3]])).tolist()
      [0.5]
    """
    filled = exact >= 0
    hit = (exact[:, :, None] == found[:, None, :]).any(axis=2) & filled
    return hit.sum(axis=1) / np.maximum(filled.sum(axis=1), 1)
