"""Keeps what a failed save prints off the terminal; its reason is raised, and shown in one line.

Orbax logs the traceback of every thread that a full disk stops, and asyncio prints one for every
file that was still to be written: hundreds of lines, above the only one that helps.
"""

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType

_LOGGERS = ("absl", "asyncio")
_ENDED = "Event loop is closed"
# Seconds for the other threads of a failed save to fail too, before errors are shown again.
_PATIENCE = 10.0


class _Errors(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for errors of Orbax and of asyncio, whose tasks Orbax runs."""
        ours = "orbax" in record.pathname or record.name == "asyncio"
        return record.levelno < logging.ERROR or not ours


@contextlib.contextmanager
def quiet_saving() -> Iterator[None]:
    """Do not print errors of Orbax's threads in a `with` block; all other errors are printed.

    A failed save stops several threads one after the other, so the block ends after the last.

    Example:
      >>> with quiet_saving():
      ...     logging.getLogger("asyncio").error("of a task that nobody awaits")
    """
    errors, hook, thread_hook = _Errors(), sys.excepthook, threading.excepthook

    def show(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        # A callback that comes after its loop has ended; the loop's own error is raised.
        if not (isinstance(error, RuntimeError) and str(error) == _ENDED):
            hook(kind, error, at)

    def show_thread(args: threading.ExceptHookArgs) -> None:
        if not _of_orbax(args.exc_traceback):
            thread_hook(args)

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(errors)
    sys.excepthook, threading.excepthook = show, show_thread
    try:
        yield
    finally:
        _await_threads()
        _retrieve_errors()
        sys.excepthook, threading.excepthook = hook, thread_hook
        for logger in loggers:
            logger.removeFilter(errors)


def _await_threads() -> None:
    """Wait for the threads of Orbax, which outlive the call that reports the first failure."""
    ends = time.monotonic() + _PATIENCE
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax"):
            # Their own `join` raises the error, which was reported already.
            threading.Thread.join(thread, max(0.0, ends - time.monotonic()))


def _retrieve_errors() -> None:
    """Read the errors of Orbax's futures, because asyncio prints those that nobody has read.

    It prints them when the future is deleted, which may be long after the save.
    """
    for found in gc.get_objects():
        if issubclass(type(found), asyncio.Future) and found.done() and not found.cancelled():
            error = found._exception  # `exception()` would mark those of others as read too
            at = None if error is None else error.__traceback__
            # Tensorstore sets errors without raising them, so that they have no traceback.
            if error is not None and (at is None or _of_orbax(at)):
                found.exception()


def _of_orbax(at: TracebackType | None) -> bool:
    """Return whether a frame of a traceback is Orbax's."""
    while at is not None:
        if "orbax" in at.tb_frame.f_code.co_filename:
            return True
        at = at.tb_next
    return False


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress Orbax's warning that items opened read-only will not be written.

    Example:
      >>> with without_warnings():
      ...     logging.getLogger("absl").warning("of Orbax")
    """
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
