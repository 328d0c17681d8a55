"""What a system offers to recommend without its data: a ranker of item numbers.

    histories, items left out, items allowed --Ranker.best--> items and scores, best first

A ranker knows numbers only. `jaxrec.open` puts IDs and titles to them. Users come in batches of few
shapes, so that calls of any size share a handful of compiled programs, and one long history does
not make all others long.

Shapes: `U` users, `B` users of a batch, `I` items, `K` items of a list.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from jaxrec.core import ConfigError, DataError, present, whole_number
from jaxrec.data import load_dataset
from jaxrec.runs.directory import check_run
from jaxrec.runs.kept import Kept, kept_of, read_kept
from jaxrec.runs.system import system_of

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

    def check(self, asked: Asked) -> None:
        """Reject rows that the model cannot read, before any work.

        Raises:
          ConfigError: a row without a user, or with an unknown one, for a model that reads users.
        """

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


class WarmedRanker(ServedRanker, Protocol):
    """A served ranker whose programs do not follow from the lengths of histories."""

    def warm_up(self, length: int) -> None:
        """Compile the programs of lists of a length, see `list_length`."""


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
            size = max(min(_size(len(chosen), multiple), most), len(chosen))
            places = np.minimum(np.arange(size), len(chosen) - 1)
            yield RowBatch(chosen[places], len(chosen), widths[number])


def batch_sizes(most: int) -> list[int]:
    """Return the numbers of rows of the batches that `row_batches` makes on one device.

    Example:
      >>> batch_sizes(64)
      [1, 16, 64]
    """
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] * _STEP, most))
    return sizes


def _size(count: int, multiple: int) -> int:
    size = multiple
    while size < count:
        size *= _STEP
    return size


def open_kept(config: Any, directory: Path) -> Kept:
    """Read the items and users of a run, or make them from its data if it keeps none.

    Args:
      config: of the run.
      directory: of the run.

    Raises:
      DataError: a file is missing or damaged; or the run keeps none, and its data cannot be read or
        have changed.
      ConfigError: data that name no users.
    """
    kept = read_kept(directory)
    if kept is not None:
        return kept
    own = getattr(system_of(config), "load_data", None)
    try:
        data = load_dataset(config.data) if own is None else own(config)
        check_run(config, data, directory)
    except DataError as error:
        raise DataError(
            f"{directory} keeps no catalogue of its items, and its data cannot be read: {error}"
        ) from error
    name = getattr(config.data, "name", "its data")
    print(
        f"note: {directory} keeps no catalogue, as runs of earlier versions, so its data {name!r} "
        "were read instead",
        file=sys.stderr,
    )
    made = kept_of(data)
    assert made is not None
    return made


def mask_of(allowed: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Return which items each row allows: `[B, I]` bool.

    Example:
      >>> mask_of([np.array([2, -1, 0])], 3).tolist()  # -1 is no item
      [[True, False, True]]
    """
    mask = np.zeros((len(allowed), num_items), bool)
    for row, items in zip(mask, allowed, strict=True):
        row[present(items)] = True
    return mask


def reads_times(ranker: Any) -> bool:
    """Whether a ranker reads the times of the items of a history, see `Asked`."""
    return bool(getattr(ranker, "reads_times", False))


def named_users(asked: Asked) -> list[str]:
    """Return the names of the users of all rows, for a model that reads who the user is.

    Raises:
      ConfigError: a row without a name.

    Example:
      >>> named_users(Asked(histories=[np.array([1])], users=["ann"]))
      ['ann']
    """
    named = list(asked.users or ())
    if len(named) < len(asked) or not all(named):
        raise ConfigError(
            "this model reads who the user is; give users, or name the users of the histories: "
            "histories={'ann': [...]}"
        )
    return named


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
      ConfigError: no whole number, or one below 1 or above the number of items.

    Example:
      >>> check_top(10, num_items=30)
    """
    if not 1 <= whole_number(top, "top") <= num_items:
        raise ConfigError(
            f"top must lie between 1 and the catalogue's {num_items:,} items, got {top}"
        )
