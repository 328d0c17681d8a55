"""The graph of similar items, over which `graph_top` walks.

Items are similar if the embeddings of their codes are, place by place (Hou et al. 2025, "RPG"):

    similarity(i, k) = mean_l (1 + cos(e[l, codes[i, l]], e[l, codes[k, l]])) / 2

The similarities of all codes of a place are a small table, so the neighbours of an item are the
best items of an exact ranking by that table. This takes a time of O(I^2 L). For catalogues of more
than about 100,000 items, `forest_neighbours` compares items only within small groups of similar
items.

Shapes: `I` items, `L` levels, `C` codes a level, `D` model width, `E` edges, `G` items of a group.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode.parallel_codes import code_scores, exact_top, own_scores

# Items whose neighbours are found at once.
BLOCK = 128
# Nearest neighbours whose neighbours are looked at when a graph is refined.
EXPLORED = 10


def code_similarities(embeddings: jax.Array) -> jax.Array:
    """Return (1 + cosine) / 2 of all pairs of codes of a place: `[L, C, D]` to `[L, C, C]`.

    Example:
      >>> code_similarities(jnp.array([[[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]]))[0, 0].tolist()
      [1.0, 0.5, 0.0]
    """
    length = jnp.linalg.norm(embeddings, axis=-1, keepdims=True)
    unit = embeddings / jnp.maximum(length, 1e-12)
    return (1.0 + jnp.einsum("lcd,lkd->lck", unit, unit)) / 2.0


def item_neighbours(
    similarities: jax.Array, codes: jax.Array, edges: int, block: int = BLOCK
) -> jax.Array:
    """Return the most similar items of every item, itself included, computed in blocks of items.

    Args:
      similarities: `[L, C, C]` of `code_similarities`.
      codes: `[I, L]` int.
      edges: E, at most I.
      block: items whose neighbours are found at once.

    Returns:
      `[I, E]` int32, the most similar first; equal ones in the order of the item numbers.

    Raises:
      ConfigError: there are fewer items than edges.

    Example:
      >>> similarities = code_similarities(jnp.array([[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]]))
      >>> item_neighbours(similarities, jnp.array([[0], [1], [2]]), edges=2).tolist()
      [[0, 1], [1, 0], [2, 1]]
    """
    count = len(codes)
    check_edges(edges, count)
    block = min(block, count)
    found = []
    for begin in range(0, count, block):
        # The last block ends with the catalogue, so that all blocks have one shape.
        first = min(begin, count - block)
        near = _block_neighbours(similarities, codes, first, edges, block)
        found.append(near[begin - first :])
    return jnp.concatenate(found)


@functools.partial(jax.jit, static_argnames=("edges", "block"))
def _block_neighbours(
    similarities: jax.Array, codes: jax.Array, begin: int, edges: int, block: int
) -> jax.Array:
    part = jax.lax.dynamic_slice_in_dim(codes, begin, block)
    return exact_top(_tables(similarities, part), codes, edges)[0]


def _tables(similarities: jax.Array, codes: jax.Array) -> jax.Array:
    """Similarities of items to all codes of each place: `[L, C, C]`, `[n, L]` to `[n, L, C]`."""
    take = jax.vmap(lambda rows, code: jnp.take(rows, code, axis=0, mode="clip"), (0, 1), 1)
    return take(similarities, codes.astype(jnp.int32))


def forest_neighbours(
    similarities: jax.Array,
    codes: np.ndarray,
    edges: int,
    *,
    trees: int = 2,
    rounds: int = 2,
    group: int = 1024,
    seed: int = 0,
) -> np.ndarray:
    """Return the most similar items within several small groups, for large catalogues.

    A tree halves the items again and again, by whether they are more similar to one or to the other
    of two random items (Annoy's rule), down to groups of at most `group` items. The neighbours of
    an item are the best of its groups in all trees. Then the neighbours of its nearest neighbours
    compete with them, in several rounds (NN-descent, Dong et al. 2011). Some of the exact ones are
    still missed.

    Args:
      similarities: `[L, C, C]` of `code_similarities`.
      codes: `[I, L]` int.
      edges: E, at most half of a group.
      trees: number of trees; more find more of the exact neighbours, at a cost that grows alike.
      rounds: rounds in which neighbours of neighbours compete.
      group: G, at least 2.
      seed: seed of the random items.

    Returns:
      `[I, E]` int32, the most similar first, itself included; -1 never occurs.

    Raises:
      ConfigError: too many edges for the groups, or fewer items than edges.

    Example:
      >>> line = jnp.array([[[1.0, 0.0], [0.9, 0.4], [0.4, 0.9], [0.0, 1.0]]])
      >>> near = forest_neighbours(
      ...     code_similarities(line), np.arange(4)[:, None], edges=1, trees=1, group=2
      ... )
      >>> near[:, 0].tolist()
      [0, 1, 2, 3]
    """
    count = len(codes)
    check_edges(edges, count)
    if group < 2 * edges:
        raise ConfigError(
            f"groups of {group} items are too small for {edges} edges; use groups of at least "
            f"{2 * edges} items, or fewer edges"
        )
    halvings = max(0, int(np.ceil(np.log2(count / group))))
    size = -(-count // (1 << halvings))
    codes = np.asarray(codes)
    tables = np.asarray(similarities)
    device_codes = jnp.asarray(codes)
    best: tuple[jax.Array, jax.Array] | None = None
    for tree in range(trees):
        order = _tree_order(tables, codes, halvings, np.random.default_rng([seed, tree]))
        # Groups of one size: the last ones overlap where the items do not divide evenly.
        begins = np.minimum(np.arange(1 << halvings) * size, count - size)
        members = order[begins[:, None] + np.arange(size)[None]]  # [groups, G]
        near, similar = _group_neighbours(
            similarities, device_codes, jnp.asarray(members), min(edges, size)
        )
        items = np.zeros((count, near.shape[2]), np.int32)
        scores = np.zeros((count, near.shape[2]), np.float32)
        items[members], scores[members] = np.asarray(near), np.asarray(similar)
        if best is None:
            best = jnp.asarray(items), jnp.asarray(scores)
        else:
            best = _merge(*best, jnp.asarray(items), jnp.asarray(scores), edges)
    assert best is not None
    near = best[0]
    for _ in range(rounds):
        near = _refined(similarities, device_codes, near)
    return np.asarray(near)


def _tree_order(
    tables: np.ndarray, codes: np.ndarray, halvings: int, rng: np.random.Generator
) -> np.ndarray:
    """Order the items so that similar ones stand together: halve all segments `halvings` times."""
    count, levels = codes.shape
    order = rng.permutation(count)
    segment = np.zeros(count, np.int64)  # of each place of the order
    for depth in range(halvings):
        parts = 1 << depth
        bounds = np.searchsorted(segment, np.arange(parts + 1))
        # Two random members of each segment.
        width = np.maximum(np.diff(bounds), 1)
        pair = order[np.minimum(bounds[:-1] + rng.integers(0, width, (2, parts)), count - 1)]
        lean = np.zeros(count, np.float32)
        for level in range(levels):
            first, second = codes[pair, level]  # [parts] codes each
            difference = tables[level][first] - tables[level][second]  # [parts, C]
            lean += difference[segment, codes[order, level]]
        inner = np.lexsort((lean, segment))
        order = order[inner]
        place = np.arange(count) - bounds[segment]
        segment = 2 * segment + (place >= (width[segment] + 1) // 2)
    return order


@functools.partial(jax.jit, static_argnames=("edges",))
def _group_neighbours(
    similarities: jax.Array, codes: jax.Array, members: jax.Array, edges: int
) -> tuple[jax.Array, jax.Array]:
    """Rank each group against itself: `[groups, G]` items to `[groups, G, E]` items and scores."""

    def rank(items: jax.Array) -> tuple[jax.Array, jax.Array]:
        part = jnp.take(codes, items, axis=0, mode="clip")
        scores = code_scores(_tables(similarities, part), part)
        value, place = jax.lax.top_k(scores, edges)
        return jnp.take(items, place, mode="clip").astype(jnp.int32), value

    return jax.lax.map(rank, members)


@functools.partial(jax.jit, static_argnames=("edges",))
def _merge(
    items: jax.Array, scores: jax.Array, others: jax.Array, more: jax.Array, edges: int
) -> tuple[jax.Array, jax.Array]:
    """Keep the best different neighbours of two lists: `[I, E]` each."""
    both = jnp.concatenate([items, others], axis=1)
    value = jnp.concatenate([scores, more], axis=1)
    # What is in the first list already does not count again.
    known = jax.lax.map(
        lambda pair: (pair[1][:, None] == pair[0][None]).any(-1), (items, others), batch_size=1024
    )
    value = value.at[:, items.shape[1] :].set(jnp.where(known, -jnp.inf, more))
    value, place = jax.lax.top_k(value, edges)
    return jnp.take_along_axis(both, place, axis=1), value


def _refined(similarities: jax.Array, codes: jax.Array, near: jax.Array) -> jax.Array:
    """Let the neighbours of the nearest neighbours of each item compete with its own: `[I, E]`."""
    count = len(codes)
    block = min(2 * BLOCK, count)
    found = []
    for begin in range(0, count, block):
        first = min(begin, count - block)
        part = _refined_block(similarities, codes, near, first, block, min(EXPLORED, near.shape[1]))
        found.append(part[begin - first :])
    return jnp.concatenate(found)


@functools.partial(jax.jit, static_argnames=("block", "explored"))
def _refined_block(
    similarities: jax.Array,
    codes: jax.Array,
    near: jax.Array,
    begin: int,
    block: int,
    explored: int,
) -> jax.Array:
    own = jax.lax.dynamic_slice_in_dim(near, begin, block)
    table = _tables(similarities, jax.lax.dynamic_slice_in_dim(codes, begin, block))
    further = jnp.take(near, own[:, :explored], axis=0, mode="clip").reshape(block, -1)
    candidates = jnp.sort(jnp.concatenate([own, further], axis=1), axis=1)
    again = jnp.pad(candidates[:, 1:] == candidates[:, :-1], ((0, 0), (1, 0)))
    scores = own_scores(table, jnp.take(codes, candidates, axis=0, mode="clip"))
    _, place = jax.lax.top_k(jnp.where(again, -jnp.inf, scores), near.shape[1])
    return jnp.take_along_axis(candidates, place, axis=1)


def check_edges(edges: int, num_items: int) -> None:
    """Check that every item can have so many neighbours.

    Raises:
      ConfigError: there are fewer items than edges.

    Example:
      >>> check_edges(100, num_items=12_101)
    """
    if not 1 <= edges <= num_items:
        raise ConfigError(
            f"a graph of {num_items:,} items cannot have {edges} edges from each; use at most "
            f"{num_items:,} edges"
        )
