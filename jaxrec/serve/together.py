"""What the processes of one service share: who is ready, and which catalogue all of them answer by.

The numbers lie in memory that all processes map. A new catalogue is a file beside the counters of
Prometheus, and a number that counts the swaps; each process has a thread that looks at the number,
takes the file, and says so. Whoever swaps holds a lock that the system frees if the process dies.
"""

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxrec.core import ResourceError, write_bytes
from jaxrec.serve.gate import describe, log_line

_CATALOGUE, _LOCK = "catalogue.json", "lock"
# Seconds between two looks at what others have done.
_PAUSE = 0.05
# Most seconds until all processes have taken a catalogue.
_LONGEST = 60.0


class Together:
    """What one process of a service knows of the others. It is made before they are.

    Args:
      count: number of processes.
      directory: where they exchange files; empty.

    Example:
      >>> import tempfile
      >>> shared = Together(2, Path(tempfile.mkdtemp()))
      >>> shared.of(0).set_ready(); shared.all_ready
      False
      >>> shared.of(1).set_ready(); shared.all_ready
      True
      >>> shared.forget(1); shared.all_ready
      False
    """

    def __init__(self, count: int, directory: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.count, self.directory, self.number = count, directory, 0
        self._parent = os.getpid()
        self._ready: Any = context.RawArray(ctypes.c_bool, count)
        self._ending: Any = context.RawValue(ctypes.c_bool, False)
        self._swaps: Any = context.RawValue(ctypes.c_int64, 0)
        self._taken: Any = context.RawArray(ctypes.c_int64, count)
        (directory / _LOCK).touch()

    def of(self, number: int) -> "Together":
        """Return the same as the process with this number sees it."""
        own = object.__new__(Together)
        own.__dict__.update(self.__dict__, number=number)
        return own

    @property
    def all_ready(self) -> bool:
        """Whether every process takes requests."""
        return all(self._ready)

    def was_ready(self, number: int) -> bool:
        """Whether a process has become ready."""
        return bool(self._ready[number])

    def set_ready(self) -> None:
        """Say that this process takes requests."""
        self._ready[self.number] = True

    @property
    def ending(self) -> bool:
        """Whether all processes end, and not this one alone."""
        return bool(self._ending.value) or os.getpid() != self._parent != os.getppid()

    def set_ending(self) -> None:
        """Say that all processes end."""
        self._ending.value = True

    def forget(self, number: int) -> None:
        """Note that a process has died; the next one with this number begins with nothing."""
        self._ready[number], self._taken[number] = False, 0

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other processes from swapping the catalogue meanwhile."""
        with open(self.directory / _LOCK, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def publish(self, content: bytes) -> None:
        """Let all other processes take a catalogue that this one has taken; call it `alone`."""
        write_bytes(self.directory / _CATALOGUE, content)
        number = self._swaps.value + 1
        self._taken[self.number] = number
        self._swaps.value = number

    def wait(self) -> None:
        """Wait until all processes that take requests have taken the catalogue.

        Raises:
          ResourceError: a process does not take the catalogue within a minute.
        """
        deadline, number = time.monotonic() + _LONGEST, self._swaps.value
        while any(
            ready and taken < number for ready, taken in zip(self._ready, self._taken, strict=True)
        ):
            if time.monotonic() > deadline:
                raise ResourceError(
                    "the new version is checked and published, but not every process of the "
                    f"service has taken it within {_LONGEST:.0f} seconds; ask for the version again"
                )
            time.sleep(_PAUSE)

    def take(self, use: Callable[[bytes], None]) -> None:
        """Take the newest catalogue, unless this process has it.

        Args:
          use: is called with the content of its file.
        """
        while (number := self._swaps.value) > self._taken[self.number]:
            use((self.directory / _CATALOGUE).read_bytes())
            self._taken[self.number] = number

    def follow(self, use: Callable[[bytes], None] | None) -> None:
        """Take all further catalogues in a thread, and end with the process that started this one.

        Args:
          use: see `take`; None for a service without catalogues.
        """
        threading.Thread(target=self._follow, args=(use,), name="together", daemon=True).start()

    def _follow(self, use: Callable[[bytes], None] | None) -> None:
        while True:
            time.sleep(_PAUSE)
            try:
                if use is not None:
                    self.take(use)
            except Exception as error:
                # It could only answer by an old catalogue; another process takes its place.
                log_line({"event": "worker", "worker": self.number, "error": describe(error)})
                os._exit(1)
            if os.getppid() != self._parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return
