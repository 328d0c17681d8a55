"""The bad rows of a file: one error names them all, and nothing is loaded."""

from collections.abc import Sequence
from pathlib import Path

from jaxrec.core import DataError

_SHOWN = 3  # rows described in a message; the rest are counted
_KEPT = 10  # rows that an error keeps, for `jaxrec data check`


class BadRowsError(DataError):
    """Some rows of a file are bad, so nothing was loaded.

    Attributes:
      rows: the first of them, ten at most, each with its line and what is wrong with it.
    """

    def __init__(self, message: str, rows: Sequence[str] = ()) -> None:
        """Keep the message and the rows."""
        super().__init__(message)
        self.rows = tuple(rows)


class BadRows:
    """Collect the bad rows of a file, so that one error names them all and nothing is loaded."""

    def __init__(self, path: Path, unit: str = "line"):
        self.path = path
        self.unit = unit
        self.count = 0
        self._kept: list[str] = []

    @property
    def only_counts(self) -> bool:
        """Whether the reasons of further rows are dropped, so that they need no careful wording."""
        return self.count >= _KEPT

    def add(self, line: int, reason: str) -> None:
        """Record that `line` (counted from 1) is bad."""
        self.count += 1
        if self.count <= _KEPT:
            self._kept.append(f"{self.unit} {line}: {reason}")

    def check(self) -> None:
        """Raise DataError if any row was bad."""
        if self.count:
            more = f"; and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
            rows = "1 bad row" if self.count == 1 else f"{self.count} bad rows"
            raise BadRowsError(
                f"{self.path}: {rows}, nothing was loaded: {'; '.join(self._kept[:_SHOWN])}{more}; "
                "correct or remove them",
                self._kept,
            )
