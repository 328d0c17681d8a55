"""Parquet files: columns in the form of `files.read_delimited`, and errors of one line.

The sizes that a file states are compared with the file before anything is built from them.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxrec.core import DataError, check_file, show_bytes
from jaxrec.data import files
from jaxrec.data.bad_rows import BadRows
from jaxrec.data.contents import read_bytes, read_head, unpack_limit
from jaxrec.data.interactions import SEPARATOR

T = TypeVar("T")

_MOST_ROWS = 1000  # rows for each byte of the file: a column of one value packs very well
_BATCH = 256  # rows that are read at a time where a file need not be held


def column_names(path: Path) -> list[str]:
    """Return the names of the columns.

    Raises:
        DataError: the file is missing or no readable Parquet file.
    """
    return list(open_file(path).schema_arrow.names)


def read_columns(path: Path, kinds: Mapping[str, files.Kind]) -> dict[str, np.ndarray]:
    """Read columns by kind, as `files.read_delimited` does; a list becomes text joined by " | ".

    Raises:
        DataError: the file is damaged, a column is missing, or rows are bad; rows count from 1.
    """
    parquet = open_file(path)
    threads = path.stat().st_size > files.THREADED
    files.check_names(path, list(parquet.schema_arrow.names), kinds)
    table = guarded(path, lambda: parquet.read(columns=list(kinds), use_threads=threads))
    if not len(table):
        raise DataError(f"{path}: no rows; the file is empty")
    bad = BadRows(path, unit="row")
    result = guarded(path, lambda: {n: _column(table[n], n, k, bad) for n, k in kinds.items()})
    bad.check()
    return result


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of some columns, name -> value, without holding more than a batch of them.

    Raises:
        DataError: the file is damaged, or a column is missing.
    """
    parquet = open_file(path)
    files.check_names(path, list(parquet.schema_arrow.names), columns)
    batches = parquet.iter_batches(_BATCH, columns=list(columns), use_threads=False)
    while (batch := guarded(path, lambda: _next_batch(batches))) is not None:
        yield from batch


def _next_batch(batches: Iterator[Any]) -> list[dict[str, Any]] | None:
    batch = next(batches, None)
    if batch is None:
        return None
    batch.validate(full=True)  # offsets and text of a damaged file may point anywhere
    return batch.to_pylist()


def text_columns(path: Path) -> list[str]:
    """Return the names of the columns that hold text.

    Raises:
        DataError: the file is missing or no readable Parquet file.
    """
    import pyarrow as pa

    def is_text(kind: Any) -> bool:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)

    return [field.name for field in open_file(path).schema_arrow if is_text(field.type)]


