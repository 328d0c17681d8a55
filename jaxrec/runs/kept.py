"""What a run keeps of its data, so that it recommends without them: its items and its users.

    catalogue/items.parquet   a row for each item, in the order of the item numbers: ID and texts
    catalogue/users.parquet   a row for each user: ID, texts, item numbers, ratings and the seconds
                              since the first item, oldest first

The files are written when a run begins. Runs of earlier versions have none; `open_kept` then makes
the same two tables from the data.
"""

import dataclasses
import functools
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, check_numbers, nearest, write_bytes
from jaxrec.data import Dataset, Interactions, ItemTable, leave_one_out, order_ties, parquet

FOLDER = "catalogue"
# Columns of the files; every other column is a text about an item or a user.
_ITEM, _USER, _HISTORY, _RATINGS, _TIMES = "item", "user", "items", "ratings", "times"
_TEXT = "text:"
# Users of a row group, which is the smallest part of the file that is read.
_GROUP = 4096
_NAME = b"jaxrec.name"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Kept:
    """The items and users of a run.

    Attributes:
      name: of the data set.
      items: IDs and texts of all items.
      users: a Parquet file with the users and their histories.
      source: where it is, for messages.
    """

    name: str
    items: ItemTable
    users: Any
    source: Path

    @property
    def num_users(self) -> int:
        """U, number of users."""
        return self.users.metadata.num_rows

    @functools.cached_property
    def user_ids(self) -> np.ndarray:
        """`[U]` original IDs of all users, as objects."""
        names = self._guarded(lambda: _whole(self.users.read(columns=[_USER])))[_USER]
        return names.to_numpy()

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.user_ids.tolist())}

    def find(self, users: Sequence[str]) -> np.ndarray:
        """Return the rows of users: `[N]` int64.

        Raises:
          ConfigError: no such user; the message names one that is near, if there is one.
        """
        rows = self.rows(users)
        if (rows < 0).any():
            user = users[int(np.argmin(rows))]
            # Every number is near some other one, so near numbers help nobody.
            near = "" if user.isdigit() else nearest(user, self.user_ids.tolist())
            some = ", ".join(self.user_ids[:3].tolist())
            raise ConfigError(
                f"no user {user!r} in {self.name}{near or ';'} it has {self.num_users:,} users, "
                f"such as {some}; for somebody else, give their items as a history"
            )
        return rows

    def rows(self, users: Sequence[str]) -> np.ndarray:
        """Return the rows of users, -1 for names that are none: `[N]` int64."""
        return np.array([self._rows.get(user, -1) for user in users], np.int64)

    def histories(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return all items of some users, oldest first, reading only the parts that have them.

        Args:
          rows: `[N]` numbers of users.
        """
        return self._read_lists(rows, _HISTORY)

    def ratings(self, rows: np.ndarray) -> list[np.ndarray] | None:
        """Return the ratings of all items of some users, see `histories`; None without ratings."""
        if _RATINGS not in self.users.schema_arrow.names:
            return None
        return self._read_lists(rows, _RATINGS)

    def _read_lists(self, rows: np.ndarray, name: str) -> list[np.ndarray]:
        group = np.searchsorted(self._ends, rows, "right") - 1
        found: list[np.ndarray] = [np.zeros(0, np.int32)] * len(rows)
        for number in np.unique(group).tolist():
            column = self._group(number, [name])[name].combine_chunks()
            lists = self._lists(column) if name == _HISTORY else _split(column)
            for place in np.flatnonzero(group == number).tolist():
                found[place] = lists[int(rows[place] - self._ends[number])]
        return found

    def times(self, rows: np.ndarray) -> list[np.ndarray] | None:
        """Return the seconds from the first item of some users to each of their items.

        Args:
          rows: `[N]` numbers of users.

        Returns:
          N int32 arrays, each as long as the history; None if the run keeps no times, because its
          data only tell the order or it is of an earlier version.
        """
        if _TIMES not in self.users.schema_arrow.names:
            return None
        return self._read_lists(rows, _TIMES)

    def batches(self, size: int) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        """Yield all users in order with their histories, without holding more than a few of them.

        Args:
          size: users of each batch but the last.
        """
        for first in range(0, self.num_users, size):
            yield self.part(first, size)

    def part(self, first: int, size: int) -> tuple[list[str], list[np.ndarray]]:
        """Return the names and histories of users who follow one another, reading only their parts.

        Args:
          first: number of the first user.
          size: number of users; there are fewer at the end.
        """
        names: list[str] = []
        lists: list[np.ndarray] = []
        stop = min(first + size, self.num_users)
        groups = np.searchsorted(self._ends, (first, stop - 1), "right") - 1
        for group in range(groups[0], groups[1] + 1) if first < stop else ():
            start = max(first - int(self._ends[group]), 0)
            part = self._group(group, [_USER, _HISTORY])
            part = part.slice(start, stop - int(self._ends[group]) - start)
            names += part[_USER].to_pylist()
            lists += self._lists(part[_HISTORY].combine_chunks())
        return names, lists

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        """Numbers of the first user of each row group, and of all users."""
        groups = range(self.users.num_row_groups)
        return np.cumsum([0, *(self.users.metadata.row_group(g).num_rows for g in groups)])

    def _group(self, number: int, columns: list[str]) -> Any:
        return self._guarded(lambda: _whole(self.users.read_row_group(number, columns=columns)))

    def _guarded(self, read: Any) -> Any:
        return parquet.guarded(self.source, read)

    def _lists(self, column: Any) -> list[np.ndarray]:
        """The lists of an Arrow column as arrays that share its memory, after a check."""
        check_numbers(_array(column.values), len(self.items), str(self.source), missing=False)
        return [values.astype(np.int32, copy=False) for values in _split(column)]

    def dataset(self) -> Dataset:
        """Return the data as systems read them: the items, and each user's interactions in order.

        Times are only the order of the interactions, and short users who were dropped are absent.
        """
        table = self._guarded(lambda: _whole(self.users.read()))
        lists = table[_HISTORY].combine_chunks()
        counts = np.diff(_array(lists.offsets))
        rating = np.full(int(counts.sum()), np.nan, np.float32)
        if _RATINGS in table.column_names:
            rating = _array(table[_RATINGS].combine_chunks().flatten())
        order = np.arange(len(rating), dtype=np.int64)
        interactions = Interactions(
            user=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            item=_array(lists.flatten()).astype(np.int32),
            rating=rating.astype(np.float32),
            time=order,
            row=order,
            user_ids=np.array(table[_USER].to_pylist()),
            user_fields=_texts(table),
            items=self.items,
            name=self.name,
            source="the catalogue of the run",
            time_unit="order",
        )
        return Dataset(interactions, leave_one_out(interactions, short_users="drop"))


def keep_data(data: Any, directory: Path) -> None:
    """Write the items and users of a new run, if its data have any.

    Args:
      data: a `Dataset`, or data with ratings as the attribute `data`; others are left out.
      directory: of the run.

    Raises:
      ResourceError: they cannot be written.
    """
    interactions = _ordered(data)
    if interactions is None:
        return
    for name, content in _files(interactions).items():
        write_bytes(directory / FOLDER / name, content)


def read_kept(directory: Path) -> Kept | None:
    """Read the items and users of a run; None if it keeps none.

    Args:
      directory: of the run.

    Raises:
      DataError: a file is missing or damaged.

    Example:
      >>> import tempfile
      >>> from jaxrec.runs import keep_data
      >>> from jaxrec.testing import tiny_interactions
      >>> data, run = tiny_interactions(users=5, items=12), Path(tempfile.mkdtemp())
      >>> keep_data(Dataset(data, leave_one_out(data)), run)
      >>> kept = read_kept(run)
      >>> len(kept.items), kept.num_users, kept.find(["u003"]).tolist()
      (12, 5, [3])
      >>> kept.histories(np.array([3]))[0].tolist() == data.history(3).tolist()
      True
    """
    items, users = (directory / FOLDER / f"{name}.parquet" for name in ("items", "users"))
    if not items.exists() and not users.exists():
        return None
    return _read(items, users)


def kept_of(data: Any) -> Kept | None:
    """Return the items and users of data as a run would keep them; None of other data.

    Args:
      data: see `keep_data`.
    """
    interactions = _ordered(data)
    if interactions is None:
        return None
    files = _files(interactions)
    return _read(*(io.BytesIO(files[f"{name}.parquet"]) for name in ("items", "users")))


def _ordered(data: Any) -> Interactions | None:
    """The interactions of all users that a run knows, in the order of its split."""
    if isinstance(data, Dataset):
        split = data.split
        ordered = order_ties(data.interactions, split.tie)
        if split.dropped_users:
            kept = np.isin(ordered.user_ids, split.train.user_ids)
            rows = kept[ordered.user]
            columns = {
                name: getattr(ordered, name)[rows] for name in ("item", "rating", "time", "row")
            }
            number = (np.cumsum(kept) - 1).astype(np.int32)
            ordered = dataclasses.replace(
                ordered,
                user=number[ordered.user[rows]],
                user_ids=ordered.user_ids[kept],
                user_fields={name: text[kept] for name, text in ordered.user_fields.items()},
                **columns,
            )
        return ordered
    inside = getattr(data, "data", None)
    # Files of questions name no users.
    return inside if isinstance(inside, Interactions) and not getattr(data, "digest", "") else None


def _files(data: Interactions) -> dict[str, bytes]:
    """The contents of both files, by name."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    items = {_ITEM: pa.array(data.items.ids.astype(str), pa.string())}
    for name, column in data.items.fields.items():
        items[_TEXT + name] = pa.array(column.tolist(), pa.string())
    offsets = pa.array(data.offsets.astype(np.int32))
    users = {
        _USER: pa.array(data.user_ids.astype(str), pa.string()),
        _HISTORY: pa.ListArray.from_arrays(offsets, pa.array(data.item)),
    }
    for name, column in data.user_fields.items():
        users[_TEXT + name] = pa.array(column.tolist(), pa.string())
    if np.isfinite(data.rating).any():
        users[_RATINGS] = pa.ListArray.from_arrays(offsets, pa.array(data.rating))
    if data.time_unit == "s":
        begins = np.repeat(data.time[data.offsets[:-1]], np.diff(data.offsets))
        # 68 years are the longest that 32 bits hold.
        since = np.minimum(data.time - begins, 2**31 - 1).astype(np.int32)
        users[_TIMES] = pa.ListArray.from_arrays(offsets, pa.array(since))
    contents = {}
    for file, columns in (("items.parquet", items), ("users.parquet", users)):
        table = pa.table(columns).replace_schema_metadata({_NAME: data.name.encode()})
        buffer = io.BytesIO()
        write_table(table, buffer, row_group_size=_GROUP, compression="zstd")
        contents[file] = buffer.getvalue()
    return contents


def _read(items: Any, users: Any) -> Kept:
    """Read both files, which are paths or the contents of files that were never written."""
    table, people = (_open(source) for source in (items, users))
    path, source = (x if isinstance(x, Path) else Path("the catalogue") for x in (items, users))
    wanted = ((table, path, (_ITEM,)), (people, source, (_USER, _HISTORY)))
    for file, where, names in wanted:
        for name in names:
            if name not in file.schema_arrow.names:
                raise DataError(f"{where} lacks the column {name!r}; {_FIX}")
    rows = parquet.guarded(path, lambda: _whole(table.read()))
    columns = _texts(rows)
    name = (table.schema_arrow.metadata or {}).get(_NAME, b"its data").decode(errors="replace")
    ids = np.array([str(item) for item in rows[_ITEM].to_pylist()])
    kinds = {field.name: str(field.type) for field in people.schema_arrow}
    if kinds[_USER] != "string" or not kinds[_HISTORY].startswith("list<"):
        raise DataError(f"{source} holds {kinds} instead of names and lists; {_FIX}")
    return Kept(name=name, items=ItemTable(ids, columns), users=people, source=source)


_FIX = "restore it, or train the run again in another directory"


def _open(source: Any) -> Any:
    from pyarrow.parquet import ParquetFile

    return parquet.open_file(source) if isinstance(source, Path) else ParquetFile(source)


def _whole(table: Any) -> Any:
    """Check a table or batch, because offsets of a damaged file may point anywhere."""
    if table is not None:
        table.validate(full=True)
    return table


def _texts(table: Any) -> dict[str, np.ndarray]:
    """The columns of texts, by field."""
    return {
        name.removeprefix(_TEXT): np.array(table[name].to_pylist(), object)
        for name in table.column_names
        if name.startswith(_TEXT)
    }


def _split(column: Any) -> list[np.ndarray]:
    """The lists of an Arrow column as arrays that share its memory."""
    values, ends = _array(column.values), _array(column.offsets).tolist()
    return [values[start:end] for start, end in itertools.pairwise(ends)]


def _array(column: Any) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)
