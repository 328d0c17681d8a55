"""The graph of similar items, over which `graph_top` walks.

Items are similar if the embeddings of their codes are, place by place (Hou et al. 2025, "RPG"):

    similarity(i, k) = mean_l (1 + cos(e[l, codes[i, l]], e[l, codes[k, l]])) / 2

The similarities of all codes of a place are a small table, so the neighbours of an item are the
best items of an exact ranking by that table. This takes a time of O(I^2 L). For catalogues of more
than about 100,000 items, `cluster_neighbours` compares items only within clusters of similar items.

Nearest neighbours alone are no good graph for a walk: some items are nobody's near neighbour.
`add_reverse_edges` gives up the farthest neighbours for edges to those.

Shapes: `I` items, `L` levels, `C` codes a level, `D` width, `E` edges, `R` reverse edges.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode.item_clusters import ItemClusters, nearest_items
from jaxrec.decode.parallel_codes import exact_top, own_scores

# Items whose neighbours are found at once.
BLOCK = 128
# Nearest neighbours whose neighbours are looked at when a graph is refined.
EXPLORED = 10
# Pairs of items that are compared at once.
_PAIRS = 1 << 18


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


def cluster_neighbours(clusters: ItemClusters, edges: int, *, window: int = 1024) -> np.ndarray:
    """Return the most similar items within neighbouring clusters, for large catalogues.

    Every item is compared only with the items of its own cluster and of the clusters nearest to
    it, by the inner products of their vectors. Some of the exact neighbours are missed, and where
    the vectors are projected, see `cluster_items`, the order is approximate too; then
    `refine_neighbours` finds more of them.

    Args:
      clusters: the items, see `cluster_items`.
      edges: E.
      window: number of items with which each is compared; reduced to I where that is smaller.

    Returns:
      `[I, E]` int32, the most similar first, itself included; -1 never occurs.

    Raises:
      ConfigError: fewer items than edges, or a window smaller than the edges.

    Cost: 2 I D `window` operations in matrix products, and a top-k over a window for every item.

    Example:
      >>> from jaxrec.decode import cluster_items
      >>> line = jnp.array([[[1.0, 0.0], [0.9, 0.4], [0.4, 0.9], [0.0, 1.0]]])
      >>> clusters = cluster_items(code_similarities(line), np.arange(4)[:, None], size=2)
      >>> cluster_neighbours(clusters, edges=2).tolist()
      [[0, 1], [1, 0], [2, 3], [3, 2]]
    """
    count = len(clusters.order)
    check_edges(edges, count)
    if window < edges:
        raise ConfigError(
            f"a window of {window} items cannot hold {edges} edges; use a window of at least "
            f"{edges} items, or fewer edges"
        )
    return nearest_items(clusters, edges, min(window, count))


def refine_neighbours(
    similarities: jax.Array, codes: jax.Array, neighbours: jax.Array, *, rounds: int = 1
) -> jax.Array:
    """Let the neighbours of the nearest neighbours of each item compete with its own.

    Source: "NN-descent", Dong et al. 2011.

    Args:
      similarities: `[L, C, C]` of `code_similarities`.
      codes: `[I, L]` int.
      neighbours: `[I, E]` int32.
      rounds: how often.

    Returns:
      `[I, E]` int32, the most similar first, by their exact similarities.

    Example:
      >>> line = jnp.array([[[1.0, 0.0], [0.9, 0.4], [0.4, 0.9], [0.0, 1.0]]])
      >>> codes, poor = jnp.arange(4)[:, None], jnp.array([[0, 2], [1, 0], [2, 1], [3, 2]])
      >>> refine_neighbours(code_similarities(line), codes, poor).tolist()
      [[0, 1], [1, 0], [2, 1], [3, 2]]
    """
    count = len(codes)
    block, explored = min(2 * BLOCK, count), min(EXPLORED, neighbours.shape[1])
    for _ in range(rounds):
        found = []
        for begin in range(0, count, block):
            first = min(begin, count - block)
            part = _refined_block(similarities, codes, neighbours, first, block, explored)
            found.append(part[begin - first :])
        neighbours = jnp.concatenate(found)
    return neighbours


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


def add_reverse_edges(neighbours: np.ndarray, reverse: int) -> np.ndarray:
    """Replace the farthest neighbours by edges to items that few others lead to.

    In a graph of nearest neighbours some items are near to many and others to hardly any, so that
    no walk comes to these ("hubness", Radovanovic et al. 2010). An item to which fewer than
    `reverse` others lead gets edges from its own nearest neighbours.

    Args:
      neighbours: `[I, E]` int32, the nearest first.
      reverse: R, edges of each item that may be replaced, at most E - 1; 0 replaces none.

    Returns:
      `[I, E]` int32: E - R nearest neighbours, then reverse edges, then the next nearest where
      fewer reverse edges are needed. An edge may occur twice, which a walk ignores.

    Raises:
      ConfigError: R is negative or not smaller than E.

    Example:
      >>> near = np.array([[0, 1, 3], [1, 0, 2], [2, 0, 1], [3, 1, 0]], np.int32)
      >>> add_reverse_edges(near, 1).tolist()
      [[0, 1, 2], [1, 0, 3], [2, 0, 1], [3, 1, 0]]
    """
    count, edges = neighbours.shape
    check_reverse(reverse, edges)
    near, kept = neighbours.copy(), edges - reverse
    itself = np.arange(count)[:, None]
    ahead = neighbours[:, :kept]
    reached = np.bincount(ahead[ahead != itself], minlength=count)
    rare = np.flatnonzero(reached < reverse)
    # Its R nearest neighbours, of which one may be the item itself.
    hosts = neighbours[rare, : reverse + 1]
    rank = np.broadcast_to(np.arange(hosts.shape[1]), hosts.shape).ravel()
    guest, host = np.repeat(rare, hosts.shape[1]), hosts.ravel()
    new = np.empty(len(guest), bool)
    for begin in range(0, len(guest), _PAIRS):
        part = slice(begin, begin + _PAIRS)
        new[part] = (ahead[host[part]] != guest[part, None]).all(axis=1) & (
            host[part] != guest[part]
        )
    guest, host, rank = guest[new], host[new], rank[new]
    # Who is reached least comes first, and asks its nearest neighbours first.
    order = np.lexsort((reached[guest] + rank, host))
    guest, host = guest[order], host[order]
    slot = np.arange(len(host)) - np.searchsorted(host, host)
    chosen = slot < reverse
    near[host[chosen], kept + slot[chosen]] = guest[chosen]
    return near


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


def check_reverse(reverse: int, edges: int) -> None:
    """Check that a graph can have so many reverse edges.

    Raises:
      ConfigError: the number is negative, or no edge is left for the nearest neighbour.

    Example:
      >>> check_reverse(16, edges=48)
    """
    if not 0 <= reverse < edges:
        raise ConfigError(
            f"{reverse} of {edges} edges cannot be reverse ones; use 0 to {edges - 1} reverse "
            "edges, or more edges"
        )
