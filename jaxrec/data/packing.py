"""Several windows in one row, so that short histories cost no padding.

row 0: a a a a a b b b     items of histories a and b
       0 0 0 0 0 1 1 1     segments
row 1: c c c c d d . .
       0 0 0 0 1 1 -1 -1   two items of padding

Best-fit decreasing (Johnson 1974) over a whole epoch: windows from the longest to the shortest,
each into the fullest row that has room. Rows with equally much room are alike, so that it works on
counts and not on windows (as do Krell et al. 2021, arXiv:2107.02027): its cost hardly grows with
the number of windows.

All epochs have windows of the same lengths, hence equally many rows. So the stream of rows is, like
that of windows, a function of the seed and the place in it.
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
      lengths: `[W]` sizes, at least 1.
      capacity: size of a row.

    Returns:
      `[W]` row of each, numbered from 0 without gaps. How many rows there are, and how full each
      is, depends on the multiset of lengths alone; of equally long sequences the first come first.

    Raises:
      ConfigError: a sequence that is empty, or longer than a row.

    Cost: a sort, and a step for every pair of a length and an amount of room that occur together.
    """
    lengths = np.asarray(lengths, np.int64)
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= capacity:
        raise ConfigError(
            f"lengths of {lengths.min()} to {lengths.max()} do not fit rows of {capacity}; "
            "use longer rows, and leave empty sequences out"
        )
    sizes, counts = np.unique(lengths, return_counts=True)
    chosen = np.empty(len(lengths), np.int64)  # row of the longest, of the second longest, ...
    open_rows: dict[int, np.ndarray] = {}  # by the room that is left
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
            # The fullest row stays the fullest as it takes one more, until it has no room for it.
            each = room // size
            full = min(len(rows), (end - done) // each)
            chosen[done : done + full * each] = np.repeat(rows[:full], each)
            done += full * each
            leave(room - each * size, rows[:full])
            last = end - done if full < len(rows) else 0
            if last:
                chosen[done:end] = rows[full]
                done = end
                leave(room - last * size, rows[full : full + 1])
                full += 1
            leave(room, rows[full:])
    found = np.empty_like(chosen)
    found[np.argsort(-lengths, kind="stable")] = chosen
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Packing:
    """The endless stream of packed rows, by place in the stream.

    Attributes:
      windows: what is packed.
      row: items that a row has room for; at least the windows' length.
    """

    windows: Windows
    row: int

    def __post_init__(self) -> None:
        """Reject rows that some window would not fit."""
        if self.row < self.windows.length:
            raise ConfigError(
                f"rows of {self.row} items cannot hold windows of up to {self.windows.length}; "
                "use longer rows or shorter windows"
            )

    @functools.cached_property
    def per_epoch(self) -> int:
        """Rows of an epoch."""
        return int(pack(self.windows.lengths, self.row).max()) + 1

    @property
    def padding(self) -> float:
        """Share of padding in an epoch."""
        return 1.0 - float(self.windows.lengths.sum()) / (self.per_epoch * self.row)

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return [W] windows of an epoch, row by row, and [R+1] where each row begins in them.

        Windows are places in their stream.
        """
        first, end = self.windows.epoch(number)
        rows = pack(end - first, self.row)
        # Rows come in a random order; otherwise an epoch would go from long histories to short.
        rows = self.windows.generator(number, 1).permutation(self.per_epoch)[rows]
        order = np.argsort(rows, kind="stable")
        ends = np.cumsum(np.bincount(rows, minlength=self.per_epoch))
        return order + number * self.windows.per_epoch, np.concatenate([[0], ends])

    def places(self, row: int) -> list[int]:
        """Places in the windows' stream of what the row at a place of this stream holds."""
        number, index = divmod(row, self.per_epoch)
        places, begin = self._cached_epoch(number)
        return places[begin[index] : begin[index + 1]].tolist()

    @functools.cached_property
    def _cached_epoch(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        # Two epochs: a batch may end one and begin the next.
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
      packing: windows in rows.
      batch_size: rows in a batch, over all hosts.
      encode: items ([n] int32), generator -> name -> array [n, ...], of the same further axes for
        every window. The generator, which it must not keep, is the one that the window gets when
        it is not packed.
      threads: Grain threads that prepare batches ahead.
      shard: (this host, hosts): each host gets its part of every batch.

    Returns:
      Batches: name -> [batch_size / hosts, row, ...], zero where there is padding, and "segments"
      [batch_size / hosts, row] int32: number of the window in its row, from 0, and -1 for padding.

    Raises:
      ConfigError: a batch that is empty or that the hosts cannot share evenly.
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
                    f"entries; packing needs one an item, and keeps the name {SEGMENTS!r} to itself"
                )
            if name not in row:
                row[name] = np.zeros((packing.row, *value.shape[1:]), value.dtype)
            row[name][begin:end] = value
        begin = end
    return row
