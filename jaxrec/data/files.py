"""Read text files that may be malformed, plain or gzipped; errors name the file and line.

A file is loaded completely or not at all. Well-formed files are parsed by pyarrow, which is fast.
Files that pyarrow rejects are read again line by line, which decides and knows the line numbers.
"""

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxrec.core import DataError

Kind = Literal["id", "text", "float", "time"]

_SHOWN = 3  # bad rows described in a message; the rest are counted


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file, decompressed if it is gzipped.

    Raises:
        DataError: the file is missing, unreadable, truncated or corrupted.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: corrupted gzip file ({error}); download it again") from error


def decode(raw: bytes, path: Path, *, latin: bool = False) -> str:
    """Decode `raw` as UTF-8, or as Latin-1 if it is not UTF-8 and `latin` is True.

    Raises:
        DataError: the bytes are not UTF-8 and `latin` is False; the message names the line.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if latin:
            return raw.decode("latin-1")
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte {raw[error.start]:#04x} is not UTF-8; "
            "convert the file to UTF-8"
        ) from error


def find(directory: Path, *names: str) -> Path | None:
    """Return the first of `names`, plain or with .gz, that is a file in `directory`, or None."""
    for name in names:
        for candidate in (directory / name, directory / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


class BadRows:
    """Collect the bad rows of a file, so that one error names them all and nothing is loaded."""

    def __init__(self, path: Path, unit: str = "line"):
        self.path = path
        self.unit = unit
        self.count = 0
        self._shown: list[str] = []

    def add(self, line: int, reason: str) -> None:
        """Record that `line` (counted from 1) is bad."""
        self.count += 1
        if self.count <= _SHOWN:
            self._shown.append(f"{self.unit} {line}: {reason}")

    def check(self) -> None:
        """Raise DataError if any row was bad."""
        if self.count:
            more = f"; and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
            rows = "1 bad row" if self.count == 1 else f"{self.count} bad rows"
            raise DataError(
                f"{self.path}: {rows}, nothing was loaded: {'; '.join(self._shown)}{more}; "
                "correct or remove them"
            )


def shown(value: object) -> str:
    """Return a value as an error message shows it: in one line of limited length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_delimited(
    path: Path,
    *,
    delimiter: str,
    columns: Mapping[str, Kind],
    names: Sequence[str] | None = None,
    quoted: bool = False,
    latin: bool = False,
) -> dict[str, np.ndarray]:
    r"""Read columns of a delimited text file, plain or gzipped.

    Args:
        path: the file.
        delimiter: separator of fields; it may have several characters ("::").
        columns: name -> kind of the columns to read. "id" gives strings, or int64 if every ID is a
            number without leading zeros. "text" gives strings (as objects), "float" finite float64,
            and "time" int64 seconds (rounded down).
        names: names of all columns; None if the first line is a header.
        quoted: whether fields may be quoted as in CSV.
        latin: whether a file that is not UTF-8 is Latin-1.

    Returns:
        name -> [n] array.

    Raises:
        DataError: the file is unreadable or empty, a column is missing, or rows are bad; the
            message names the lines.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "ratings.dat"
        >>> _ = path.write_text("1::50::5\n2::50::3\n")
        >>> names = ("user", "item", "rating")
        >>> table = read_delimited(path, delimiter="::", names=names, columns={"rating": "float"})
        >>> table["rating"].tolist()
        [5.0, 3.0]
    """
    text = decode(read_bytes(path), path, latin=latin)
    lines = _split(text, delimiter, quoted, path)
    header_lines = 0 if names is not None else 1
    if names is None:
        header = next(lines, None)
        if header is None:
            raise DataError(f"{path}: empty file; expected a header line")
        names = [name.strip() for name in header[1]]
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(
            f"{path}: line 1: no column {missing[0]!r}; columns: {', '.join(names)}; "
            "correct the header or the column mapping"
        )
    for time_as in ("int64", "float64"):
        fast = _read_with_arrow(text, delimiter, names, header_lines, columns, quoted, time_as)
        if fast is not None:
            return fast
    rows, numbers, bad = [], [], BadRows(path)
    for number, fields in lines:
        if len(fields) == len(names):
            rows.append(fields)
            numbers.append(number)
        else:
            expected = f"{len(names)} ({', '.join(names[:6])}{', ...' * (len(names) > 6)})"
            bad.add(number, f"{len(fields)} fields, expected {expected}: {shown(fields)}")
    # Columns are converted even if some rows are already bad, so that one message names all rows.
    result = {}
    place = {name: i for i, name in enumerate(names)}
    for name, kind in columns.items():
        values = [row[place[name]] for row in rows]
        result[name] = convert(values, numbers, name, kind, bad)
    bad.check()
    if not rows:
        raise DataError(f"{path}: no rows; the file is empty")
    return result