def open_file(path: Path) -> Any:
    """Open a file as a `pyarrow.parquet.ParquetFile`, after a check of the sizes that it states.

    Raises:
        DataError: the file is missing or no readable Parquet file.
    """
    from pyarrow import parquet

    check_file(path)
    packed = read_head(path, 2) != _first_bytes(path, 2)
    source: Any = io.BytesIO(read_bytes(path)) if packed else path
    size = len(source.getvalue()) if packed else path.stat().st_size
    opened = guarded(path, lambda: parquet.ParquetFile(source))
    guarded(path, lambda: _check_sizes(path, size, opened.metadata))
    return opened


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _check_sizes(path: Path, size: int, metadata: Any) -> None:
    """Reject a file whose metadata state more than the file can hold.

    Only what row groups state in total is read: asking for the column of a damaged row group ends
    the process.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    stated = [(group.total_byte_size, group.num_rows) for group in groups]
    unpacked, rows = sum(pair[0] for pair in stated), sum(pair[1] for pair in stated)
    if min((number for pair in stated for number in pair), default=0) < 0:
        raise DataError(f"{path}: a row group states a negative size; write the file again")
    limit = unpack_limit(size)
    if unpacked > limit or max(rows, metadata.num_rows) > _MOST_ROWS * size:
        raise DataError(
            f"{path}: a file of {show_bytes(size)} states {metadata.num_rows:,} rows and "
            f"{show_bytes(unpacked)} of values, more than its size allows; write it again"
        )


def guarded(path: Path, action: Callable[[], T]) -> T:
    """Run code of pyarrow, which raises many types for damaged files and bad text."""
    try:
        return action()
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read; check its permissions") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path}: not a readable Parquet file ({reason}); write it again"
        ) from error


def _column(column: Any, name: str, kind: files.Kind, bad: BadRows) -> np.ndarray:
    """Return a column in the form of `files.read_delimited`; rows are counted from 1."""
    import pyarrow as pa

    column.validate(full=True)  # offsets and text of a damaged file may point anywhere
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        try:
            column = column.cast("string")
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{bad.path}: column {name!r} holds bytes that are not UTF-8; write it as text"
            ) from error
    if column.type == pa.null():
        column = column.cast("string")
    if kind == "text":
        return np.array([as_text(value) for value in column.to_pylist()], dtype=object)
    for row in np.flatnonzero(column.is_null().to_numpy()).tolist():
        bad.add(row + 1, f"{name} is empty")
    if column.null_count:
        return np.zeros(len(column))
    if kind in ("time", "moment") and (
        pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    ):
        values = column.cast(pa.timestamp("ns", getattr(column.type, "tz", None)))
        moments = values.cast("int64").to_numpy().astype("datetime64[ns]")
        return moments if kind == "moment" else moments.astype("datetime64[s]").astype(np.int64)
    if kind == "id" and (fault := _no_id(column.type)):
        raise DataError(f"{bad.path}: column {name!r} holds {fault}")
    if pa.types.is_boolean(column.type):
        column = column.cast("string")  # never a number by accident
    if pa.types.is_integer(column.type) and kind in ("id", "moment"):
        return column.to_numpy()
    if kind != "id" and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        values = column.to_numpy()
        for row in np.flatnonzero(~np.isfinite(values)).tolist():
            bad.add(row + 1, f"{name} {values[row]} is not finite")
        if bad.count:
            return np.zeros(len(column))
        if kind == "moment":
            return values
        return np.floor(values).astype(np.int64) if kind == "time" else values.astype(np.float64)
    return files.convert(
        [id_text(value) for value in column.to_pylist()],
        range(1, len(column) + 1),
        name,
        kind,
        bad,
    )


def _no_id(kind: Any) -> str | None:
    """Return why a column of a type cannot hold IDs, and the fix; None if it can."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return id_type_fault(True)
    return id_type_fault({}) if pa.types.is_struct(kind) or pa.types.is_map(kind) else None


def id_type_fault(value: Any) -> str | None:
    """Return what a value of JSON is that cannot be an ID, and the fix; None if it can.

    Example:
        >>> id_type_fault(True), id_type_fault(7)
        ('true and false, which are no IDs; name another column', None)
    """
    if isinstance(value, bool):
        return "true and false, which are no IDs; name another column"
    if isinstance(value, dict):
        return (
            "objects; write each of their parts as a column of its own (pandas.json_normalize does)"
        )
    return None


def id_text(value: Any) -> str:
    """Return a value of an ID column as text; a list is written as one, so that it is rejected.

    Example:
        >>> id_text(7), id_text(["a", "b"])
        ('7', "['a', 'b']")
    """
    return str(list(value)) if isinstance(value, list | tuple | dict | set) else str(value)


def as_text(value: Any) -> str:
    """Return a value of a text column: "" for none, and a list or an object joined by " | ".

    Example:
        >>> as_text(None), as_text(["War", None, "Crime"]), as_text({"size": 7, "color": None})
        ('', 'War | Crime', 'size: 7')
    """
    if value is None or value != value:  # nan is not equal to itself
        return ""
    if isinstance(value, list | tuple):
        return SEPARATOR.join(filter(None, map(as_text, value)))
    if isinstance(value, dict):
        parts = {str(key): as_text(part) for key, part in value.items()}
        return SEPARATOR.join(f"{key}: {part}" for key, part in parts.items() if part)
    return str(value)
