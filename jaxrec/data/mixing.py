"""Examples-proportional mixing of task sets, and the batches of the mixture.

Of a set with n_i examples, training draws the share

    p_i = min(n_i, K) / Σ_j min(n_j, K)

with the cap K (Raffel et al. 2020, section 3.5.2; FLAN, arXiv:2109.01652, with K = 3,000). The
rates are exact and not only expected: an epoch has min(n_i, K) examples of every set. A set with
more examples than K goes on in its next epoch where it stopped, and meets all of its examples
before any a second time.

An epoch depends only on the seed and its number, so a stream can be resumed at any step.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data.marked import TokenTexts
from jaxrec.data.packing import SEGMENTS, pack
from jaxrec.data.pipeline import endless, host_rows

if TYPE_CHECKING:
    import grain


def mixing_rates(sizes: Sequence[int], cap: int = 0) -> np.ndarray:
    """Share of each set in the mixture: `[S]` float64.

    Args:
      sizes: number of examples of each set.
      cap: K, most examples of a set in an epoch; 0 for no limit.

    Raises:
      DataError: no set, or one without examples.

    Example:
      >>> mixing_rates([10, 30, 500], cap=40).tolist()
      [0.125, 0.375, 0.5]
    """
    counts = np.array(Mix(sizes=tuple(sizes), cap=cap).counts)
    return counts / counts.sum()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix:
    """The order in which the examples of several sets are trained.

    Examples are numbered through: first those of the first set, then those of the second.

    Attributes:
      sizes: number of examples of each set.
      cap: K, most examples of a set in an epoch; 0 for no limit.
      seed: seed of the orders.

    Raises:
      DataError: no set, or one without examples.
      ConfigError: a negative cap.

    Example:
      >>> mix = Mix(sizes=(2, 5), cap=3)
      >>> mix.counts, [sorted(mix.epoch(number).tolist())[:2] for number in (0, 1)]
      ((2, 3), [[0, 1], [0, 1]])
    """

    sizes: tuple[int, ...]
    cap: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise DataError(f"a mixture needs sets with examples, got sizes {self.sizes}")
        if self.cap < 0:
            raise ConfigError(f"cap must be 0 (no limit) or at least 1, got {self.cap}")

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of examples of each set in an epoch."""
        return tuple(min(size, self.cap) if self.cap else size for size in self.sizes)

    def epoch(self, number: int) -> np.ndarray:
        """The examples of an epoch in their order, `[Σ min(n_i, K)]` int64."""
        first, chosen = 0, []
        for which, (size, count) in enumerate(zip(self.sizes, self.counts, strict=True)):
            places = np.arange(number * count, (number + 1) * count)
            for lap in np.unique(places // size).tolist():
                order = np.random.default_rng([self.seed, 0, which, lap]).permutation(size)
                chosen.append(first + order[places[places // size == lap] % size])
            first += size
        every = np.concatenate(chosen)
        return every[np.random.default_rng([self.seed, 1, number]).permutation(len(every))]


def mixed_batches(
    texts: TokenTexts,
    mix: Mix,
    *,
    length: int,
    batch_size: int,
    packed: bool = True,
    shard: tuple[int, int] = (0, 1),
) -> "grain.IterDataset[dict[str, np.ndarray]]":
    """Return endless, seeded, resumable batches of a mixture, see `objectives.language_loss`.

    With packing, the texts of an epoch are put into rows by best-fit decreasing, and the rows are
    shuffled; a text attends to no other text of its row.

    Args:
      texts: N texts, in the order in which the mixture numbers them.
      mix: their sets.
      length: T, tokens of a row.
      batch_size: B, rows of a batch, over all hosts.
      packed: put several texts into a row; otherwise a row is one text with its padding.
      shard: (this host, number of hosts); each host gets its part of every batch.

    Returns:
      Batches of "tokens" `[B, T]` int32, "valid" `[B, T]` bool, "weights" `[B, T]` float32, and
      "segments" `[B, T]` int32, which is -1 for padding.

    Raises:
      ConfigError: rows that are shorter than a text, or a batch that the hosts cannot share.
      DataError: the mixture is of another number of texts.

    Example:
      >>> from jaxrec.data import MarkedText, Mix, encode_marked, mixed_batches, train_bpe
      >>> tokenizer = train_bpe(["say a"], 270)
      >>> said = [MarkedText(text, ((4, 5),)) for text in ("say a", "say b")]
      >>> texts = encode_marked(tokenizer, said, 8)
      >>> batches = mixed_batches(texts, Mix(sizes=(2,)), length=16, batch_size=1)
      >>> next(iter(batches))["segments"].max()
      np.int32(1)
    """
    if sum(mix.sizes) != len(texts):
        raise DataError(f"the mixture has {sum(mix.sizes)} texts, and there are {len(texts)}")
    if texts.lengths.max() > length:
        raise ConfigError(
            f"rows of {length} tokens cannot hold texts of up to {texts.lengths.max()}; use longer "
            "rows or shorter texts"
        )
    rows = host_rows(batch_size, shard)
    stream = _Rows(texts=texts, mix=mix, length=length, packed=packed)

    def batch(step: int) -> dict[str, np.ndarray]:
        first = step * batch_size
        made = [stream.row(place) for place in range(first + rows.start, first + rows.stop)]
        return {name: np.stack([row[name] for row in made]) for name in made[0]}

    return endless(batch, batch_size, 0)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Rows:
    """The endless stream of rows, indexed by position."""

    texts: TokenTexts
    mix: Mix
    length: int
    packed: bool

    def row(self, place: int) -> Mapping[str, np.ndarray]:
        """The row at a place of the stream."""
        epoch, first = self._locate(place)
        order, begin = self._epoch(epoch)
        index = place - first
        row = {
            "tokens": np.zeros(self.length, np.int32),
            "valid": np.zeros(self.length, bool),
            "weights": np.zeros(self.length, np.float32),
            SEGMENTS: np.full(self.length, -1, np.int32),
        }
        at = 0
        for segment, number in enumerate(order[begin[index] : begin[index + 1]].tolist()):
            tokens, learned = self.texts.text(number)
            here = slice(at, at + len(tokens))
            row["tokens"][here], row["valid"][here] = tokens, True
            row["weights"][here], row[SEGMENTS][here] = learned, segment
            at += len(tokens)
        return row

    def _locate(self, place: int) -> tuple[int, int]:
        """The epoch that a row belongs to, and the place of that epoch's first row."""
        # Epochs differ in their number of rows where a cap leaves examples out.
        while self._firsts[-1] <= place:
            self._firsts.append(self._firsts[-1] + len(self._epoch(len(self._firsts) - 1)[1]) - 1)
        epoch = int(np.searchsorted(self._firsts, place, side="right")) - 1
        return epoch, self._firsts[epoch]

    @functools.cached_property
    def _firsts(self) -> list[int]:
        return [0]

    @functools.cached_property
    def _epoch(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        # Two epochs are kept: a batch may end one and begin the next.
        return functools.lru_cache(maxsize=2)(self._make_epoch)

    def _make_epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The examples of an epoch row by row, and where each row begins in them."""
        examples = self.mix.epoch(number)
        if not self.packed:
            return examples, np.arange(len(examples) + 1)
        rows = pack(self.texts.lengths[examples], self.length)
        count = int(rows.max()) + 1
        # Rows come in a random order; otherwise an epoch would start with the longest texts.
        rows = np.random.default_rng([self.mix.seed, 2, number]).permutation(count)[rows]
        ends = np.cumsum(np.bincount(rows, minlength=count))
        return examples[np.argsort(rows, kind="stable")], np.concatenate([[0], ends])
