"""The nearest centroid of many vectors, by pieces of rows that an engine hands out.

Shapes: `I` vectors, `D` their width, `C` centroids.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrec.core import LOCAL, Engine
from jaxrec.ids.kmeans import dtype_of, nearest

# Rows of a piece, a multiple of the rows that `nearest` compares at a time.
_ROWS = 1 << 16


def assign(vectors: np.ndarray, centroids: np.ndarray, engine: Engine = LOCAL) -> np.ndarray:
    """Return int32 `[I]`, the nearest centroid of each vector, the same by every engine.

    Args:
      vectors: `[I, D]`. So few that they fit one piece are compared here, since that takes less
        time than sending them.
      centroids: `[C, D]`.
      engine: what compares pieces of rows.

    Example:
      >>> assign(np.array([[0.0], [9.0]]), np.array([[10.0], [1.0]])).tolist()
      [1, 0]
    """
    if len(vectors) <= _ROWS:
        return nearest(vectors, centroids)
    # The type depends on the number of all rows, as it does without pieces.
    dtype = dtype_of(vectors)
    firsts = range(0, len(vectors), _ROWS)
    pieces = [np.asarray(vectors[first : first + _ROWS], dtype) for first in firsts]
    codes = np.empty(len(vectors), np.int32)
    for number, found in engine.map(functools.partial(_compare, centroids, dtype), pieces):
        codes[number * _ROWS : number * _ROWS + len(found)] = found
    return codes


def _compare(centroids: np.ndarray, dtype: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A job that compares pieces of rows with the centroids."""
    return lambda vectors: nearest(vectors, centroids, dtype)
