"""Records in a file: a JSON list or JSON lines of objects, plain or gzipped.

An indented object with a list "examples" is read as that list, which is BIG-bench's form.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import DataError, RepeatedKey, unique_keys
from jaxrec.data import files

_EXAMPLES = "examples"


def read_json_rows(
    path: str | os.PathLike[str], what: str, fields: Sequence[str]
) -> list[dict[str, Any]]:
    r"""Read the objects of a JSON list or of JSON lines, gzipped if the name ends in `.gz`.

    Args:
      path: the file.
      what: what the records are, for messages: "instructions".
      fields: names that a record should have, for messages; they are not checked here.

    Raises:
      DataError: the file is missing, empty or not JSON, a record is not an object, or an object has
        a key twice; the message names the record.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = pathlib.Path(directory) / "rows.jsonl"
      ...     _ = path.write_text('{"a": 1}\n{"a": 2}\n')
      ...     read_json_rows(path, "rows", ["a"])
      [{'a': 1}, {'a': 2}]
    """
    path = Path(path)
    text = files.decode(files.read_bytes(path), path)
    # Not `splitlines`: JSON may have a line separator of Unicode inside a text.
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        whole = (len(lines) > 1 and lines[0].strip() == "{") or text.lstrip().startswith("[")
        rows = _value(text) if whole else _rows_of_lines(text)
        if isinstance(rows, dict):
            rows = rows.get(_EXAMPLES) if isinstance(rows.get(_EXAMPLES), list) else [rows]
    except RepeatedKey as error:
        raise DataError(f"{path}: {error}; keep one of the values") from error
    except (ValueError, RecursionError) as error:  # also numbers of too many digits
        raise DataError(
            f"{path} cannot be read as {what} ({error}); give a JSON list, or JSON lines, of "
            f"records with {', '.join(fields)}"
        ) from error
    if not rows:
        raise DataError(f"{path} holds no {what}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(
                f"{path}: record {number} is {type(row).__name__}, not an object with "
                f"{', '.join(fields)}"
            )
    return rows


def _rows_of_lines(text: str) -> list[Any]:
    """The values of JSON lines; an error names the line of the file."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(_value(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error
        except RepeatedKey as error:
            raise RepeatedKey(f"line {number}: {error}") from error
    return rows


def _value(text: str) -> Any:
    return json.loads(text, object_pairs_hook=unique_keys)


def record_line(path: str | os.PathLike[str], number: int) -> int:
    r"""The line, counted from 1, on which a record of a file begins, for messages about it.

    Args:
      path: a file that `read_json_rows` has read.
      number: place of the record among those that it returned.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     path = pathlib.Path(directory) / "rows.json"
      ...     _ = path.write_text('[\n  {"a": 1},\n  {\n    "a": 2\n  }\n]\n')
      ...     record_line(path, 1)
      3
    """
    text = files.decode(files.read_bytes(Path(path)), Path(path))
    # Records begin after "[" in a list, and after the name "examples" in BIG-bench's form.
    place = max(text.find("[", text.find(f'"{_EXAMPLES}"')), 0) if _is_list(text) else -1
    reader = json.JSONDecoder()
    for _ in range(number + 1):
        place = text.index("{", place + 1)
        begin = place
        place = reader.raw_decode(text, place)[1] - 1
    return text.count("\n", 0, begin) + 1


def _is_list(text: str) -> bool:
    return text.lstrip().startswith("[") or f'"{_EXAMPLES}"' in text.partition("[")[0]
