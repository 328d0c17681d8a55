"""One shard of recommendations: the rows it is for, the search, and its content as Parquet.

A shard depends on its number and the settings alone. So whichever process makes it, on whichever
machine, its bytes are the same.
"""

import dataclasses
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import Count, DataError, check_ranges
from jaxrec.runs import Asked, reads_times
from jaxrec.serve.opening import open_recommender
from jaxrec.serve.recommender import OpenRecommender
from jaxrec.serve.user_files import Row, read_users

ALL = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Whom to recommend to, and what.

    Attributes:
      users: a file, see `user_files`; or "all" for all users of the run.
      top: number of items for each user.
      include_seen: also recommend items of the history.
      allowed: a text file with the only items that may be recommended, an ID or title on each
        line; "" for all.
      exclude: such a file with items that must not be recommended; "" for none.
      shard_users: number of users of each shard.

    Example:
      >>> BatchOptions(users="all", top=50).shard_users
      8192
    """

    users: str
    top: Count = 10
    include_seen: bool = False
    allowed: str = ""
    exclude: str = ""
    shard_users: Count = 8192

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Rows of one shard.

    Attributes:
      users: names of users; "" for nobody.
      histories: item numbers of each row, oldest first.
      times: see `Asked`; None for a model that reads none.
    """

    users: list[str]
    histories: list[np.ndarray]
    times: list[np.ndarray] | None = None


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ShardJob:
    """What makes shards, for an engine of `core`; other processes open the run themselves.

    Attributes:
      model: the run; None in another process.
      directory: where it is.
      baseline: name of the baseline that is open in place of the run's model; "" for the model.
      options: whom to recommend to, and what.
      limits: item numbers that are allowed, and those that are excluded; None for no limit.
      named: whether rows are called by users; otherwise they are numbered.
    """

    model: OpenRecommender | None
    directory: Path
    baseline: str
    options: BatchOptions
    limits: tuple[np.ndarray | None, np.ndarray | None]
    named: bool

    def __call__(self) -> Callable[[int], bytes]:
        """Return the function from the number of a shard to its content."""
        model = self.model or open_recommender(self.directory, baseline=self.baseline)
        rows = rows_of(model, self.options)

        def make(number: int) -> bytes:
            piece = rows(number)
            numbers, scores = best(model, self.options, piece, self.limits)
            first = None if self.named else number * self.options.shard_users
            return to_parquet(model, piece, numbers, scores, first)

        return make

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the model, and name files so that another working directory finds them."""
        state = self.__dict__ | {"model": None, "directory": self.directory.resolve()}
        if self.options.users != ALL:
            users = str(Path(self.options.users).resolve())
            state["options"] = dataclasses.replace(self.options, users=users)
        return state


def rows_of(model: OpenRecommender, options: BatchOptions) -> Callable[[int], Piece]:
    """Return the function from the number of a shard to its rows.

    Example:
      >>> from jaxrec.testing import four_films
      >>> rows_of(four_films(), BatchOptions(users="all", shard_users=1))(1).users
      ['bob']
    """
    size, kept = options.shard_users, model.kept
    if options.users == ALL:
        assert kept is not None

        def whole(number: int) -> Piece:
            users, histories = kept.part(number * size, size)
            times = None
            if reads_times(model.ranker):
                times = kept.times(number * size + np.arange(len(users)))
            return Piece(users, histories, times)

        return whole
    path = Path(options.users)
    reader = _Reader(path, size)
    return lambda number: _piece(model, path, reader.rows(number))


class _Reader:
    """The rows of a file by shards; shards in increasing order read the file once."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self._next, self._rows = 0, read_users(path)

    def rows(self, number: int) -> list[Row]:
        """The rows of a shard."""
        if number < self._next:
            self._next, self._rows = 0, read_users(self._path)
        skipped = (number - self._next) * self._size
        self._next = number + 1
        rows = list(itertools.islice(self._rows, skipped, skipped + self._size))
        if not rows:
            raise DataError(f"{self._path} lost rows while it was read; restore it and start again")
        return rows


def batched(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Yield the rows of each shard.

    Example:
      >>> rows = (Row(number, "ann", None) for number in range(3))
      >>> [len(shard) for shard in batched(rows, 2)]
      [2, 1]
    """
    while batch := list(itertools.islice(rows, size)):
        yield batch


def history_numbers(
    model: OpenRecommender, path: Path, rows: Sequence[Row]
) -> list[np.ndarray | None]:
    """The histories of rows as item numbers; None for rows without one.

    Raises:
      ConfigError: an unknown item; the message names its row.
    """
    return [
        None
        if row.history is None
        else model.names.numbers(row.history, f"{path}, row {row.number}")
        for row in rows
    ]


def _piece(model: OpenRecommender, path: Path, rows: Sequence[Row]) -> Piece:
    found = history_numbers(model, path, rows)
    named = [number for number, history in enumerate(found) if history is None]
    users = np.zeros(0, np.int64)
    if named and model.kept is not None:
        users = model.kept.find([rows[number].user for number in named])
        for number, history in zip(named, model.kept.histories(users), strict=True):
            found[number] = history
    histories = [history for history in found if history is not None]
    times = None
    if reads_times(model.ranker):
        times = [np.full(len(history), -1, np.int32) for history in histories]
        known = None if model.kept is None or not named else model.kept.times(users)
        for number, row in zip(named, known or [], strict=False):
            times[number] = row
    return Piece([row.user for row in rows], histories, times)


def best(
    model: OpenRecommender,
    options: BatchOptions,
    piece: Piece,
    limits: Sequence[np.ndarray | None],
) -> tuple[np.ndarray, np.ndarray]:
    """The lists of a shard, as item numbers and scores."""
    allowed, exclude = (
        None if limit is None else [limit] * len(piece.histories) for limit in limits
    )
    asked = Asked(
        histories=piece.histories,
        users=piece.users,
        allowed=allowed,
        excluded=exclude,
        times=piece.times,
    )
    return model.best(asked, options.top, seen=options.include_seen)


def to_parquet(
    model: OpenRecommender,
    piece: Piece,
    numbers: np.ndarray,
    scores: np.ndarray,
    first: int | None,
) -> bytes:
    """The content of a shard, whose rows are counted from `first`; None to name users."""
    import pyarrow as pa
    from pyarrow import parquet

    row, place = np.nonzero(numbers >= 0)
    chosen = pa.array(numbers[row, place])
    if first is None:
        who = {"user": pa.array(piece.users, pa.string()).take(pa.array(row))}
    else:
        who = {"row": pa.array(row.astype(np.int64) + first)}
    table = pa.table(
        who
        | {
            "rank": pa.array((place + 1).astype(np.int32)),
            "item": model.names.arrow_ids.take(chosen),
            "title": model.names.arrow_labels.take(chosen),
            "score": pa.array(scores[row, place].astype(np.float32)),
        }
    )
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
