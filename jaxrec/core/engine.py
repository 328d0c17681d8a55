"""Where independent pieces of work are done: here, one after the other, or by workers elsewhere.

    for number, result in engine.map(job, pieces):
        ...

A piece is small enough for memory, and its result does not depend on the engine or on other
pieces. So whoever keeps the results by number ends with the same bytes from every engine, and work
that one engine began can be continued by another.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

# Prepares a worker (opens a model, for example) and returns what does one piece.
Job = Callable[[], Callable[[Any], Any]]


class Engine(Protocol):
    """Does pieces of work."""

    def map(self, job: Job, pieces: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield the number of each piece and its result, in the order in which they are done.

        Args:
          job: is called once by each worker; what it returns is called with one piece after the
            other. Engines with processes pickle it.
          pieces: arguments; engines with processes pickle them.

        Raises:
          JaxrecError: what the job or a piece raised.
        """


@dataclasses.dataclass(frozen=True)
class LocalEngine:
    """Does all pieces in this process, in their order, each when its result is asked for.

    Example:
      >>> list(LocalEngine().map(lambda: str.upper, ["a", "b"]))
      [(0, 'A'), (1, 'B')]
    """

    def map(self, job: Job, pieces: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """See `Engine`."""
        if not pieces:
            return
        work = job()
        for number, piece in enumerate(pieces):
            yield number, work(piece)


LOCAL = LocalEngine()
