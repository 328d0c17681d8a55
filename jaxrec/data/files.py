"""Read text files that may be malformed, plain or gzipped; errors name the file and line.

A file is loaded completely or not at all. Well-formed files are parsed by pyarrow, which is fast.
Files that pyarrow rejects are read again line by line, which decides and knows the line numbers.
"""

import csv
import io
import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxrec.core import DataError, nearest, unique_keys
from jaxrec.data.bad_rows import BadRows
from jaxrec.data.columns import check_no_header
from jaxrec.data.contents import decode as decode, read_bytes as read_bytes
from jaxrec.data.hints import number_hint, time_hint
from jaxrec.data.times import parse_time, stack

Kind = Literal["id", "text", "float", "time", "moment"]

_NAMES_SHOWN = 12
# Bytes that arrow reads with threads. A process that ends right after a threaded read may abort.
THREADED = 1 << 26
# What programs write for a missing value. As an ID it would join the rows of different users.
MISSING = (
    "nan", "NaN", "NAN", "<NA>", "NaT", "None", "null", "NULL", "N/A", "n/a", "#N/A", "#NA",
    "#N/A N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "\\N", "-nan",
)  # fmt: skip
_LIST = r"\[.*\]"
_BAD_ID = rf"^(\s*|{'|'.join(map(re.escape, MISSING))}|{_LIST})$|[\x00\n\r]"


