"""Read the nodes of one trie level: pure functions on the flat arrays of `ItemIndex`.

Shapes: `N` nodes of the level, `E` its edges, `C` codes, `W` = ceil(C/32) words of a bitmask, `M`
children that a window shows, `S` excluded edges. The functions here need nodes [...] of at least 0.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.ids._masks import WideMasks
from jaxrec.ids._starts import Starts

Array = jax.Array


def children(
    edges: Array, starts: Starts, node: Array, width: int, alive: Array | None
) -> tuple[Array, Array, Array]:
    """Return codes, edges and existence of the first M = `width` children of nodes, [..., M].

    Cost per node: two reads of `starts` and one slice of M edges.
    """
    # After removals, a level may have fewer edges than its widest node once had.
    width = min(width, edges.shape[0])
    begin, end = starts[node], starts[node + 1]
    # A slice must not run past the end, so near it the window begins before the node does.
    first = jnp.minimum(begin, edges.shape[0] - width)
    edge = first[..., None] + iota((*node.shape, width))
    mine = (edge >= begin[..., None]) & (edge < end[..., None])
    if alive is not None:
        mine = mine & _slices(alive, first, width)
    return _slices(edges, first, width).astype(jnp.int32), edge, mine


def words_of_codes(codes: Array, there: Array, words: int) -> Array:
    """Pack the codes [..., M] for which `there` is True into bitmasks uint32 [..., W]."""
    bit = jnp.where(there, jnp.uint32(1) << (codes & 31).astype(jnp.uint32), jnp.uint32(0))
    at = (codes >> 5)[..., None] == iota((*codes.shape, words))
    return _any_bit(jnp.where(at, bit[..., None], jnp.uint32(0)), codes.ndim - 1)


def wide_words(masks: WideMasks, starts: Starts, node: Array, alive: Array | None) -> tuple:
    """Return whether nodes [...] have a mask, and its words [..., W] under alive edges [E]."""
    wide, words = masks.read(node)
    if alive is None:
        return wide, words
    bit = jnp.arange(32, dtype=jnp.uint32).reshape((1,) * words.ndim + (32,))
    each = words[..., None]
    below = lax.population_count(each & ((jnp.uint32(1) << bit) - jnp.uint32(1)))
    full = lax.population_count(each)
    before = jnp.cumsum(full, axis=-2, dtype=jnp.uint32) - full
    edge = starts[node][..., None, None] + (below + before).astype(jnp.int32)
    kept = ((each >> bit) & jnp.uint32(1) == 1) & alive[jnp.minimum(edge, alive.shape[0] - 1)]
    return wide, jnp.where(kept, jnp.uint32(1) << bit, jnp.uint32(0)).sum(-1, dtype=jnp.uint32)


def dead_words(edges: Array, starts: Starts, node: Array, dead: Array, words: int) -> Array:
    """Return masks uint32 [..., W] of the codes of excluded edges `dead` [S] (-1 where unused)."""
    row = dead.reshape((1,) * node.ndim + (-1,))
    mine = (row >= starts[node][..., None]) & (row < starts[node + 1][..., None])
    codes = jnp.broadcast_to(edges[jnp.maximum(row, 0)].astype(jnp.int32), mine.shape)
    return words_of_codes(codes, mine & (row >= 0), words)


def child_by_search(
    edges: Array, starts: Starts, node: Array, code: Array, width: int
) -> tuple[Array, Array]:
    """Return the edge that `code` [...] takes from nodes [...], and whether it exists.

    Binary search among a node's edges, of which there are at most `width`: log2(width) dependent
    reads.
    """
    low, end = starts[node], starts[node + 1]
    high, last = end, edges.shape[0] - 1
    for _ in range(width.bit_length()):
        middle = (low + high) // 2
        less = edges[jnp.minimum(middle, last)].astype(jnp.int32) < code
        searching = low < high
        low, high = (
            jnp.where(searching & less, middle + 1, low),
            jnp.where(searching & ~less, middle, high),
        )
    return low, (low < end) & (edges[jnp.minimum(low, last)].astype(jnp.int32) == code)


def iota(shape: tuple[int, ...]) -> Array:
    """Return int32 that counts along the last axis, in full shape to avoid rank promotion."""
    return lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)


def _any_bit(words: Array, axis: int) -> Array:
    """Bitwise OR along an axis."""
    return lax.reduce(words, jnp.uint32(0), lax.bitwise_or, (axis,))


def _slices(row: Array, first: Array, width: int) -> Array:
    """Take `width` entries of row [E] from each position [...] on: [..., M]."""
    cut = jax.vmap(lambda f: lax.dynamic_slice(row, (f,), (width,)))
    return cut(first.reshape(-1)).reshape(*first.shape, width)
