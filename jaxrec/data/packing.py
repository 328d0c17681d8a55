"""Packing: several windows share a row, so that short histories need almost no padding.

row 0: a a a a a b b b     items of histories a and b
       0 0 0 0 0 1 1 1     segments
row 1: c c c c d d . .
       0 0 0 0 1 1 -1 -1   two positions of padding

Windows of a whole epoch are packed by best-fit decreasing (Johnson 1974): from the longest to the
shortest, each goes into the fullest row with enough room. Rows with equal room are interchangeable,
so the algorithm works on counts (like Krell et al. 2021, arXiv:2107.02027), and its cost hardly
grows with the number of windows.

All epochs have windows of the same lengths and so the same number of rows. Therefore the stream of
rows, like that of windows, depends only on the seed and the position in it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data.pipeline import Encode, Windows, endless, host_rows, stack

if TYPE_CHECKING:
    import grain

SEGMENTS = "segments"


def pack(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Distribute sequences over rows by best-fit decreasing.

    Args:
      lengths: `[W]` lengths of the sequences, at least 1.
      capacity: length of a row.

    Returns:
      `[W]` row of each sequence, numbered from 0 without gaps. The number of rows and how full they
      are only depend on the multiset of lengths. Sequences of equal length keep their order.

    Raises:
      ConfigError: a sequence is empty, or longer than a row.

    Cost: a sort, and one step for every pair of a length and an amount of room that meet.

    Example:
      >>> pack(np.array([3, 5, 2, 6]), capacity=8).tolist()
      [1, 1, 0, 0]
    """
    lengths = np.asarray(lengths, np.int64)
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= capacity:
        raise ConfigError(
            f"sequences of length {lengths.min()} to {lengths.max()} do not fit rows of "
            f"{capacity}; use longer rows, and leave out empty sequences"
        )
    sizes, counts = np.unique(lengths, return_counts=True)
    chosen = np.empty(len(lengths), np.int64)  # row of the longest, of the second longest, ...
    open_rows: dict[int, np.ndarray] = {}  # remaining room -> rows
    done = opened = 0

    def leave(room: int, rows: np.ndarray) -> None:
        if room and len(rows):
            open_rows[room] = np.concatenate([open_rows.get(room, rows[:0]), rows])

    for size, count in zip(sizes[::-1].tolist(), counts[::-1].tolist(), strict=True):
        end = done + count
        while done < end:
            room = min((room for room in open_rows if room >= size), default=capacity)
            if room == capacity:
                needed = -(-(end - done) // (capacity // size))
                rows, opened = np.arange(opened, opened + needed), opened + needed
            else:
                rows = open_rows.pop(room)
            # A row that takes a sequence stays the fullest one, so it is filled before the next.
            per_row = room // size
            full = min(len(rows), (end - done) // per_row)
            chosen[done : done + full * per_row] = np.repeat(rows[:full], per_row)
            done += full * per_row
            leave(room - per_row * size, rows[:full])
            last = end - done if full < len(rows) else 0
            if last:
                chosen[done:end] = rows[full]
                done = end
                leave(room - last * size, rows[full : full + 1])
                full += 1
            leave(room, rows[full:])
    row_of = np.empty_like(chosen)
    row_of[np.argsort(-lengths, kind="stable")] = chosen
    return row_of


@dataclasses.dataclass(frozen=True, eq=False)
class Packing:
    """The endless stream of packed rows, indexed by position.

    Attributes:
      windows: the windows that are packed.
      row: number of items in a row, at least the length of the windows.

    Raises:
      ConfigError: rows are shorter than the windows.

    Example:
      >>> windows = Windows.of([np.arange(3), np.arange(5), np.arange(8)], length=8, seed=0)
      >>> packing = Packing(windows, row=8)
      >>> packing.per_epoch, packing.padding
      (2, 0.0)
    """

    windows: Windows
    row: int

    def __post_init__(self) -> None:
        """Reject rows that are shorter than some window."""
        if self.row < self.windows.length:
            raise ConfigError(
                f"rows of {self.row} items cannot hold windows of up to {self.windows.length}; "
                "use longer rows or shorter windows"
            )

    @functools.cached_property
    def per_epoch(self) -> int:
        """Number of rows in an epoch."""
        return int(pack(self.windows.lengths, self.row).max()) + 1

    @property
    def padding(self) -> float:
        """Share of padding in an epoch."""
        return 1.0 - float(self.windows.lengths.sum()) / (self.per_epoch * self.row)

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows of an epoch row by row, [W], and where each row begins in them, [R+1].

        A window is given by its position in the stream of windows.
        """
        first, end = self.windows.epoch(number)
        rows = pack(end - first, self.row)
        # Rows come in a random order; otherwise an epoch would start with the longest histories.
        rows = self.windows.generator(number, 1).permutation(self.per_epoch)[rows]
        order = np.argsort(rows, kind="stable")
        ends = np.cumsum(np.bincount(rows, minlength=self.per_epoch))
        return order + number * self.windows.per_epoch, np.concatenate([[0], ends])

    def places(self, row: int) -> list[int]:
        """Return the positions in the stream of windows of the windows in a row."""
        number, index = divmod(row, self.per_epoch)
        places, begin = self._cached_epoch(number)
        return places[begin[index] : begin[index + 1]].tolist()

    @functools.cached_property
    def _cached_epoch(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        # Two epochs are cached, because a batch may end one and begin the next.
        return functools.lru_cache(maxsize=2)(self.epoch)


def packed_batches(
    packing: Packing,
    *,
    batch_size: int,
    encode: Encode,
    threads: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Return an endless Grain dataset of packed batches; see `training_sequences`.

    Args:
      packing: the stream of packed rows.
      batch_size: rows in a batch, over all hosts.
      encode: function from items ([n] int32) and a generator to a map name -> array [n, ...], with
        the same further axes for every window. A window gets the same generator as without packing;
        the function must not keep it.
      threads: number of Grain threads that prepare batches ahead.
      shard: (this host, number of hosts); each host gets its part of every batch.

    Returns:
      Batches: name -> [batch_size / hosts, row, ...], with zeros as padding, and "segments"
      [batch_size / hosts, row] int32: number of the window in its row, from 0, and -1 for padding.

    Raises:
      ConfigError: the batch is empty, or the hosts cannot share it evenly.

    Example:
      >>> windows = Windows.of([np.arange(3), np.arange(5)], length=8, seed=0)
      >>> packing = Packing(windows, row=8)
      >>> encode = lambda items, rng: {"items": items}
      >>> batch = next(iter(packed_batches(packing, batch_size=1, encode=encode)))
      >>> batch["segments"].shape, sorted(set(batch["segments"][0].tolist()))
      ((1, 8), [0, 1])
    """
    rows = host_rows(batch_size, shard)

    def batch(step: int) -> dict[str, np.ndarray]:
        first = step * batch_size
        return stack(
            [
                _row(packing, packing.places(place), encode)
                for place in range(first + rows.start, first + rows.stop)
            ]
        )

    return endless(batch, batch_size, threads)


def _row(packing: Packing, places: list[int], encode: Encode) -> dict[str, np.ndarray]:
    row: dict[str, np.ndarray] = {SEGMENTS: np.full(packing.row, -1, np.int32)}
    begin = 0
    for number, (items, rng) in enumerate(packing.windows.draw(places)):
        end = begin + len(items)
        row[SEGMENTS][begin:end] = number
        for name, value in encode(items, rng).items():
            if len(value) != len(items) or name == SEGMENTS:
                raise ConfigError(
                    f"encoded field {name!r} of a window of {len(items)} items has {len(value)} "
                    f"entries; packing needs one entry per item, and reserves the name {SEGMENTS!r}"
                )
            if name not in row:
                row[name] = np.zeros((packing.row, *value.shape[1:]), value.dtype)
            row[name][begin:end] = value
        begin = end
    return row
