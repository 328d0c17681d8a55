"""Read any table by a mapping of its columns: text with a delimiter, Parquet or JSON records."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrec.core import ConfigError, DataError, quoted
from jaxrec.data import files
from jaxrec.data.date_formats import check_format, parse_dates
from jaxrec.data.interactions import Interactions, ItemTable
from jaxrec.data.layout import Layout, delimiter_of, find_layout, unnamed
from jaxrec.data.parquet import read_columns
from jaxrec.data.records import read_record_columns, record_names
from jaxrec.data.times import COMPACT_NOTE, Times, is_time_name, to_times

FILE_ORDER = "file-order"  # as a time column: the order of the file, whatever columns it has
_SEVERAL = re.compile(r"\S+(?:[\s,;|]+\S+){2,}")  # three words or more


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """The meaning of the columns of a table.

    Attributes:
        user: column of user IDs.
        item: column of item IDs.
        time: column of times: numbers since 1970 in any unit, or dates. None reads the order of the
            file, and rejects a table with a column of times in another order. "file-order" reads
            the order of the file in any case.
        time_format: format of `strptime` that these times are written in, such as "%d.%m.%Y"; ""
            for numbers and ISO dates.
        rating: column of ratings; None for no ratings.
        rating_levels: texts of that column, the lowest first, which become 0, 1 and so on; () for a
            column of numbers.
        delimiter: separator of fields in a text file; "" finds it.
        item_table: file with item texts, a table in any form; None for no texts.
        item_id: column of item IDs in `item_table`.
        item_fields: field name -> column in `item_table`; None takes every other column under its
            own name.

    Raises:
        ConfigError: `delimiter` is no separator, or a level of ratings stands twice.

    Example:
        >>> Columns(user="uid", item="sku", time="when").rating is None
        True
    """

    user: str = "user"
    item: str = "item"
    time: str | None = None
    time_format: str = ""
    rating: str | None = None
    rating_levels: tuple[str, ...] = ()
    delimiter: str = ""
    item_table: Path | None = None
    item_id: str = "item"
    item_fields: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Reject a delimiter that is none."""
        try:
            delimiter_of(self.delimiter)
        except ValueError as error:
            raise ConfigError(f"data.delimiter: {error}") from error
        if self.time_format:
            check_format(self.time_format)
            if self.time in (None, FILE_ORDER):
                raise ConfigError(
                    f"data.time_format {self.time_format!r} belongs to a column of times; name it "
                    "with data.time_column"
                )
        if len(set(self.rating_levels)) < len(self.rating_levels):
            raise ConfigError(f"data.rating_levels {self.rating_levels} has a text twice")

    def given(self) -> dict[str, str]:
        """Return the roles whose column was named: those that differ from the defaults."""
        default = Columns()
        roles = ("user", "item", "time", "rating", "delimiter")
        values = {role: getattr(self, role) for role in roles}
        return {role: v for role, v in values.items() if v and v != getattr(default, role)}

    def only_for_tables(self, path: Path, layout: Layout) -> None:
        """Reject named columns for a format that fixes their meaning.

        Raises:
            ConfigError: a column or a delimiter was named.
        """
        if given := self.given():
            role, value = next(iter(given.items()))
            option = f"--data.{role}" + ("" if role == "delimiter" else "-column")
            raise ConfigError(
                f"{path}: files of format {layout.format} have fixed columns; remove "
                f"{option} {value}"
            )


