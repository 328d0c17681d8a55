"""What calls of a compiled program cost by number of rows, measured before the first request.

On an accelerator a call costs nearly the same for one row as for a full batch, so all rows that
wait should share one. On a CPU the cost grows with the rows: there 9 rows that are padded to 64
cost more than a call of 8 and a call of 1, and waiting for company saves little.
"""

import math
import time
from collections.abc import Callable, Hashable, Sequence

import jax

# Calls that are timed. The fastest counts, as other work only adds to the seconds.
_TIMES = 2


class CallCosts:
    """Seconds of calls by program and padded number of rows.

    Args:
      sizes: numbers of rows to which batches are padded, in increasing order.
      clock: returns seconds; by default seconds of the processor on a CPU, where calls share it
        with other work, and seconds of the wall elsewhere.

    Example:
      >>> costs = CallCosts((1, 8, 64))
      >>> for size, seconds in ((1, 0.002), (8, 0.006), (64, 0.04)):
      ...     costs.note("program", size, seconds)
      >>> [costs.count("program", waiting) for waiting in (1, 2, 5, 9, 60)]
      [1, 1, 5, 8, 60]
      >>> round(costs.saving("program", 1), 6), round(costs.saving("program", 64), 6)
      (0.001375, 0.0)
    """

    def __init__(self, sizes: Sequence[int], clock: Callable[[], float] | None = None) -> None:
        on_cpu = jax.default_backend() == "cpu"
        self._sizes = tuple(sizes)
        self._clock = clock or (time.process_time if on_cpu else time.monotonic)
        self._seconds: dict[Hashable, dict[int, float]] = {}

    def measure(self, program: Hashable, size: int, call: Callable[[], object]) -> None:
        """Time a call that is compiled.

        Args:
          program: its name.
          size: number of its rows.
          call: waits for the result.
        """
        for _ in range(_TIMES):
            began = self._clock()
            call()
            self.note(program, size, self._clock() - began)

    def note(self, program: Hashable, size: int, seconds: float) -> None:
        """Note what a call took; the least counts."""
        known = self._seconds.setdefault(program, {})
        known[size] = min(known.get(size, math.inf), seconds)

    def count(self, program: Hashable, waiting: int) -> int:
        """Return how many of the rows that wait should share the next call.

        Args:
          program: of the rows.
          waiting: their number, at least 1.
        """
        most = min(waiting, self._sizes[-1])
        sizes = [size for size in self._sizes if size < most]
        # Of equal ones the largest.
        return min((most, *reversed(sizes)), key=lambda count: self._each(program, count))

    def saving(self, program: Hashable, waiting: int) -> float:
        """Return the most seconds that further rows can save each row that waits.

        It is infinite for a program that was not measured.
        """
        if program not in self._seconds:
            return math.inf
        least = min(self._each(program, size) for size in self._sizes)
        return self._each(program, self.count(program, waiting)) - least

    def _each(self, program: Hashable, count: int) -> float:
        """Seconds of a row in a call of so many; less for larger ones if nothing was measured."""
        known = self._seconds.get(program, {})
        size = next(size for size in self._sizes if size >= count)
        return known.get(size, 1.0) / count