def find(directory: Path, *names: str) -> Path | None:
    """Return the first of `names`, plain or with .gz, that is a file in `directory`, or None."""
    for name in names:
        for candidate in (directory / name, directory / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


def shown(value: object) -> str:
    """Return a value as an error message shows it: in one line of limited length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def listed(names: Iterable[str]) -> str:
    """Return names as an error message lists them: in one line of limited length.

    Example:
        >>> listed(["user", "item"]), listed([])
        ('user, item', 'none')
    """
    names = list(names)
    parts = [name if name.isprintable() and len(name) <= 40 else shown(name) for name in names]
    more = f" and {len(parts) - _NAMES_SHOWN} more" if len(parts) > _NAMES_SHOWN else ""
    return (", ".join(parts[:_NAMES_SHOWN]) + more) or "none"


def usual(names: Iterable[str]) -> list[str]:
    """Return the names that a hint can show: printable and short ones, a thousand at most."""
    return [name for name in names if len(name) <= 60 and name.isprintable()][:1000]


def check_names(path: Path, names: Sequence[str], wanted: Iterable[str], where: str = "") -> None:
    """Reject a table that lacks a wanted column, or has it twice.

    Args:
        path: the file.
        names: names of its columns.
        wanted: names of the columns to read.
        where: place in the file for messages, such as "line 1: ".

    Raises:
        DataError: the message names the columns that exist.
    """
    counts = Counter(names)
    for name in wanted:
        if not counts[name]:
            raise DataError(
                f"{path}: {where}no column {shown(name)}{nearest(name, usual(names))}; columns: "
                f"{listed(names)}; correct the header or the column mapping"
            )
        if counts[name] > 1:
            raise DataError(
                f"{path}: {where}{counts[name]} columns are called {shown(name)}; rename or remove "
                "all but one"
            )


def id_fault(value: str) -> str | None:
    """Return why a text cannot be an ID, or None: it is empty, missing, a list or of two lines.

    Example:
        >>> id_fault("B00X"), id_fault("NaN"), id_fault("['a', 'b']")
        (None, 'stands for a missing value', 'is a list; write one row for each interaction')
    """
    if value in MISSING:
        return "stands for a missing value"
    if re.fullmatch(_LIST, value, re.DOTALL):
        return "is a list; write one row for each interaction"
    if any(mark in value for mark in "\0\n\r"):
        return "has a line break or a NUL in it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has half a character (a lone surrogate) in it"
    return None


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
            and "time" int64 seconds (rounded down). "moment" keeps times as they were written, as
            int64, float64 or datetime64 (see `times.to_times`).
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
    check_names(path, names, columns, "line 1: ")
    for time_as in ("int64", "float64", "string"):
        fast = _read_with_arrow(text, delimiter, names, header_lines, columns, quoted, time_as)
        if fast is not None:
            check_no_header(fast, path)
            return fast
    rows, numbers, bad = [], [], BadRows(path)
    for number, fields in lines:
        if len(fields) == len(names):
            rows.append(fields)
            numbers.append(number)
        else:
            expected = f"{len(names)} ({listed(names)})"
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
    check_no_header(result, path)
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
    from pyarrow import compute, csv as arrow_csv

    moments = [name for name, kind in columns.items() if kind == "moment"]
    if time_as == "string" and not moments:
        return None
    # Arrow reads 0x10 as 16.
    if {"time", "moment"} & set(columns.values()) and re.search(r"0[xX]", text):
        return None
    if len(delimiter) > 1:
        if "\x1f" in text:
            return None
        text, delimiter = text.replace(delimiter, "\x1f"), "\x1f"
    kinds = {"id": "string", "text": "string", "float": "float64", "moment": time_as}
    kinds["time"] = "float64" if time_as == "string" else time_as
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(text.encode()),
            arrow_csv.ReadOptions(
                column_names=list(names), skip_rows=skip, use_threads=len(text) > THREADED
            ),
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
        if kind == "id":
            if compute.any(compute.match_substring_regex(column, _BAD_ID)).as_py():
                return None
            result[name] = _compact_arrow(column)
        elif kind == "text":
            result[name] = column.to_numpy()
        elif kind == "moment" and time_as == "string":
            try:
                result[name] = stack(list(map(parse_time, column.to_pylist())), name, "")
            except (ValueError, OverflowError):
                return None
        else:
            values = column.to_numpy()
            if values.dtype.kind == "f" and not (np.abs(values) < 2**53).all():
                return None  # nan, infinite, or too large for a float to be exact in seconds
            whole = kind == "time" or (kind == "moment" and (values == np.floor(values)).all())
            result[name] = np.floor(values).astype(np.int64) if whole else values
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
            if not value.strip():
                bad.add(line, f"empty {name}")
            elif fault := id_fault(value):
                bad.add(line, f"{name} {shown(value)} {fault}")
        return compact_ids(values)
    if kind == "moment":
        parsed = []
        for value, line in zip(values, lines, strict=True):
            try:
                parsed.append(parse_time(value))
            except (ValueError, OverflowError):
                what = "a number of 64 bits or an ISO date such as 2024-01-31T08:15:00Z"
                # A hint tries many formats, which takes too long for every row of a large file.
                hint = "" if bad.only_counts else time_hint(value)
                bad.add(line, f"{name} {shown(value)} is not {what}{hint}")
        return stack(parsed, name, str(bad.path)) if parsed else np.zeros(0, np.int64)
    result = np.zeros(len(values), np.int64 if kind == "time" else np.float64)
    for i, (value, line) in enumerate(zip(values, lines, strict=True)):
        try:
            result[i] = _integer(value) if kind == "time" else _finite(value)
        except (ValueError, OverflowError):
            what = "a time in seconds" if kind == "time" else "a number"
            bad.add(line, f"{name} {shown(value)} is not {what}{number_hint(value)}")
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
            record = _parse_record(line, fallback)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            reason = getattr(error, "msg", None) or " ".join(str(error).split()) or "too deep"
            # Another format, or one list over several lines.
            other = count == 1 and not line.lstrip().startswith("{")
            hint = "; write one object a line" if other else ""
            bad.add(number, f"not JSON ({reason[:80]}): {shown(line)}{hint}")
            continue
        if not isinstance(record, dict):
            what = " but a list" if isinstance(record, list) else ""
            bad.add(number, f"not a JSON object{what}: {shown(line)}; write one object a line")
            continue
        yield number, record, bad
    bad.check()
    if not count:
        raise DataError(f"{path}: no rows; the file is empty")


def _parse_record(line: str, fallback: Callable[[str], Any] | None) -> Any:
    try:
        return json.loads(line, object_pairs_hook=unique_keys)
    except json.JSONDecodeError:
        if fallback is None:
            raise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of escapes such as \\d in a literal
        return fallback(line)
