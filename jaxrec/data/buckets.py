"""Bucketed batches: each batch has one of a few lengths, so that short histories need less padding.

Every window belongs to the bucket with the shortest length that it fits. Batches of all buckets
have about the same number of tokens, so batches of shorter rows have more rows.

The windows of a bucket form an endless stream, epoch after epoch. Batches are cut from that stream,
so the rest of an epoch starts the next one and all batches are full. Counting determines the bucket
of a step: after E epochs of W_b windows, bucket b has had floor(E W_b / R_b) batches of R_b rows.
Within an epoch, batches of different buckets come in a random order.
"""

import bisect
import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data.pipeline import Encode, Windows, endless, host_rows, stack

if TYPE_CHECKING:
    import grain


def bucket_lengths(lengths: np.ndarray, count: int) -> tuple[int, ...]:
    """Choose the bucket lengths that need the least padding.

    Args:
      lengths: `[W]` lengths of all sequences.
      count: largest number of buckets.

    Returns:
      At most `count` increasing lengths, the last of which is the longest sequence. They minimize
      the number of cells if every sequence is padded to the shortest length that it fits.

    Raises:
      ConfigError: `count` is below 1.

    Cost: dynamic programming over the D different lengths, `count` D^2 operations.

    Example:
      >>> bucket_lengths(np.array([2, 2, 2, 9, 10]), 2)
      (2, 10)
    """
    if count < 1:
        raise ConfigError(f"there must be at least 1 bucket, got {count}")
    sizes, counts = np.unique(lengths, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])  # [D+1] sequences shorter than each size
    # cells[j]: number of cells of the j shortest sizes, with one bucket per round so far.
    cells = np.concatenate([[0.0], np.full(len(sizes), np.inf)])
    choices = []
    for _ in range(min(count, len(sizes))):
        # [j, i]: the last bucket pads sizes i, ..., j - 1 to size j - 1.
        total = cells[None, :-1] + sizes[:, None] * (below[1:, None] - below[None, :-1])
        total = np.where(np.tri(len(sizes), dtype=bool), total, np.inf)
        choices.append(total.argmin(axis=1))
        cells = np.concatenate([[np.inf], total.min(axis=1)])
    chosen, end = [], len(sizes)
    for choice in reversed(choices):
        chosen.append(int(sizes[end - 1]))
        end = int(choice[end - 1])
    return tuple(reversed(chosen))


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """The endless stream of batches, each from one bucket.

    Attributes:
      windows: the windows that are batched.
      lengths: lengths of the buckets, increasing.
      rows: R_b, rows in a batch of each bucket.

    Example:
      >>> histories = [np.arange(2), np.arange(2), np.arange(8)]
      >>> windows = Windows.of(histories, length=8, seed=0)
      >>> buckets = Buckets.of(windows, count=2, batch_size=2)
      >>> buckets.lengths, buckets.rows, buckets.padding
      ((2, 8), (8, 2), 0.0)
    """

    windows: Windows
    lengths: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, windows: Windows, *, count: int, batch_size: int, multiple: int = 1) -> "Buckets":
        """Choose the lengths and rows of the buckets.

        Args:
          windows: the windows to batch.
          count: largest number of buckets.
          batch_size: rows in a batch of full-length windows. Shorter buckets get more rows, so that
            all batches have about the same number of tokens.
          multiple: number of which every number of rows is a multiple: the product of hosts,
            devices and micro-batches that share a batch.

        Raises:
          ConfigError: `count` is below 1, or `batch_size` is not a positive multiple.
        """
        if batch_size < 1 or batch_size % multiple:
            raise ConfigError(
                f"batch_size {batch_size} must be a positive multiple of {multiple}, so that "
                "hosts, devices and micro-batches can share it evenly"
            )
        lengths = bucket_lengths(windows.lengths, count)
        tokens = batch_size * windows.length
        rows = tuple(max(1, round(tokens / length / multiple)) * multiple for length in lengths)
        return cls(windows, lengths, rows)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """W_b, the number of windows per epoch in each bucket."""
        buckets = np.searchsorted(self.lengths, self.windows.lengths)
        return tuple(np.bincount(buckets, minlength=len(self.lengths)).tolist())

    @property
    def padding(self) -> float:
        """Share of padding in an epoch."""
        cells = np.dot(self.lengths, self.sizes)
        return 1.0 - float(self.windows.lengths.sum()) / float(cells)

    def batch(self, step: int) -> tuple[int, list[int]]:
        """Return the bucket of a step, and the positions of its rows in the stream of windows."""
        epoch = self._epoch_of(step)
        index = step - self._steps_before(epoch)
        bucket, number = (int(x[index]) for x in self._cached_schedule(epoch))
        first = number * self.rows[bucket]
        numbers, indices = np.divmod(
            np.arange(first, first + self.rows[bucket]), self.sizes[bucket]
        )
        places = [
            self._cached_members(number)[bucket][indices[numbers == number]]
            for number in np.unique(numbers).tolist()
        ]
        return bucket, np.concatenate(places).tolist()

    def _batches_before(self, epoch: int) -> list[int]:
        """Return the number of batches that each bucket has had before an epoch."""
        return [epoch * size // rows for size, rows in zip(self.sizes, self.rows, strict=True)]

    def _steps_before(self, epoch: int) -> int:
        return sum(self._batches_before(epoch))

    def _epoch_of(self, step: int) -> int:
        rate = sum(size / rows for size, rows in zip(self.sizes, self.rows, strict=True))
        # Rounding down loses less than one batch per bucket.
        low = max(0, int(step / rate) - 1)
        epochs = range(low, low + 4 + int((len(self.rows) + 1) / rate))
        return low + bisect.bisect_right(epochs, step, key=self._steps_before) - 1

    def _schedule(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each step of an epoch, its bucket and the batch number within the bucket."""
        before, after = self._batches_before(epoch), self._batches_before(epoch + 1)
        bucket = np.repeat(np.arange(len(before)), np.subtract(after, before))
        number = np.concatenate([np.arange(a, b) for a, b in zip(before, after, strict=True)])
        order = self.windows.generator(epoch, 2).permutation(len(bucket))
        return bucket[order], number[order]

    def _members(self, number: int) -> list[np.ndarray]:
        """Return the positions of an epoch's windows in their stream, bucket by bucket."""
        first, end = self.windows.epoch(number)
        buckets = np.searchsorted(self.lengths, end - first)
        start = number * self.windows.per_epoch
        return [start + np.flatnonzero(buckets == b) for b in range(len(self.lengths))]

    @functools.cached_property
    def _cached_schedule(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        return functools.lru_cache(maxsize=1)(self._schedule)

    @functools.cached_property
    def _cached_members(self) -> Callable[[int], list[np.ndarray]]:
        # Buckets are at most one batch apart, so they usually touch two epochs.
        return functools.lru_cache(maxsize=2)(self._members)


def bucketed_batches(
    buckets: Buckets,
    *,
    encode: Callable[[int], Encode],
    threads: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Return an endless Grain dataset of batches from one bucket each; see `training_sequences`.

    Args:
      buckets: the stream of batches.
      encode: function from the length of a bucket to the encoder of its windows, which has the form
        that `training_sequences` takes.
      threads: number of Grain threads that prepare batches ahead.
      shard: (this host, number of hosts); each host gets its part of every batch.

    Returns:
      Batches: name -> [rows of the bucket / hosts, ...], in as many shapes as there are buckets.

    Raises:
      ConfigError: the hosts cannot share the rows of a bucket evenly.

    Example:
      >>> from jaxrec.data import pad_left
      >>> windows = Windows.of([np.arange(2), np.arange(8)], length=8, seed=0)
      >>> buckets = Buckets.of(windows, count=2, batch_size=1)
      >>> encode = lambda length: functools.partial(pad_left, length=length)
      >>> batches = iter(bucketed_batches(buckets, encode=encode))
      >>> sorted({next(batches)["items"].shape for _ in range(8)})
      [(1, 8), (4, 2)]
    """
    parts = [host_rows(rows, shard) for rows in buckets.rows]
    encoders = [encode(length) for length in buckets.lengths]

    def batch(step: int) -> dict[str, np.ndarray]:
        bucket, places = buckets.batch(step)
        drawn = buckets.windows.draw(places[parts[bucket]])
        return stack([encoders[bucket](items, rng) for items, rng in drawn])

    return endless(batch, max(buckets.rows), threads)
