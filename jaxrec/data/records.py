"""Tables in JSON: lines of objects with any keys, a list of objects, or an object of objects."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, unique_keys
from jaxrec.data import files
from jaxrec.data.bad_rows import BadRows
from jaxrec.data.parquet import as_text, id_text, id_type_fault

_BLANK = re.compile(r"\s*")
_Rows = Iterator[tuple[int, dict[str, Any], BadRows]]


def record_names(path: Path) -> list[str]:
    """Return the keys of all records, in the order in which they first occur.

    Raises:
        DataError: the file is unreadable, or holds something other than objects.
    """
    names: dict[str, None] = {}
    for _, record, _ in _records(path):
        names.update(dict.fromkeys(record))
    return list(names)


def read_record_columns(path: Path, kinds: Mapping[str, files.Kind]) -> dict[str, np.ndarray]:
    r"""Read columns by kind, as `files.read_delimited` does; a list becomes text joined by " | ".

    Raises:
        DataError: the file is unreadable, no record has a column, or rows are bad; the message
            names the lines.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> _ = path.write_text('{"who": "ann", "tags": ["a", "b"]}\n{"who": "bob"}\n')
        >>> table = read_record_columns(path, {"who": "id", "tags": "text"})
        >>> table["who"].tolist(), table["tags"].tolist()
        (['ann', 'bob'], ['a | b', ''])
    """
    names: dict[str, None] = {}
    values: dict[str, list[str]] = {name: [] for name in kinds}
    lines: list[int] = []
    rejected = BadRows(path)
    for line, record, bad in _records(path):
        names.update(dict.fromkeys(record))
        rejected = bad
        lines.append(line)
        for name, kind in kinds.items():
            value = record.get(name)
            if kind == "text":
                values[name].append(as_text(value))
            elif kind == "id" and (fault := id_type_fault(value)):
                raise DataError(f"{path}: {bad.unit} {line}: column {name!r} holds {fault}")
            elif isinstance(value, bool) or (kind != "id" and isinstance(value, list | dict)):
                values[name].append(repr(value))  # no number, so that it is rejected
            else:
                values[name].append("" if value is None else id_text(value))
    files.check_names(path, list(names), kinds)
    result = {n: files.convert(values[n], lines, n, kind, rejected) for n, kind in kinds.items()}
    for name in (n for n, kind in kinds.items() if kind == "text"):
        for line, text in zip(lines, values[name], strict=True):
            if "\0" in text or not _encodes(text):
                rejected.add(line, f"{name} {files.shown(text)} is not text that UTF-8 can hold")
    rejected.check()
    return result


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _records(path: Path) -> _Rows:
    """Yield (line or number, record, bad rows) of any of the three forms."""
    text = files.decode(files.read_bytes(path), path)
    whole = _whole(text, path)
    if whole is None:
        yield from files.read_json_lines(path)
        return
    bad = BadRows(path, unit="record")
    if isinstance(whole, dict):
        whole = [{"id": key} | record for key, record in whole.items()]
    for number, record in enumerate(whole, start=1):
        if isinstance(record, dict):
            yield number, record, bad
        else:
            bad.add(number, f"not a JSON object: {files.shown(record)}")
    bad.check()
    if not whole:
        raise DataError(f"{path}: no rows; the file is empty")


def _whole(text: str, path: Path) -> list[Any] | dict[str, dict[str, Any]] | None:
    """Return a list of objects or an object of objects, or None for lines of objects.

    A list may be the only value of an object, as in {"data": [...]}; and objects may be spread over
    lines, one after the other.

    Raises:
        DataError: an object has a key twice, or a number has thousands of digits.
    """
    start = text.lstrip()[:1]
    if start not in ("[", "{") or (start == "{" and _is_record(text)):
        return None
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
    except (json.JSONDecodeError, RecursionError):
        return _objects(text) if start == "{" else None
    except ValueError as error:
        raise DataError(
            f"{path}: {' '.join(str(error).split())[:200]}; correct the file"
        ) from error
    if isinstance(value, dict) and _is_wrapped(value):
        (value,) = value.values()
    if isinstance(value, list):
        return value if not value or any(isinstance(record, dict) for record in value) else None
    nested = bool(value) and all(isinstance(record, dict) for record in value.values())
    return value if nested else None


def _is_wrapped(value: Any) -> bool:
    """Return whether a value is an object whose only value is a list of objects.

    Example:
        >>> _is_wrapped({"data": [{"user": 1}]}), _is_wrapped({"user": 1})
        (True, False)
    """
    rows = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)


def _objects(text: str) -> list[dict[str, Any]] | None:
    """Return objects that follow one another and are spread over lines, or None."""
    decoder, found, place = json.JSONDecoder(object_pairs_hook=unique_keys), [], 0
    text = text.rstrip()
    while place < len(text):
        try:
            blank = _BLANK.match(text, place)
            value, place = decoder.raw_decode(text, blank.end() if blank else place)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        found.append(value)
    return found


def _is_record(text: str) -> bool:
    """Return whether the first line alone is an object whose values are not all objects."""
    first = text.lstrip().split("\n", 1)[0]
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    if _is_wrapped(record):
        return False
    return not all(isinstance(value, dict) for value in record.values()) or not record
