"""Building the flat arrays of `ItemIndex` on the host, in numpy.

Shapes: `I` items, `L` levels, `N_l` nodes at depth l, `W` words of a bitmask.
"""

import numpy as np

from jaxrec.core.errors import DataError
from jaxrec.ids.codes import sort_order


def flat_arrays(codes: np.ndarray, sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """`starts_l`, `edges_l` and `leaf_items` of codes [I, L], as numpy arrays."""
    order = sort_order(codes, sizes)
    ranked = codes[order]
    fresh = np.zeros(len(codes), bool)
    fresh[0] = True
    arrays = {"leaf_items": order.astype(np.int32)}
    parents = np.zeros(1, np.int64)  # row at which each node of depth l begins
    for level, size in enumerate(sizes):
        fresh[1:] |= ranked[1:, level] != ranked[:-1, level]
        rows = np.flatnonzero(fresh)
        # The first edge of a node begins at the node's own first row.
        starts = np.append(np.searchsorted(rows, parents), len(rows))
        arrays[f"starts_{level}"] = starts.astype(np.int32)
        arrays[f"edges_{level}"] = ranked[rows, level].astype(narrow_type(size))
        parents = rows
    if len(parents) < len(codes):
        twin = int(np.flatnonzero(~fresh)[0])
        a, b = sorted((int(order[twin - 1]), int(order[twin])))
        raise DataError(
            f"items {a} and {b} share the ID {tuple(ranked[twin].tolist())}; "
            "make IDs unique first, with collisions.repair"
        )
    return arrays


def bitmask(starts: np.ndarray, edges: np.ndarray, words: int) -> np.ndarray:
    """Bitmask of each node's codes, uint32 [N_l, W]."""
    nodes = np.repeat(np.arange(len(starts) - 1, dtype=np.int64), np.diff(starts))
    word = nodes * words + (edges >> 5)
    bits = np.uint32(1) << (edges & 31).astype(np.uint32)
    # Edges are sorted by node and code, so each word's bits stand together.
    first = np.flatnonzero(np.diff(word, prepend=-1))
    mask = np.zeros((len(starts) - 1) * words, np.uint32)
    mask[word[first]] = np.bitwise_or.reduceat(bits, first)
    return mask.reshape(-1, words)


def narrow_type(size: int) -> type[np.unsignedinteger]:
    """Narrowest unsigned type of codes below `size`."""
    return np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.uint32
