"""Interactions of users with items: the table from which everything else starts.

`Interactions` holds columns of equal length, sorted by user, then by time, then by the row of the
original file. Users and items are dense numbers, with their original IDs in separate arrays. The
numbers follow the natural order of the IDs (2 before 10), so they do not depend on the order of the
rows.
"""

import dataclasses
import functools
import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np

from jaxrec.core import DataError, nearest
from jaxrec.data.columns import as_order, cast_ratings, check_matches, number_ids
from jaxrec.data.times import Times, to_times

UNIT_NOTE = "times are "  # before the unit, if it is not seconds
SEPARATOR = " | "  # between the values of a field that is a list: genres, categories


@dataclasses.dataclass(frozen=True, eq=False)
class ItemTable:
    """The catalogue: original item IDs and the texts of each item.

    Attributes:
        ids: [I] str, dense item number -> original ID.
        fields: name -> [I] str, as objects, so that one long text does not pad all others. Lists
            (genres, categories) are joined by " | ". A missing text is the empty string.

    Raises:
        DataError: a field does not have one text per item.

    Example:
        >>> table = ItemTable(np.array(["7"]), {"title": np.array(["Alien"], dtype=object)})
        >>> table.text("title"), len(table)
        (['Alien'], 1)
    """

    ids: np.ndarray
    fields: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, column in self.fields.items():
            if len(column) != len(self.ids):
                raise DataError(
                    f"item field {name!r} has {len(column)} rows for {len(self.ids)} items; "
                    "give one text per item"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def text(self, *names: str, separator: str = " ") -> list[str]:
        """Return the named fields of every item, joined without the empty ones: I strings.

        Raises:
            DataError: the table does not have one of the fields.
        """
        for name in names:
            if name not in self.fields:
                known = ", ".join(self.fields) or "none"
                hint = nearest(name, self.fields)
                raise DataError(f"no item field {name!r}{hint}; fields: {known}")
        columns = [self.fields[name].tolist() for name in names]
        if not columns:
            return [""] * len(self)
        return [separator.join(filter(None, row)) for row in zip(*columns, strict=True)]

    def labels(self) -> list[str]:
        """Return a readable label for each item: "Title (year)", or the ID if it has no title."""
        titles = self.fields.get("title", np.full(len(self), "")).tolist()
        years = self.fields.get("year", np.full(len(self), "")).tolist()
        return [
            (f"{title} ({year})" if year else title) if title else key
            for key, title, year in zip(self.ids.tolist(), titles, years, strict=True)
        ]

    def take(self, index: np.ndarray) -> "ItemTable":
        """Return the table of the items at `index`, in that order."""
        return ItemTable(self.ids[index], {k: v[index] for k, v in self.fields.items()})


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Interactions:
    """Interactions as columns, sorted by user, then time, then original row.

    Attributes:
        user: [n] int32, dense user number, ascending.
        item: [n] int32, dense item number.
        rating: [n] float32, nan if the source has no rating.
        time: [n] int64, seconds, or the position in the order (see `time_unit`).
        row: [n] int64, row in the original file, which breaks ties in time. If times are finer than
            seconds, it is the row of the file sorted by time.
        user_ids: [U] str, dense user number -> original ID.
        items: the catalogue of I items.
        name: name of the data set.
        source: where the data were read from, for reports.
        time_unit: "s" for seconds, "order" if the source only tells the order.
        user_fields: name -> [U] str, texts about the users.
        notes: what the reader found that a user should know, one sentence each.

    Raises:
        DataError: columns have other types or lengths, numbers are out of range, or rows are not
            sorted.

    Example:
        >>> data = Interactions.from_columns(
        ...     user=["ann", "bob", "ann"], item=["x", "x", "y"], time=[20, 5, 10]
        ... )
        >>> data.num_users, data.num_items, data.history(0).tolist()
        (2, 2, [1, 0])
    """

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    time: np.ndarray
    row: np.ndarray
    user_ids: np.ndarray
    items: ItemTable
    name: str
    source: str = ""
    time_unit: Literal["s", "order"] = "s"
    user_fields: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.user)
        for column in ("user", "item", "rating", "time", "row"):
            value, dtype = getattr(self, column), _DTYPES[column]
            if value.shape != (n,) or value.dtype != dtype:
                raise DataError(
                    f"{self.name}: column {column!r} is {value.dtype}{list(value.shape)}, "
                    f"expected {dtype}[{n}]; build it with Interactions.from_columns"
                )
        if n == 0:
            return
        for column, size in (("user", self.num_users), ("item", self.num_items)):
            value = getattr(self, column)
            if value.min() < 0 or value.max() >= size:
                raise DataError(
                    f"{self.name}: {column} numbers run from {value.min()} to {value.max()}, "
                    f"but must be between 0 and {size - 1}"
                )
        step = np.diff(self.user)
        if (step < 0).any() or (np.diff(self.time)[step == 0] < 0).any():
            raise DataError(
                f"{self.name}: rows are not sorted by user and time; "
                "build it with Interactions.from_columns"
            )

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        return (
            f"Interactions({self.name!r}, {self.num_users:,} users, {self.num_items:,} items, "
            f"{len(self):,} interactions, source={self.source!r})"
        )

    @property
    def num_users(self) -> int:
        """Number of users U, including users without a row here."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """Number of items I, including items without a row here."""
        return len(self.items)

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """[U+1] int64: the rows of user u are offsets[u]:offsets[u+1]."""
        counts = np.bincount(self.user, minlength=self.num_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def history(self, user: int) -> np.ndarray:
        """Return the items of one user, oldest first, [n_u] int32."""
        return self.item[self.offsets[user] : self.offsets[user + 1]]

    def sequences(self) -> list[np.ndarray]:
        """Return the items of every user, oldest first; empty arrays for users without a row."""
        return [self.history(user) for user in range(self.num_users)]

    def fingerprint(self) -> str:
        """Return a hex sha256 of columns, IDs and fields, but not of name and source."""
        digest = hashlib.sha256(f"jaxrec interactions 1 {self.time_unit}".encode())
        for column in ("user", "item", "rating", "time", "row"):
            value = np.ascontiguousarray(getattr(self, column))
            digest.update(f"\0{column} {value.dtype.str} {value.shape}\0".encode())
            digest.update(value.tobytes())
        texts = {"user_ids": self.user_ids, "item_ids": self.items.ids}
        texts |= {f"item.{k}": v for k, v in self.items.fields.items()}
        texts |= {f"user.{k}": v for k, v in self.user_fields.items()}
        for name in sorted(texts):
            # JSON may name a field by half of a pair of UTF-16.
            digest.update(f"\0{name} ".encode("utf-8", "surrogatepass"))
            digest.update(json.dumps(texts[name].tolist()).encode())
        return digest.hexdigest()

    def select(self, keep: np.ndarray, *, name: str | None = None) -> "Interactions":
        """Return the rows where `keep` ([n] bool) is True; users and items keep their numbers."""
        columns = {c: getattr(self, c)[keep] for c in ("user", "item", "rating", "time", "row")}
        return dataclasses.replace(self, **columns, name=name or self.name)

    def compact(self) -> "Interactions":
        """Return the same rows, with users and items that have no row removed and renumbered."""
        users, user = np.unique(self.user, return_inverse=True)
        items, item = np.unique(self.item, return_inverse=True)
        return dataclasses.replace(
            self,
            user=user.astype(np.int32),
            item=item.astype(np.int32),
            user_ids=self.user_ids[users],
            items=self.items.take(items),
            user_fields={k: v[users] for k, v in self.user_fields.items()},
        )

    def with_item_texts(self, table: ItemTable) -> "Interactions":
        """Return the same rows with the texts of an item table in place of those of the items.

        Warns if more than half of the items have no row in the table.

        Raises:
            DataError: fewer than a tenth of the items have a row in the table.
        """
        fields, notes = _fields(table, self.items.ids, "item", self.name)
        if notes and 2 * np.isin(self.items.ids, table.ids).sum() < self.num_items:
            warnings.warn(f"{self.name}: {notes[0]} in the item table", stacklevel=2)
        items = ItemTable(self.items.ids, fields)
        return dataclasses.replace(self, items=items, notes=(*self.notes, *notes))

    @classmethod
    def from_columns(
        cls,
        user: Any,
        item: Any,
        time: Any = None,
        rating: Any = None,
        items: ItemTable | Mapping[Any, Mapping[str, str]] | None = None,
        name: str = "interactions",
        *,
        users: Mapping[Any, Mapping[str, str]] | None = None,
        source: str = "",
        time_unit: Literal["s", "order"] = "s",
    ) -> Self:
        """Build from raw columns of n rows in file order; duplicate rows are kept.

        Args:
            user: user IDs, strings or integers; users are numbered in natural order.
            item: item IDs, strings or integers; items are numbered in natural order.
            time: seconds since 1970, datetime64, ISO dates, or what `to_times` returns for numbers
                in any unit; None takes the order of the file.
            rating: ratings; None for none.
            items: texts of items by ID. IDs that do not occur are ignored, and items without an
                entry get empty texts.
            name: name of the data set.
            users: texts of users by ID, in the same form.
            source: where the data were read from, for reports.
            time_unit: "s" if times are times, "order" if they only tell the order.

        Raises:
            DataError: columns differ in length or have no rows, an ID is empty or missing, a time
                or rating is not a number or too large, or no item has a row in `items`.
        """
        user_ids, user_index = number_ids(user, "user", name)
        item_ids, item_index = number_ids(item, "item", name)
        n = len(user_index)
        if time is None:
            time, time_unit = np.arange(n), "order"
        rating = np.full(n, np.nan) if rating is None else rating
        times = time if isinstance(time, Times) else _times(time, time_unit, name)
        columns = {
            "user": user_index,
            "item": item_index,
            "rating": cast_ratings(rating, name),
            "time": times.seconds,
        }
        for column, value in columns.items():
            if len(value) != n:
                raise DataError(f"{name}: column {column!r} has {len(value)} rows, 'user' has {n}")
        if n == 0:
            raise DataError(f"{name}: no interactions; give at least one row")
        item_fields, item_notes = _fields(items, item_ids, "item", name)
        user_fields, user_notes = _fields(users, user_ids, "user", name)
        unit = (f"{UNIT_NOTE}{times.unit}",) if times.unit != "seconds" else ()
        row = times.ranks()
        # The last key of lexsort is the primary one.
        order = np.lexsort((row, columns["time"], columns["user"]))
        return cls(
            **{k: v[order] for k, v in columns.items()},
            row=row[order],
            user_ids=user_ids,
            items=ItemTable(item_ids, item_fields),
            name=name,
            source=source,
            time_unit=time_unit,
            user_fields=user_fields,
            notes=(*unit, *item_notes, *user_notes),
        )


_DTYPES = {
    "user": np.dtype(np.int32),
    "item": np.dtype(np.int32),
    "rating": np.dtype(np.float32),
    "time": np.dtype(np.int64),
    "row": np.dtype(np.int64),
}


def _times(time: Any, time_unit: str, name: str) -> Times:
    if time_unit == "order":
        return as_order(time, name)
    return to_times(time, "time", name, any_unit=False)


def _fields(
    table: ItemTable | Mapping[Any, Mapping[str, str]] | None, ids: np.ndarray, what: str, name: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the texts of `ids` as columns, "" where the table has none, and a note on the gaps."""
    if table is None or not len(table):
        return {}, ()
    keys = table.ids.tolist() if isinstance(table, ItemTable) else list(map(str, table))
    absent = check_matches(ids.tolist(), keys, what, name)
    notes = (f"{absent:,} of {len(ids):,} {what}s have no texts",) if absent else ()
    if isinstance(table, ItemTable):
        place = {key: i for i, key in enumerate(keys)}
        index = [place.get(key) for key in ids.tolist()]
        return {
            field: np.array(["" if i is None else str(column[i]) for i in index], dtype=object)
            for field, column in table.fields.items()
        }, notes
    rows = {str(key): row for key, row in table.items()}
    names = dict.fromkeys(field for row in rows.values() for field in row)
    empty: Mapping[str, str] = {}
    known = [rows.get(key, empty) for key in ids.tolist()]
    return {
        field: np.array([str(row.get(field, "")) for row in known], dtype=object) for field in names
    }, notes
