"""What a system offers to recommend without its data: a ranker of item numbers.

    histories, items left out, items allowed --Ranker.best--> items and scores, best first

A ranker knows numbers only. `jaxrec.open` puts IDs and titles to them. Users come in batches of few
shapes, so that calls of any size share a handful of compiled programs, and one long history does
not make all others long.

Shapes: `U` users, `B` users of a batch, `I` items, `K` items of a list.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError, present
from jaxrec.data import load_dataset
from jaxrec.decode import bucket
from jaxrec.ids import pad_items
from jaxrec.kernels import flat_top_k
from jaxrec.runs.directory import check_run
from jaxrec.runs.kept import Kept, kept_of, read_kept

# Most scores of a batch: 0.25 GB.
_SCORES = 1 << 26
# Sizes of batches grow by this factor, so that three programs serve calls of 1 to 256 users.
_STEP = 16


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """What a ranker is asked about; U rows.

    Attributes:
      histories: U arrays of item numbers, oldest first.
      users: U original IDs of users, "" for nobody; None if all are nobody.
      excluded: U arrays of items that are not recommended; None for none.
      allowed: U arrays of the only items that may be recommended; None for all.
      times: U arrays of the seconds from the first item of a history to each item, -1 where they
        are not known, for rankers that read times; None if none is known.

    Example:
      >>> len(Asked(histories=[np.array([3, 5])]))
      1
    """

    histories: Sequence[np.ndarray]
    users: Sequence[str] | None = None
    excluded: Sequence[np.ndarray] | None = None
    allowed: Sequence[np.ndarray] | None = None
    times: Sequence[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.histories)

    def take(self, rows: np.ndarray) -> "Asked":
        """Return some of the rows, in this order."""

        def some(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else [values[row] for row in rows.tolist()]

        return Asked(
            histories=[self.histories[row] for row in rows.tolist()],
            users=some(self.users),
            excluded=some(self.excluded),
            allowed=some(self.allowed),
            times=some(self.times),
        )


class Ranker(Protocol):
    """A trained run that ranks the items of its catalogue."""

    @property
    def num_items(self) -> int:
        """I, number of items that have numbers, those included that were added later."""

    @property
    def meaning(self) -> str:
        """What scores are, such as "log-probability of each ID"."""

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the best items after each history, and their scores.

        Args:
          asked: U rows.
          top: K, at most `num_items`.

        Returns:
          `[U, K]` int32, best first, -1 where fewer items are left; and `[U, K]` float32, -inf
          there.
        """

    def scores(self, asked: Asked, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the scores of U arrays of items, each after its history."""


class ServedRanker(Ranker, Protocol):
    """A ranker whose calls have few shapes, so that a service compiles them all when it starts."""

    @property
    def history_widths(self) -> list[int]:
        """Lengths to which histories are padded, ascending; longer ones are cut to the last."""

    def list_length(self, top: int) -> int:
        """Return the length of the computed list that begins with the best `top` items."""

    def with_batch(self, size: int) -> Self:
        """Return the ranker with batches of at most so many rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class RowBatch:
    """Rows that are computed together.

    Attributes:
      rows: `[B]` numbers of the rows; the last one is repeated to fill the batch up.
      count: how many of them count.
      width: length to which lists are padded.
    """

    rows: np.ndarray
    count: int
    width: int


def row_batches(
    lengths: Sequence[int] | np.ndarray, widths: Sequence[int], most: int, multiple: int = 1
) -> Iterator[RowBatch]:
    """Batch rows of similar length in few shapes: at most 3 sizes for each of the widths.

    Args:
      lengths: `[U]` lengths of the rows; what is longer than the last width is cut.
      widths: lengths to which rows may be padded, ascending.
      most: users of a full batch.
      multiple: number that must divide the users of every batch, such as the number of devices.

    Example:
      >>> for batch in row_batches([3, 90, 4, 2, 5, 1], widths=(8, 32), most=4):
      ...     print(batch.rows.tolist(), batch.count, batch.width)
      [0, 2, 3, 4] 4 8
      [5] 1 8
      [1] 1 32
    """
    group = np.minimum(np.searchsorted(widths, lengths), len(widths) - 1)
    for number in np.unique(group).tolist():
        members = np.flatnonzero(group == number)
        for first in range(0, len(members), most):
            chosen = members[first : first + most]
            size = multiple
            while size < len(chosen):
                size *= _STEP
            size = max(min(size, most), len(chosen))
            places = np.minimum(np.arange(size), len(chosen) - 1)
            yield RowBatch(chosen[places], len(chosen), widths[number])


def open_kept(config: Any, directory: Path) -> Kept:
    """Read the items and users of a run, or make them from its data if it keeps none.

    Args:
      config: of the run.
      directory: of the run.

    Raises:
      DataError: a file is missing or damaged; or the run keeps none, and its data cannot be read or
        have changed.
    """
    kept = read_kept(directory)
    if kept is not None:
        return kept
    name = getattr(getattr(config, "data", None), "name", "its data")
    print(
        f"note: {directory} keeps no catalogue, as runs of earlier versions, so its data {name!r} "
        "are read instead",
        file=sys.stderr,
    )
    try:
        dataset = load_dataset(config.data)
        check_run(config, dataset, directory)
    except DataError as error:
        raise DataError(
            f"{directory} keeps no catalogue of its items, and its data cannot be read: {error}"
        ) from error
    made = kept_of(dataset)
    assert made is not None
    return made


def mask_of(allowed: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Return which items each row allows: `[B, I]` bool.

    Example:
      >>> mask_of([np.array([2, 0])], 3).tolist()
      [[True, False, True]]
    """
    mask = np.zeros((len(allowed), num_items), bool)
    for row, items in zip(mask, allowed, strict=True):
        row[items] = True
    return mask


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoringRanker:
    """A ranker that scores the whole catalogue for each user, a batch at a time.

    Attributes:
      score: maps variables and a batch with "history" `[B, H]`, padded on the left with -1, to
        `[B, I]`; traced.
      variables: of the model.
      num_items: I.
      max_items: number of most recent items that the model reads.
      meaning: what scores are.
      batch_size: users of a full batch; fewer if the catalogue is very large.
      reads_times: give `score` "times" `[B, H]` too, see `Asked`.

    Example:
      >>> def score(variables, batch):
      ...     return jnp.tile(variables, (len(batch["history"]), 1))
      >>> ranker = ScoringRanker(
      ...     score=score, variables=jnp.arange(4.0), num_items=4, max_items=8
      ... )
      >>> asked = Asked(histories=[np.array([1])], excluded=[np.array([3])])
      >>> items, scores = ranker.best(asked, top=2)
      >>> items.tolist(), scores.tolist()
      ([[2, 1]], [[2.0, 1.0]])
    """

    score: Callable[[Any, Mapping[str, jax.Array]], jax.Array]
    variables: Any
    num_items: int
    max_items: int
    meaning: str = "score of each item"
    batch_size: int = 256
    reads_times: bool = False

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Ranker`. Equal scores are in the order of the item numbers."""
        items = np.full((len(asked), top), -1, np.int32)
        scores = np.full((len(asked), top), -np.inf, np.float32)
        lengths = [
            0 if asked.excluded is None else len(asked.excluded[row]) for row in range(len(asked))
        ]
        widths = _powers(max(lengths, default=0))
        for batch in row_batches(lengths, widths, self._most):
            part, count = asked.take(batch.rows), batch.count
            out = None if part.excluded is None else pad_items(part.excluded, batch.width)
            mask = None if part.allowed is None else mask_of(part.allowed, self.num_items)
            found = _best(self.score, top, self.variables, self._batch(part), out, mask)
            rows = batch.rows[:count]
            items[rows], scores[rows] = (np.asarray(x)[:count] for x in found)
        check_scores(scores)
        return np.where(np.isfinite(scores), items, -1), scores

    def scores(self, asked: Asked, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `Ranker`."""
        found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(asked)
        lengths = [len(row) for row in items]
        for batch in row_batches(lengths, _powers(max(lengths, default=0)), self._most):
            part = asked.take(batch.rows)
            wanted = pad_items([items[row] for row in batch.rows], batch.width)
            given = _of_items(self.score, self.variables, self._batch(part), wanted)
            for row, values in zip(batch.rows[: batch.count], np.asarray(given), strict=False):
                # Lists are padded on the left.
                found[row] = values[batch.width - len(items[row]) :]
        for row in found:
            check_scores(row)
        return found

    @property
    def history_widths(self) -> list[int]:
        """Lengths to which histories are padded: one."""
        return [self.max_items]

    def list_length(self, top: int) -> int:
        """See `ServedRanker`: a short list is the beginning of any longer one."""
        return min(bucket(top, 64), self.num_items)

    def with_batch(self, size: int) -> "ScoringRanker":
        """Return the ranker with batches of at most so many rows."""
        return dataclasses.replace(self, batch_size=size)

    @property
    def _most(self) -> int:
        return max(1, min(self.batch_size, _SCORES // self.num_items))

    def _batch(self, part: Asked) -> dict[str, np.ndarray]:
        rows = [present(row) for row in part.histories]
        batch = {"history": pad_items(rows, self.max_items)}
        if self.reads_times:
            times = [np.full(len(row), -1, np.int32) for row in rows]
            if part.times is not None:
                pairs = zip(part.histories, part.times, strict=True)
                times = [time[row >= 0] for row, time in pairs]
            batch["times"] = pad_items(times, self.max_items)
        return batch


def reads_times(ranker: Any) -> bool:
    """Whether a ranker reads the times of the items of a history, see `Asked`."""
    return bool(getattr(ranker, "reads_times", False))


def check_scores(scores: np.ndarray) -> None:
    """Reject scores that are not numbers.

    Raises:
      DataError: a NaN, which no list can be sorted by.

    Example:
      >>> check_scores(np.array([0.5, -np.inf]))
    """
    if np.isnan(scores).any():
        raise DataError(
            "the model gives scores that are not numbers (NaN), so its parameters are of no use; "
            "train the run again"
        )


def check_top(top: int, num_items: int) -> None:
    """Check the length of a list.

    Raises:
      ConfigError: below 1 or above the number of items.

    Example:
      >>> check_top(10, num_items=30)
    """
    if not 1 <= top <= num_items:
        raise ConfigError(
            f"top must lie between 1 and the catalogue's {num_items:,} items, got {top}"
        )


def _powers(longest: int) -> list[int]:
    """Widths of lists of excluded items: each eight times the last, up to one that is enough."""
    widths = [16]
    while widths[-1] < longest:
        widths.append(8 * widths[-1])
    widths[-1] = bucket(max(longest, 1))
    return sorted(set(widths))


@functools.partial(jax.jit, static_argnames=("score", "top"))
def _best(
    score: Callable[..., jax.Array],
    top: int,
    variables: Any,
    batch: Mapping[str, jax.Array],
    excluded: jax.Array | None,
    allowed: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    scores = score(variables, batch).astype(jnp.float32)
    if excluded is not None:
        rows = jnp.arange(len(scores), dtype=jnp.int32)[:, None]
        # -1 would be the last item; what lies beyond the end is dropped.
        out = jnp.where(excluded < 0, scores.shape[1], excluded)
        scores = scores.at[rows, out].set(-jnp.inf, mode="drop")
    if allowed is not None:
        scores = jnp.where(allowed, scores, -jnp.inf)
    best, place = flat_top_k(scores, top)
    return place, best


@functools.partial(jax.jit, static_argnames=("score",))
def _of_items(
    score: Callable[..., jax.Array],
    variables: Any,
    batch: Mapping[str, jax.Array],
    items: jax.Array,
) -> jax.Array:
    scores = score(variables, batch).astype(jnp.float32)
    return jnp.take_along_axis(scores, jnp.maximum(items, 0), axis=1)
