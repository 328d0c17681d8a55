"""Keeps what a failed save prints off the terminal; its reason is raised, and shown in one line.

Orbax logs the traceback of every thread that a full disk stops, and asyncio prints one for every
file that was still to be written: hundreds of lines, above the only one that helps.
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from types import TracebackType

_LOGGERS = ("absl", "asyncio")
_ENDED = "Event loop is closed"


class _Errors(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for errors of Orbax and of asyncio, whose tasks Orbax runs."""
        ours = "orbax" in record.pathname or record.name == "asyncio"
        return record.levelno < logging.ERROR or not ours


@contextlib.contextmanager
def quiet_saving() -> Iterator[None]:
    """Do not print errors of Orbax's threads in a `with` block; all other errors are printed.

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
        at = args.exc_traceback
        while at is not None:
            if "orbax" in at.tb_frame.f_code.co_filename:
                return
            at = at.tb_next
        thread_hook(args)

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(errors)
    sys.excepthook, threading.excepthook = show, show_thread
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = hook, thread_hook
        for logger in loggers:
            logger.removeFilter(errors)


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