def read_table(path: Path, columns: Columns | None = None, name: str | None = None) -> Interactions:
    r"""Read a table: text with a header (quoted as in CSV, optionally .gz), Parquet or JSON lines.

    Args:
        path: the file.
        columns: meaning of the columns; None reads "user" and "item" in file order.
        name: name of the data set; None takes it from the file name.

    Raises:
        DataError: the file is malformed, or a column is missing; the message names the file and the
            line (in Parquet the row), or the columns that exist.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.csv"
        >>> _ = path.write_text("who,what,when\nann,x,20\nann,y,10\n")
        >>> data = read_table(path, Columns(user="who", item="what", time="when"))
        >>> data.items.ids[data.history(0)].tolist()
        ['y', 'x']
    """
    columns = columns or Columns()
    layout = table_layout(path, columns.delimiter, (columns.user, columns.item))
    if layout.format == "json":
        layout = dataclasses.replace(layout, names=tuple(record_names(path)))
    unnamed(path, layout.names, (columns.user, columns.item))
    time, unread = columns.time, None
    if time == FILE_ORDER:
        time = None
    elif time is None:
        unread = unread_times(layout.names, columns)
    kinds: dict[str, files.Kind] = {columns.user: "id", columns.item: "id"}
    if columns.user == columns.item:
        raise ConfigError(f"{path}: users and items are both read from column {columns.user!r}")
    if columns.rating:
        kinds[columns.rating] = "text" if columns.rating_levels else "float"
    if time:
        kinds[time] = "text" if columns.time_format else "moment"
    if len(kinds) < 2 + bool(columns.rating) + bool(time):
        raise ConfigError(f"{path}: one column has two roles in {columns.given()}; name each once")
    if unread:
        kinds[unread] = "text"
    table = _read(path, layout, kinds)
    if unread:
        _check_order(path, table[columns.user], table[unread], unread)
    _check_histories(path, table[columns.user], table[columns.item], columns.item)
    data = Interactions.from_columns(
        table[columns.user],
        table[columns.item],
        time=_times(path, table[time], columns) if time else None,
        rating=_ratings(path, table[columns.rating], columns) if columns.rating else None,
        name=name or path.name.split(".")[0],
        source=str(path),
        time_unit="s" if time else "order",
    )
    if note := _order_note(layout.names, kinds, columns):
        data = dataclasses.replace(data, notes=(*data.notes, note))
    return data.with_item_texts(read_item_table(columns)) if columns.item_table else data


def _order_note(names: Sequence[str], read: Mapping[str, files.Kind], columns: Columns) -> str:
    """What to know about a file whose order counts although it has columns that are not read."""
    others = [name for name in names if name and name not in read]
    if columns.time is not None or not others:
        return ""
    return (
        "no column of times is named, so each user's rows count as they stand, oldest first; if "
        f"one of the columns that are not read says when ({files.listed(others)}), name it with "
        "--data.time-column"
    )


def table_layout(path: Path, delimiter: str, wanted: tuple[str, ...]) -> Layout:
    """Return the layout of a file that is read as a table, whatever its columns resemble."""
    layout = find_layout(path, delimiter=delimiter_of(delimiter), wanted=wanted)
    if layout.format == "amazon":
        return dataclasses.replace(layout, format="json")
    if layout.format in ("movielens-csv", "minionerec"):
        return dataclasses.replace(layout, format="table")
    if layout.is_table:
        return layout
    if layout.format in ("directory", "zip"):
        raise DataError(f"{path}: a {layout.format} is no table; give the path of a file in it")
    separator = delimiter_of(delimiter) or layout.delimiter
    names = tuple(files.header(path, separator)) if len(separator) == 1 else ()
    return Layout(format="table", delimiter=separator, names=names)


def unread_times(names: Sequence[str], columns: Columns) -> str | None:
    """Return a column that looks like times and that has no role, or None."""
    taken = (columns.user, columns.item, columns.rating)
    return next((name for name in names if name not in taken and is_time_name(name)), None)


def _times(path: Path, values: np.ndarray, columns: Columns) -> Times:
    """Times of a column, by its format or by what its values are."""
    what, pattern = str(columns.time), columns.time_format
    if not pattern:
        return to_times(values, what, path)
    dates = parse_dates([str(value) for value in values.tolist()], pattern, what, path)
    return dataclasses.replace(to_times(dates, what, path), unit=COMPACT_NOTE + pattern)


