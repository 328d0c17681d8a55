"""Batches of one length each, out of a few, so that short histories are padded to a short one.

Every window belongs to the bucket of the shortest length that it fits. A batch has about as many
tokens in every bucket: more rows where rows are shorter.

A bucket's windows are an endless stream, epoch after epoch. Its batches are cut from that stream,
so that what an epoch leaves over begins the next one, and all batches are full. Which bucket's turn
it is at a step follows from counting: bucket b has had floor(E W_b / R_b) batches of R_b rows when
E epochs of W_b windows are over. Within an epoch the turns come in a random order.
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
    """Choose the lengths that pad the least.

    Args:
      lengths: `[W]` of all sequences.
      count: most buckets.

    Returns:
      At most `count` lengths, increasing, the last that of the longest sequence: those with the
      fewest cells when every sequence is padded to the shortest of them that it fits.

    Raises:
      ConfigError: no buckets.

    Cost: dynamic programming over the D different lengths, `count` D^2 operations.
    """
    if count < 1:
        raise ConfigError(f"there must be at least 1 bucket, got {count}")
    sizes, counts = np.unique(lengths, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])  # [D+1] sequences shorter than each size
    # cells[j]: of the j shortest sizes, in as many buckets as there have been rounds.
    cells = np.concatenate([[0.0], np.full(len(sizes), np.inf)])
    choices = []
    for _ in range(min(count, len(sizes))):
        # [j, i]: the last bucket pads sizes i, ..., j - 1 to the size of j - 1.
        total = cells[None, :-1] + sizes[:, None] * (below[1:, None] - below[None, :-1])
        total = np.where(np.tri(len(sizes), dtype=bool), total, np.inf)
        choices.append(total.argmin(axis=1))
        cells = np.concatenate([[np.inf], total.min(axis=1)])
    found, end = [], len(sizes)
    for choice in reversed(choices):
        found.append(int(sizes[end - 1]))
        end = int(choice[end - 1])
    return tuple(reversed(found))


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """The endless stream of batches, each of one bucket.

    Attributes:
      windows: what is batched.
      lengths: of the buckets, increasing.
      rows: R_b, rows of a batch of each bucket.
    """

    windows: Windows
    lengths: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, windows: Windows, *, count: int, batch_size: int, multiple: int = 1) -> "Buckets":
        """Choose lengths and rows.

        Args:
          windows: what is batched.
          count: most buckets.
          batch_size: rows of a batch at the windows' full length; shorter buckets have as many more
            rows as keeps the tokens of a batch about equal.
          multiple: what the number of rows must be a multiple of: hosts, devices, micro-batches.

        Raises:
          ConfigError: no buckets, or a batch that is no multiple.
        """
        if batch_size < 1 or batch_size % multiple:
            raise ConfigError(
                f"batch_size {batch_size} must be a positive multiple of {multiple}, which hosts, "
                "devices and micro-batches share"
            )
        lengths = bucket_lengths(windows.lengths, count)
        tokens = batch_size * windows.length
        rows = tuple(max(1, round(tokens / length / multiple)) * multiple for length in lengths)
        return cls(windows, lengths, rows)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """W_b: windows of an epoch in each bucket."""
        buckets = np.searchsorted(self.lengths, self.windows.lengths)
        return tuple(np.bincount(buckets, minlength=len(self.lengths)).tolist())

    @property
    def padding(self) -> float:
        """Share of padding in an epoch."""
        cells = np.dot(self.lengths, self.sizes)
        return 1.0 - float(self.windows.lengths.sum()) / float(cells)

    def batch(self, step: int) -> tuple[int, list[int]]:
        """Return the bucket of a step, and the places of its rows in the windows' stream."""
        epoch = self._epoch_of(step)
        bucket, turn = (int(x[step - self._steps_before(epoch)]) for x in self._cached_turns(epoch))
        first = turn * self.rows[bucket]
        numbers, indices = np.divmod(
            np.arange(first, first + self.rows[bucket]), self.sizes[bucket]
        )
        places = [
            self._cached_members(number)[bucket][indices[numbers == number]]
            for number in np.unique(numbers).tolist()
        ]
        return bucket, np.concatenate(places).tolist()

    def _batches_before(self, epoch: int) -> list[int]:
        """Batches that each bucket has had when an epoch begins."""
        return [epoch * size // rows for size, rows in zip(self.sizes, self.rows, strict=True)]

    def _steps_before(self, epoch: int) -> int:
        return sum(self._batches_before(epoch))

    def _epoch_of(self, step: int) -> int:
        rate = sum(size / rows for size, rows in zip(self.sizes, self.rows, strict=True))
        # Rounding down loses less than a batch a bucket.
        low = max(0, int(step / rate) - 1)
        epochs = range(low, low + 4 + int((len(self.rows) + 1) / rate))
        return low + bisect.bisect_right(epochs, step, key=self._steps_before) - 1

    def _turns(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each step of an epoch its bucket, and the number of the batch in its bucket."""
        before, after = self._batches_before(epoch), self._batches_before(epoch + 1)
        bucket = np.repeat(np.arange(len(before)), np.subtract(after, before))
        turn = np.concatenate([np.arange(a, b) for a, b in zip(before, after, strict=True)])
        order = self.windows.generator(epoch, 2).permutation(len(bucket))
        return bucket[order], turn[order]

    def _members(self, number: int) -> list[np.ndarray]:
        """Places in the windows' stream of an epoch's windows, bucket by bucket."""
        first, end = self.windows.epoch(number)
        buckets = np.searchsorted(self.lengths, end - first)
        start = number * self.windows.per_epoch
        return [start + np.flatnonzero(buckets == b) for b in range(len(self.lengths))]

    @functools.cached_property
    def _cached_turns(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        return functools.lru_cache(maxsize=1)(self._turns)

    @functools.cached_property
    def _cached_members(self) -> Callable[[int], list[np.ndarray]]:
        # Buckets are at most a batch apart, so two epochs unless a batch is larger than an epoch.
        return functools.lru_cache(maxsize=2)(self._members)


def bucketed_batches(
    buckets: Buckets,
    *,
    encode: Callable[[int], Encode],
    threads: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Return an endless Grain dataset of batches of one bucket each; see `training_sequences`.

    Args:
      buckets: windows in batches.
      encode: length of a bucket -> encoder of its windows, such as `training_sequences` takes.
      threads: Grain threads that prepare batches ahead.
      shard: (this host, hosts): each host gets its part of every batch.

    Returns:
      Batches: name -> [rows of the bucket / hosts, ...], in as many shapes as there are buckets.

    Raises:
      ConfigError: rows of a bucket that the hosts cannot share evenly.
    """
    parts = [host_rows(rows, shard) for rows in buckets.rows]
    encoders = [encode(length) for length in buckets.lengths]

    def batch(step: int) -> dict[str, np.ndarray]:
        bucket, places = buckets.batch(step)
        drawn = buckets.windows.draw(places[parts[bucket]])
        return stack([encoders[bucket](items, rng) for items, rng in drawn])

    return endless(batch, max(buckets.rows), threads)