def _read_with_arrow(
    text: str,
    delimiter: str,
    names: Sequence[str],
    skip: int,
    columns: Mapping[str, Kind],
    quoted: bool,
    time_as: str,
) -> dict[str, np.ndarray] | None:
    """Return the columns if pyarrow can read the file unambiguously, else None."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if len(delimiter) > 1:
        if "\x1f" in text:
            return None
        text, delimiter = text.replace(delimiter, "\x1f"), "\x1f"
    kinds = {"id": "string", "text": "string", "float": "float64", "time": time_as}
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(text.encode()),
            arrow_csv.ReadOptions(column_names=list(names), skip_rows=skip),
            arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
            ),
            arrow_csv.ConvertOptions(
                column_types={name: kinds[kind] for name, kind in columns.items()},
                include_columns=list(columns),
                null_values=[],
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, ValueError):
        return None
    if not len(table):
        return None
    result = {}
    for name, kind in columns.items():
        column = table[name]
        if kind in ("id", "text"):
            result[name] = _compact_arrow(column) if kind == "id" else column.to_numpy()
            if result[name].dtype.kind == "U" and (result[name] == "").any():
                return None
        else:
            values = column.to_numpy()
            if values.dtype.kind == "f" and not (np.abs(values) < 2**53).all():
                return None  # nan, infinite, or too large for a float to be exact in seconds
            result[name] = np.floor(values).astype(np.int64) if kind == "time" else values
    return result


def _compact_arrow(column: Any) -> np.ndarray:
    """Apply `compact_ids` to an arrow column of strings."""
    import pyarrow as pa

    try:
        numbers = column.cast("int64")
        if numbers.cast("string").equals(column):
            return numbers.to_numpy()
    except pa.ArrowException:
        pass
    return column.to_numpy().astype(str)


def header(path: Path, delimiter: str) -> list[str]:
    """Return the column names in the first line of a CSV file.

    Raises:
        DataError: the file is missing, unreadable or empty.
    """
    first = next(_split(decode(read_bytes(path), path), delimiter, True, path), None)
    if first is None:
        raise DataError(f"{path}: empty file; expected a header line")
    return [name.strip() for name in first[1]]


def _split(text: str, delimiter: str, quoted: bool, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) for every line that is not blank."""
    if quoted:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
        except csv.Error as error:
            raise DataError(f"{path}: line {reader.line_num}: {error}; correct the file") from error
        return
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if line:
            yield number, line.split(delimiter)


def convert(
    values: list[str], lines: Sequence[int], name: str, kind: Kind, bad: BadRows
) -> np.ndarray:
    """Convert one column to an array [n]; values that do not convert are added to `bad`."""
    if kind == "text":
        return np.array(values, dtype=object)
    if kind == "id":
        for value, line in zip(values, lines, strict=True):
            if not value:
                bad.add(line, f"empty {name}")
        return compact_ids(values)
    result = np.zeros(len(values), np.int64 if kind == "time" else np.float64)
    for i, (value, line) in enumerate(zip(values, lines, strict=True)):
        try:
            result[i] = _integer(value) if kind == "time" else _finite(value)
        except (ValueError, OverflowError):
            what = "a time in seconds" if kind == "time" else "a number"
            bad.add(line, f"{name} {shown(value)} is not {what}")
    return result


def _finite(value: str) -> float:
    number = float(value)
    if "_" in value or not math.isfinite(number):
        raise ValueError(value)
    return number


def _integer(value: str) -> int:
    """Parse a time: whole numbers exactly (a float would round them), others rounded down."""
    _finite(value)
    try:
        return int(value)
    except ValueError:
        return math.floor(float(value))


def compact_ids(values: list[str]) -> np.ndarray:
    """Return IDs [n] as int64 if that loses nothing (no leading zeros), else as strings."""
    try:
        numbers = np.array(values, dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array(values, dtype=str)
    return numbers if list(map(str, numbers.tolist())) == values else np.array(values, dtype=str)


def read_json_lines(
    path: Path, *, fallback: Callable[[str], Any] | None = None
) -> Iterator[tuple[int, dict[str, Any], BadRows]]:
    """Yield (line, record, bad rows) for each line of a JSON-lines file, plain or gzipped.

    The caller may add bad rows to the third value. One error with all of them is raised at the end.

    Args:
        path: the file.
        fallback: parser for lines that are not JSON.

    Raises:
        DataError: the file is unreadable or has no rows, or lines are not JSON objects; the message
            names the lines.
    """
    bad = BadRows(path)
    count = 0
    for number, line in enumerate(decode(read_bytes(path), path).split("\n"), start=1):
        if not line.strip():
            continue
        count += 1
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            try:
                if fallback is None:
                    raise ValueError from error
                record = fallback(line)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                bad.add(number, f"not JSON ({error.msg}): {shown(line)}")
                continue
        if not isinstance(record, dict):
            bad.add(number, f"not a JSON object: {shown(line)}")
            continue
        yield number, record, bad
    bad.check()
    if not count:
        raise DataError(f"{path}: no rows; the file is empty")
