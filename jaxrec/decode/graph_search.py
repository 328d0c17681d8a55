"""Ranking by walking a graph of similar items, at a cost that does not depend on the catalogue.

Source: Hou et al. 2025, "RPG" (arXiv:2506.05781). The nodes are items, and an item has edges to the
items whose codes are most similar (`item_graph`). A search keeps the best nodes found so far,
scores their neighbours, and keeps the best of those, a fixed number of times.

    starts -> best K -> their neighbours -> best K -> ... -> list

As published, the search begins at K random items, and the kept nodes do not compete with their
neighbours; an item is its own nearest neighbour, so it usually competes all the same. So few random
items lie far from most answers. With about a thousand, of which the best K are kept, the same walk
finds most of the exact list.

Shapes: `B` users, `I` items, `L` levels, `C` codes a level, `E` edges, `K` kept nodes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.decode.parallel_codes import code_scores, own_scores


@functools.partial(jax.jit, static_argnames=("top", "beams", "steps", "keep"))
def graph_top(
    table: jax.Array,
    codes: jax.Array,
    neighbours: jax.Array,
    starts: jax.Array,
    top: int,
    excluded: jax.Array | None = None,
    *,
    beams: int = 10,
    steps: int = 3,
    keep: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return the best items that a walk over the graph finds for each user.

    Args:
      table: `[B, L, C]` log-probabilities of the codes at each place.
      codes: `[I, L]` int, the IDs of all items.
      neighbours: `[I, E]` int32, see `item_neighbours`.
      starts: `[S]` int32, different items at which all users begin; the best `beams` are kept.
      top: length of the lists, at most `beams` x E.
      excluded: `[B, X]` int32, items that the lists leave out, -1 for none; the walk may
        cross them.
      beams: K, nodes that are kept after each step.
      steps: how often the neighbours of the kept nodes are visited.
      keep: let kept nodes compete with their neighbours, even if no neighbour leads back to them.

    Returns:
      `[B, top]` int32 items, best first, -1 where no more were found; and `[B, top]` float32
      scores, -inf there.

    Cost a user: S + steps x K x E scores of L numbers each, whatever the size of the catalogue.

    Example:
      >>> table = jnp.array([[[0.0, 1.0, 2.0, 3.0]]])
      >>> codes, line = jnp.arange(4)[:, None], jnp.array([[0, 1], [1, 2], [2, 3], [3, 2]])
      >>> items, scores = graph_top(table, codes, line, jnp.array([0]), 2, beams=1, steps=3)
      >>> items.tolist()
      [[3, 2]]
    """
    best = code_scores(table, jnp.take(codes, starts, axis=0, mode="clip"))
    candidates = jnp.broadcast_to(starts[None], best.shape)
    for _ in range(steps):
        _, place = jax.lax.top_k(best, min(beams, best.shape[1]))
        nodes = jnp.take_along_axis(candidates, place, axis=1)  # [B, K]
        near = jnp.take(neighbours, nodes, axis=0, mode="clip").reshape(len(nodes), -1)
        candidates = jnp.concatenate([near, nodes], axis=1) if keep else near
        # A node may be a neighbour of several; after sorting, equal nodes stand side by side.
        candidates = jnp.sort(candidates, axis=1)
        again = jnp.pad(candidates[:, 1:] == candidates[:, :-1], ((0, 0), (1, 0)))
        best = own_scores(table, jnp.take(codes, candidates, axis=0, mode="clip"))
        best = jnp.where(again, -jnp.inf, best)
    if excluded is not None:
        best = jnp.where(_is_in(candidates, excluded), -jnp.inf, best)
    short = max(top - best.shape[1], 0)
    if short:
        best = jnp.pad(best, ((0, 0), (0, short)), constant_values=-jnp.inf)
        candidates = jnp.pad(candidates, ((0, 0), (0, short)), constant_values=-1)
    scores, place = jax.lax.top_k(best, top)
    items = jnp.take_along_axis(candidates, place, axis=1)
    return jnp.where(jnp.isneginf(scores), -1, items), scores


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
