"""The result of a measurement."""

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Table:
    """What a measurement found.

    Attributes:
      record: the result as a JSON value, which becomes the last line of the output.
      text: a table to print before it; empty if the rows were printed as they were measured.
      failures: one line for each expectation that does not hold, such as "the peers disagree"; the
        command prints them after the last line, on standard error, and exits with code 1.
    """

    record: Any
    text: str = ""
    failures: tuple[str, ...] = ()

    def show(self) -> None:
        """Print the text and, as the last line, the record."""
        if self.text:
            print(self.text)
        print(json.dumps(self.record))
