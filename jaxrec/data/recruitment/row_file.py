"""Rows of a user's file with their lines: JSON lines, a JSON list, or a table with a header."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import files, read_json_rows, record_line, to_times

_DELIMITERS = (",", "\t", ";")
_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")


class RowFile:
    r"""The rows of a file, read by the roles of its columns.

    Args:
      path: the file, plain or gzipped. Its first character tells JSON from a table.
      what: the records, for messages: "jobs".
      roles: names of the values that a record may have; a column has the name of its role unless
        `columns` says otherwise.
      needed: roles that every row must have.
      columns: name of the column by role.

    Raises:
      ConfigError: an unknown role in `columns`.
      DataError: the file cannot be read, has no rows, or lacks a column; the message names it.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "jobs.csv"
      >>> _ = path.write_text("id,name\n1,Baker\n")
      >>> rows = RowFile(path, "jobs", ("id", "title"), ("id", "title"), {"title": "name"})
      >>> [(row.line, row.text("title")) for row in rows]
      [(2, 'Baker')]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        what: str,
        roles: Sequence[str],
        needed: Sequence[str],
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self.what = Path(path), what
        for role in columns or {}:
            if role not in roles:
                raise ConfigError(
                    f"{what} have no {role!r}{nearest(role, roles)}; roles of columns: "
                    f"{', '.join(roles)}"
                )
        names = {role: role for role in roles} | dict(columns or {})
        text = files.decode(files.read_bytes(self.path), self.path)
        if text.lstrip()[:1] in ("{", "["):
            values: list[dict[str, Any]] = read_json_rows(self.path, what, list(needed))
            lines: list[int] | None = None
        else:
            values, lines = _table(text, self.path, what)
        found = dict.fromkeys(name for row in values for name in row)
        wanted = [names[role] for role in roles if role in needed or role in (columns or {})]
        files.check_names(self.path, list(found), wanted)
        self._rows, self._lines, self._names = values, lines, names
        self.has = {role for role, name in names.items() if name in found}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator["Row"]:
        return (Row(self, number) for number in range(len(self)))

    def line(self, number: int) -> int:
        """The line of a row, counted from 1; of the last one if a row has several."""
        lines = self._lines
        return record_line(self.path, number) if lines is None else lines[number]

    def value(self, number: int, role: str) -> Any:
        """What the file has for a role; None if it has nothing."""
        return self._rows[number].get(self._names[role])

    def fault(self, number: int, role: str, reason: str) -> DataError:
        """An error about one value."""
        return DataError(
            f"{self.path}: line {self.line(number)}: {self._names[role]} "
            f"{files.shown(self.value(number, role))} {reason}"
        )

    def times(self) -> list[int]:
        """The times of all rows in seconds since 1970; 0 for all if the file has no times.

        Raises:
          DataError: a row has none, or one that is no time.
        """
        values = [self.value(number, "time") for number in range(len(self))]
        missing = [n for n, value in enumerate(values) if value is None or value == ""]
        if len(missing) == len(values):
            return [0] * len(values)
        if missing:
            raise self.fault(missing[0], "time", "is missing, and other rows have a time; add it")
        try:
            return to_times(np.array(values, object), "time", self.path).seconds.tolist()
        except DataError:
            for number, value in enumerate(values):
                try:
                    to_times(np.array([value], object), "time", self.path)
                except DataError as error:
                    raise self.fault(
                        number, "time", "is no number of seconds and no ISO date such as 2024-01-31"
                    ) from error
            raise


class Row:
    """One row of a file.

    Args:
      file: that has it.
      number: of the row, from 0.
    """

    def __init__(self, file: RowFile, number: int) -> None:
        self._file, self._number = file, number

    @property
    def line(self) -> int:
        """Where the row stands."""
        return self._file.line(self._number)

    def value(self, role: str) -> Any:
        """What the file has for a role, or None."""
        return self._file.value(self._number, role)

    def fault(self, role: str, reason: str) -> DataError:
        """An error about one value."""
        return self._file.fault(self._number, role, reason)

    def text(self, role: str, *, needed: bool = False) -> str:
        """A text without blanks at its ends; "" if there is none.

        Raises:
          DataError: the value is no text, or a needed one is empty.
        """
        value = self.value(role)
        if isinstance(value, bool | list | dict | float) and not _is_whole(value):
            raise self.fault(role, "is no text; write it in quotes")
        text = "" if value is None else str(int(value) if isinstance(value, float) else value)
        if "\0" in text or not _encodes(text):
            raise self.fault(role, "has characters that UTF-8 cannot hold")
        if needed and not text.strip():
            raise self.fault(role, f"is empty; every one of the {self._file.what} needs it")
        return text.strip()

    def texts(self, role: str) -> tuple[str, ...]:
        """Different texts, from a list or from one text with semicolons or bars between them."""
        value = self.value(role)
        if not isinstance(value, list):
            parts = self.text(role).replace("|", ";").split(";")
        elif all(isinstance(part, str) for part in value):
            parts = value
        else:
            raise self.fault(role, "must be a list of texts")
        return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))

    def truth(self, role: str) -> bool:
        """Whether something holds.

        Raises:
          DataError: the value is none of true, false, yes, no, 1 and 0.
        """
        text = str(self.value(role)).strip().casefold()
        if text not in _TRUE + _FALSE:
            raise self.fault(role, "is neither true nor false; write true, false, yes, no, 1 or 0")
        return text in _TRUE


def _table(text: str, path: Path, what: str) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows of a table by the names in its header, and their lines."""
    head = text.lstrip("\n\r").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    names: list[str] | None = None
    try:
        for fields in reader:
            if not fields:
                continue
            if names is None:
                names = [name.strip() for name in fields]
                files.check_names(path, names, dict.fromkeys(names), "line 1: ")
                continue
            if len(fields) != len(names):
                raise DataError(
                    f"{path}: line {reader.line_num}: {len(fields)} fields, expected {len(names)} "
                    f"({files.listed(names)}); quote fields that hold {delimiter!r}"
                )
            rows.append(dict(zip(names, fields, strict=True)))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}; correct the quotes") from error
    if not rows:
        raise DataError(f"{path} holds no {what}; expected a header line with names, and rows")
    return rows, lines


def _is_whole(value: Any) -> bool:
    """Whether an ID or the like was written as 7.0."""
    return isinstance(value, float) and value.is_integer()


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
