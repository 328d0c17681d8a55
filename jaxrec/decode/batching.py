"""Batches of few shapes: every new shape of an array compiles a program anew."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

# Share of the rows that are always read together, and how many times longer than these the longest
# row may be before long rows are read on their own. Every group is a further compilation.
_TOGETHER, _RATIO = 0.95, 4
# A row that is at most so long never makes a further group.
_SHORT = 512
# Cells of a call to long rows, so that a few of them cost as little as many short ones.
_CELLS = 1 << 16


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


@dataclasses.dataclass(frozen=True, eq=False)
class LengthGroup:
    """Rows that are padded to one length.

    Attributes:
      rows: `[n]` numbers of the rows, ascending.
      width: the length, a power of two.
      batch_size: rows of a call.
    """

    rows: np.ndarray
    width: int
    batch_size: int

    def batches(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the rows of each call, filled up by repeating the last one, and how many count."""
        for first in range(0, len(self.rows), self.batch_size):
            chosen = self.rows[first : first + self.batch_size]
            places = np.minimum(np.arange(self.batch_size), len(chosen) - 1)
            yield chosen[places], len(chosen)


def length_groups(
    lengths: Sequence[int] | np.ndarray, batch_size: int, multiple: int = 1
) -> list[LengthGroup]:
    """Group rows by length, so that a few long rows do not make all others long.

    Rows of common lengths are one group. Much longer ones are groups of their own, with fewer rows
    a call.

    Args:
      lengths: `[U]` lengths of the rows.
      batch_size: rows of a call of common length.
      multiple: number that must divide the rows of every call, such as the number of devices.

    Example:
      >>> groups = length_groups([3, 9600, 40, 7], batch_size=128)
      >>> [(group.rows.tolist(), group.width, group.batch_size) for group in groups]
      [([0, 2, 3], 64, 128), ([1], 16384, 1)]
    """
    lengths = np.asarray(lengths, np.int64)
    if not len(lengths):
        return []
    left, limits = np.sort(lengths), []
    most = bucket(int(left[-1]))
    common = bucket(int(left[int(_TOGETHER * (len(left) - 1))]))
    if most > max(_RATIO * common, _SHORT):
        limits.append(common)
        while _RATIO * limits[-1] < most:
            limits.append(_RATIO * limits[-1])
    limits.append(most)
    groups, shorter = [], -1
    for limit in limits:
        rows = np.flatnonzero((lengths > shorter) & (lengths <= limit))
        shorter = limit
        if not len(rows):
            continue
        width, size = bucket(int(lengths[rows].max())), batch_size
        if limit != limits[0]:
            size = min(size, max(_CELLS // width, 1), bucket(len(rows), 1))
            size = -(-size // multiple) * multiple
        groups.append(LengthGroup(rows, width, size))
    return groups
