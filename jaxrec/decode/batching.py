"""Batches of few shapes: every new shape of an array compiles a program anew."""

from collections.abc import Iterator

import numpy as np


def bucket(size: int, smallest: int = 16) -> int:
    """Round a length up to a power of two, so that few shapes are ever compiled.

    Args:
      size: the length.
      smallest: a power of two; shorter lengths become this.

    Example:
      >>> [bucket(size) for size in (3, 16, 17)]
      [16, 16, 32]
    """
    while smallest < size:
        smallest *= 2
    return smallest


def row_batches(count: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of each call; the last row is repeated until a batch is full."""
    size = min(batch_size, count)
    for first in range(0, count, batch_size):
        yield np.minimum(np.arange(first, first + size), count - 1)
