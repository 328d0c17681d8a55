"""Build the flat arrays of `ItemIndex` on the host, in numpy.

Shapes: `I` items, `L` levels, `N_l` nodes at depth l, `W` words of a bitmask.
"""

import numpy as np

from jaxrec.core import DataError
from jaxrec.ids.codes import sort_order


def flat_arrays(
    codes: np.ndarray, sizes: tuple[int, ...], items: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return `starts_l`, `edges_l` and `leaf_items` for codes [I, L].

    Args:
      codes: IDs [I, L].
      sizes: codebook size of each level.
      items: item number of each ID [I]; None for 0..I-1.

    Raises:
      DataError: two items have the same ID.
    """
    items = np.arange(len(codes)) if items is None else items
    order = sort_order(codes, sizes)
    ranked = codes[order]
    fresh = np.zeros(len(codes), bool)
    fresh[0] = True
    arrays = {"leaf_items": items[order].astype(np.int32)}
    parents = np.zeros(1, np.int64)  # row at which each node of depth l begins
    for level, size in enumerate(sizes):
        fresh[1:] |= ranked[1:, level] != ranked[:-1, level]
        rows = np.flatnonzero(fresh)
        # The first edge of a node begins at the node's own first row.
        place = np.cumsum(fresh, dtype=np.int32) - 1
        starts = np.append(place[parents], len(rows))
        arrays[f"starts_{level}"] = starts.astype(np.int32)
        arrays[f"edges_{level}"] = ranked[rows, level].astype(narrow_type(size))
        parents = rows
    if len(parents) < len(codes):
        twin = int(np.flatnonzero(~fresh)[0])
        a, b = sorted((int(items[order[twin - 1]]), int(items[order[twin]])))
        raise DataError(
            f"items {a} and {b} share the ID {tuple(ranked[twin].tolist())}; "
            "make IDs unique first with ids.repair"
        )
    return arrays


def bitmask(starts: np.ndarray, edges: np.ndarray, words: int) -> np.ndarray:
    """Return the bitmask of each node's codes, uint32 [N_l, W]."""
    nodes = np.repeat(np.arange(len(starts) - 1, dtype=np.int64), np.diff(starts))
    return _bits_of(nodes, edges[: len(nodes)], len(starts) - 1, words)


def wide_masks(
    starts: np.ndarray, edges: np.ndarray, words: int, narrow: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which nodes have more than `narrow` children, bool [N_l], and their masks [R, W]."""
    children = np.diff(starts)
    wide = children > narrow
    rows = np.cumsum(wide) - 1
    inside = np.repeat(wide, children)
    nodes = np.repeat(rows, children)[inside]
    return wide, _bits_of(nodes, edges[: len(inside)][inside], int(wide.sum()), words)


def narrow_children(starts: np.ndarray, words: int, least: int, limit: int) -> int:
    """Return the smallest window such that the masks of all wider nodes fit `limit` bytes.

    The window is `least` times a power of two.
    """
    children = np.diff(starts)
    widest, narrow = int(children.max(initial=0)), least
    while narrow < widest and (children > narrow).sum() * words * 4 > limit:
        narrow *= 2
    return min(narrow, max(widest, 1))


def forced_level(arrays: dict[str, np.ndarray], levels: int, share: float) -> int:
    """Return the least depth from which on a `share` of nodes lead to one item each, at most L."""
    bounds, forced = np.arange(len(arrays["leaf_items"]) + 1), levels
    for level in range(levels - 1, 0, -1):
        bounds = bounds[arrays[f"starts_{level}"]]
        if (np.diff(bounds) == 1).mean() < share:
            break
        forced = level
    return forced


def _bits_of(nodes: np.ndarray, codes: np.ndarray, rows: int, words: int) -> np.ndarray:
    """Return bitmasks uint32 [rows, words] from pairs sorted by node and then by code."""
    mask = np.zeros(rows * words, np.uint32)
    if len(nodes):
        word = nodes * words + (codes >> 5)
        bits = np.uint32(1) << (codes & 31).astype(np.uint32)
        # Each word's bits stand together.
        first = np.flatnonzero(np.diff(word, prepend=-1))
        mask[word[first]] = np.bitwise_or.reduceat(bits, first)
    return mask.reshape(rows, words)


def narrow_type(size: int) -> type[np.unsignedinteger]:
    """Return the narrowest unsigned type that holds all codes below `size`."""
    return np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.uint32


def with_room(count: int, room: float) -> int:
    """Return a count with room for a share of `room` more, rounded so that counts share shapes."""
    if room == 0:
        return count
    step = 1 << max(int(count * (1 + room)).bit_length() - 4, 0)
    return -(-int(count * (1 + room) + 1) // step) * step


def shapes_with_room(
    arrays: dict[str, np.ndarray], sizes: tuple[int, ...], room: float
) -> dict[str, int]:
    """Return the length of every array of an index that has room for more items."""
    shapes = {"codes": with_room(len(arrays["codes"]), room)}
    nodes = 1
    for level, size in enumerate(sizes):
        shapes[f"starts_{level}"] = nodes + 1
        most = nodes * size
        nodes = min(with_room(len(arrays[f"edges_{level}"]), room), most)
        shapes[f"edges_{level}"] = nodes
    shapes["leaf_items"] = nodes
    return shapes


def padded(arrays: dict[str, np.ndarray], shapes: dict[str, int]) -> dict[str, np.ndarray]:
    """Pad arrays so that the added nodes have no children and no node leads to them."""
    longer = {}
    for name, array in arrays.items():
        width = ((0, shapes[name] - len(array)),) + ((0, 0),) * (array.ndim - 1)
        mode = "edge" if name.startswith("starts") else "constant"
        longer[name] = np.pad(array, width, mode=mode) if width[0][1] else array  # type: ignore[call-overload]
    return longer
