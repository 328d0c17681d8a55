"""Reading the nodes of one trie level: pure functions on the flat arrays of `ItemIndex`.

Shapes: `N` nodes of the level, `E` its edges, `C` codes, `W` = ceil(C/32) words of a bitmask, `M`
children of the widest node, `S` excluded edges. Nodes [...] must not be negative here.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.ids._starts import Starts

# Up to this many children a node, comparing them with all codes beats reading a mask or scattering.
NARROW = 8

Array = jax.Array


def legal_by_mask(
    mask: Array, starts: Starts, node: Array, size: int, alive: Array | None
) -> Array:
    """Legal codes bool [..., C] of nodes [...] from masks [N, W], under alive edges [E]."""
    words = mask[node][..., None]  # [..., W, 1]
    bit = jnp.arange(32, dtype=jnp.uint32).reshape((1,) * node.ndim + (1, 32))
    legal = _codes_of_bits((words >> bit) & jnp.uint32(1) == 1, size)
    if alive is None:
        return legal
    below = lax.population_count(words & ((jnp.uint32(1) << bit) - jnp.uint32(1)))
    full = lax.population_count(words)
    before = jnp.cumsum(full, axis=-2, dtype=jnp.uint32) - full
    rank = _codes_of_bits(below + before, size).astype(jnp.int32)
    edge = starts[node][..., None] + rank
    return legal & alive[jnp.where(legal, edge, 0)]


def legal_by_window(
    edges: Array, starts: Starts, node: Array, size: int, width: int, alive: Array | None
) -> Array:
    """Legal codes bool [..., C] of nodes [...] from their edges, under alive edges [E]."""
    # A level that lost items may have fewer edges than its widest node once had.
    width = min(width, edges.shape[0])
    begin, end = starts[node], starts[node + 1]
    # A slice must not run past the end: near it, the window begins before the node does.
    first = jnp.minimum(begin, edges.shape[0] - width)
    at = first[..., None] + iota((*node.shape, width))
    mine = (at >= begin[..., None]) & (at < end[..., None])
    codes = _slices(edges, first, width).astype(jnp.int32)  # [..., M]
    if alive is not None:
        mine = mine & _slices(alive, first, width)
    if width <= NARROW:
        every = iota((*node.shape, 1, size))
        return ((codes[..., None] == every) & mine[..., None]).any(axis=-2)
    at_code = jnp.where(mine, codes, size).reshape(-1, width)
    row = jnp.broadcast_to(jnp.arange(at_code.shape[0])[:, None], at_code.shape)
    legal = jnp.zeros((at_code.shape[0], size), bool).at[row, at_code].set(True, mode="drop")
    return legal.reshape(*node.shape, size)


def without(legal: Array, edges: Array, starts: Starts, node: Array, dead: Array) -> Array:
    """Clear the codes of edges `dead` [S] (-1: none) in legal [..., C] of nodes [...]."""
    size = legal.shape[-1]
    flat, own, row = legal.reshape(-1, size), node.reshape(-1, 1), dead[None]
    code = edges[jnp.maximum(row, 0)].astype(jnp.int32)
    # Out of range where the edge belongs to another node; such writes are dropped.
    code = jnp.where((row >= starts[own]) & (row < starts[own + 1]), code, size)
    at = jnp.broadcast_to(jnp.arange(flat.shape[0])[:, None], code.shape)
    return flat.at[at, code].set(False, mode="drop").reshape(legal.shape)


def child_by_mask(mask: Array, starts: Starts, node: Array, code: Array) -> tuple[Array, Array]:
    """Edge that `code` [...] takes from nodes [...], and whether there is one."""
    words = mask[node]  # [..., W]
    word, bit = code >> 5, (code & 31).astype(jnp.uint32)
    own = jnp.take_along_axis(words, word[..., None], axis=-1)[..., 0]
    below = lax.population_count(own & ((jnp.uint32(1) << bit) - jnp.uint32(1)))
    before = iota(words.shape) < word[..., None]
    full = jnp.where(before, lax.population_count(words), jnp.uint32(0)).sum(-1, dtype=jnp.uint32)
    return starts[node] + (below + full).astype(jnp.int32), (own >> bit) & jnp.uint32(1) == 1


def child_by_search(
    edges: Array, starts: Starts, node: Array, code: Array, width: int
) -> tuple[Array, Array]:
    """As `child_by_mask`, by binary search among a node's edges, at most M = `width`."""
    low, end = starts[node], starts[node + 1]
    high, last = end, edges.shape[0] - 1
    for _ in range(width.bit_length()):
        middle = (low + high) // 2
        less = edges[jnp.minimum(middle, last)].astype(jnp.int32) < code
        go = low < high
        low, high = jnp.where(go & less, middle + 1, low), jnp.where(go & ~less, middle, high)
    return low, (low < end) & (edges[jnp.minimum(low, last)].astype(jnp.int32) == code)


def iota(shape: tuple[int, ...]) -> Array:
    """int32 counting along the last axis, in full shape: ranks need no promotion."""
    return lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)


def _slices(row: Array, first: Array, width: int) -> Array:
    """[E] -> [..., M]: `width` entries from each position [...] on."""
    cut = jax.vmap(lambda f: lax.dynamic_slice(row, (f,), (width,)))
    return cut(first.reshape(-1)).reshape(*first.shape, width)


def _codes_of_bits(bits: Array, size: int) -> Array:
    """[..., W, 32] -> [..., C]."""
    return bits.reshape(*bits.shape[:-2], -1)[..., :size]