def _ratings(path: Path, values: np.ndarray, columns: Columns) -> np.ndarray:
    """Ratings as numbers: as they are, or the places of texts among the levels.

    Raises:
        DataError: a text that is no level.
    """
    if not columns.rating_levels:
        return values
    number = {level: place for place, level in enumerate(columns.rating_levels)}
    for row, value in enumerate(values.tolist()):
        if value not in number:
            raise DataError(
                f"{path}: row {row + 1}: column {columns.rating!r} has {files.shown(value)}, which "
                f"is none of --data.rating-levels {' '.join(columns.rating_levels)}"
            )
    return np.array([number[value] for value in values.tolist()], np.float64)


def _check_order(path: Path, user: np.ndarray, texts: np.ndarray, name: str) -> None:
    """Reject rows that are not in the order of a column of times that is not read.

    Raises:
        DataError: the order of the file is another one, or the column holds no times.
    """
    try:
        key = to_times(texts, name, path).key
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
    else:
        _, number = np.unique(user, return_inverse=True)
        order = np.argsort(number, kind="stable")  # each user's rows as in the file
        later = np.diff(key[order]) >= 0
        if (later | (np.diff(number[order]) != 0)).all():
            return
        reason = "the rows are not in its order"
    raise DataError(
        f"{path}: column {name!r} looks like times, and no column of times is named: {reason}; add "
        f"--data.time-column {quoted(name)}, or --data.time-column {FILE_ORDER} to ignore it"
    )


def read_item_table(columns: Columns) -> ItemTable:
    """Read the item table that the columns name, in any form of table.

    Raises:
        DataError: the file is malformed, has no column of item IDs, or has an item twice.
    """
    path = Path(str(columns.item_table)).expanduser()
    layout = table_layout(path, "", (columns.item_id,))
    names = record_names(path) if layout.format == "json" else layout.names
    if columns.item_id not in names:
        raise DataError(
            f"{path}: line 1: no column {columns.item_id!r}; columns: {files.listed(names)}; name "
            "the column of item IDs with --data.item-id-column"
        )
    fields = columns.item_fields
    if fields is None:
        fields = {n: n for n in names if n != columns.item_id and n}
    kinds: dict[str, files.Kind] = {columns.item_id: "id"}
    kinds |= dict.fromkeys(fields.values(), "text")
    table = _read(path, layout, kinds)
    ids, rows = unique_rows(table[columns.item_id].astype(str), table, path, "item")
    return ItemTable(ids, {field: table[column][rows] for field, column in fields.items()})


def unique_rows(
    ids: np.ndarray, table: Mapping[str, np.ndarray], path: Path, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct IDs of a table of texts, and the place of the row of each.

    Raises:
        DataError: two rows have one ID and different texts.
    """
    rows: dict[str, int] = {}
    for row, key in enumerate(ids.tolist()):
        first = rows.setdefault(key, row)
        if first != row and any(column[first] != column[row] for column in table.values()):
            raise DataError(
                f"{path}: {what} {key!r} has two rows with different texts (rows {first + 1} and "
                f"{row + 1}); keep one of them"
            )
    return np.array(list(rows), dtype=str), np.array(list(rows.values()), np.int64)


def _read(path: Path, layout: Layout, kinds: Mapping[str, files.Kind]) -> dict[str, np.ndarray]:
    if layout.format == "parquet":
        return read_columns(path, kinds)
    if layout.format == "json":
        return read_record_columns(path, kinds)
    quoted = len(layout.delimiter) == 1
    return files.read_delimited(path, delimiter=layout.delimiter, columns=kinds, quoted=quoted)


def _check_histories(path: Path, user: np.ndarray, item: np.ndarray, name: str) -> None:
    """Reject a column whose cells are whole histories: one row a user, several items in a cell."""
    if item.dtype.kind != "U" or len(np.unique(user)) < len(user):
        return
    several = sum(_SEVERAL.fullmatch(cell) is not None for cell in item.tolist())
    if 2 * several > len(item):
        raise DataError(
            f"{path}: column {name!r} holds histories such as {files.shown(str(item[0]))}; write "
            "one row for each interaction, or one line 'user item1 item2' a user in a .txt file"
        )
