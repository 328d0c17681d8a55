"""Read any CSV or Parquet file by a mapping of its columns."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, nearest
from jaxrec.data import files
from jaxrec.data.interactions import Interactions, ItemTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """The meaning of the columns of a table.

    Attributes:
        user: column of user IDs.
        item: column of item IDs.
        time: column of times in seconds (Parquet timestamps are converted); None for file order.
        rating: column of ratings; None for no ratings.
        delimiter: separator of fields in a CSV file.
        item_table: CSV or Parquet file with item texts; None for no texts.
        item_id: column of item IDs in `item_table`.
        item_fields: field name -> column in `item_table`; None takes every other column under its
            own name.

    Example:
        >>> Columns(user="uid", item="sku", time="when").rating is None
        True
    """

    user: str = "user"
    item: str = "item"
    time: str | None = None
    rating: str | None = None
    delimiter: str = ","
    item_table: Path | None = None
    item_id: str = "item"
    item_fields: Mapping[str, str] | None = None


def read_table(path: Path, columns: Columns | None = None, name: str | None = None) -> Interactions:
    r"""Read a CSV file (quoted, with a header, optionally .gz) or a Parquet file.

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
    kinds: dict[str, files.Kind] = {columns.user: "id", columns.item: "id"}
    if columns.rating:
        kinds[columns.rating] = "float"
    if columns.time:
        kinds[columns.time] = "time"
    table = _read(path, kinds, columns.delimiter)
    return Interactions.from_columns(
        table[columns.user],
        table[columns.item],
        time=table[columns.time] if columns.time else None,
        rating=table[columns.rating] if columns.rating else None,
        items=_items(columns) if columns.item_table else None,
        name=name or path.name.split(".")[0],
        source=str(path),
        time_unit="s" if columns.time else "order",
    )


def _items(columns: Columns) -> ItemTable:
    path = Path(str(columns.item_table))
    fields = columns.item_fields
    if fields is None:
        fields = {n: n for n in _names(path, columns.delimiter) if n != columns.item_id}
    kinds: dict[str, files.Kind] = {columns.item_id: "id"}
    kinds |= dict.fromkeys(fields.values(), "text")
    table = _read(path, kinds, columns.delimiter)
    ids = table[columns.item_id].astype(str)
    return ItemTable(ids, {field: table[column] for field, column in fields.items()})


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _names(path: Path, delimiter: str) -> list[str]:
    if _is_parquet(path):
        return list(_open_parquet(path).schema_arrow.names)
    return files.header(path, delimiter)


def _read(path: Path, kinds: Mapping[str, files.Kind], delimiter: str) -> dict[str, np.ndarray]:
    if not _is_parquet(path):
        return files.read_delimited(path, delimiter=delimiter, columns=kinds, quoted=True)
    parquet = _open_parquet(path)
    known = list(parquet.schema_arrow.names)
    for name in kinds:
        if name not in known:
            raise DataError(
                f"{path}: no column {name!r}{nearest(name, known)}; columns: {', '.join(known)}"
            )
    table = parquet.read(columns=list(kinds))
    bad = files.BadRows(path, unit="row")
    result = {name: _column(table[name], name, kind, bad) for name, kind in kinds.items()}
    bad.check()
    return result


def _open_parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not a readable Parquet file ({reason}); write it again"
        ) from error


def _column(column: Any, name: str, kind: files.Kind, bad: files.BadRows) -> np.ndarray:
    """Return a Parquet column in the form of `read_delimited`; rows are counted from 1."""
    import pyarrow as pa

    if column.type == pa.null():
        column = column.cast("string")
    if kind == "text":
        texts = column.to_pylist()
        return np.array(["" if text is None else str(text) for text in texts], dtype=object)
    for row in np.flatnonzero(column.is_null().to_numpy()).tolist():
        bad.add(row + 1, f"{name} is empty")
    if column.null_count:
        return np.zeros(len(column))
    if kind == "time" and pa.types.is_timestamp(column.type):
        seconds = column.cast(pa.timestamp("ns", column.type.tz)).cast("int64").to_numpy()
        return seconds // 10**9
    if kind == "id" and pa.types.is_integer(column.type):
        return column.to_numpy()
    if kind != "id" and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        values = column.to_numpy()
        for row in np.flatnonzero(~np.isfinite(values)).tolist():
            bad.add(row + 1, f"{name} {values[row]} is not finite")
        if bad.count:
            return np.zeros(len(column))
        return np.floor(values).astype(np.int64) if kind == "time" else values.astype(np.float64)
    return files.convert(
        list(map(str, column.to_pylist())), range(1, len(column) + 1), name, kind, bad
    )
