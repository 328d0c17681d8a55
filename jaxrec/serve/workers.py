"""Several processes behind one port: they are started, watched, started again, and ended together.

All processes accept from one listening socket, which the first process opens. So a process that
dies loses only the requests that it had begun; what waits at the port goes to the others. One that
was started again does not accept before everything is compiled.

SIGTERM or Ctrl-C lets all of them finish what they have begun, see `process`.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxrec.core
from jaxrec.core import JaxrecError, ResourceError, read_json, write_text
from jaxrec.serve.gate import log_line
from jaxrec.serve.process import DrainOptions
from jaxrec.serve.together import Together

# Where prometheus_client looks, when it is imported, for files that processes share.
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
# How often a process may die before it is ready, one time after the other.
_ATTEMPTS = 3
# Seconds between two looks at signals, and what an end may take beyond its own limits.
_PAUSE, _PATIENCE = 0.2, 15.0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Worker:
    """One of several processes of a service.

    Attributes:
      together: what the processes share.
      listener: the socket from which all of them accept.
      again: whether it takes the place of one that has died.
    """

    together: Together
    listener: socket.socket
    again: bool

    @property
    def first(self) -> bool:
        """Whether it is the one that says what is served."""
        return self.together.number == 0 and not self.again


def run_workers(
    count: int,
    serve: Callable[[Any, Worker], None],
    options: Any,
    listener: socket.socket,
    drain: DrainOptions,
    log: Callable[[dict[str, Any]], None] = log_line,
) -> None:
    """Serve by several processes until a signal comes.

    Args:
      count: number of processes.
      serve: is called in each process with the options and the worker; a function of a module, and
        the options can be pickled.
      options: for `serve`.
      listener: a socket that listens, from `listen`; it is closed when the service ends.
      drain: how the service ends.
      log: receives a record for each process that dies.

    Raises:
      JaxrecError: why a process could not start.
      ResourceError: processes die before they are ready, or do not end.
    """
    directory = Path(tempfile.mkdtemp(prefix="jaxrec-serve-"))
    try:
        _Supervisor(count, serve, options, listener, drain, log, directory).run()
    finally:
        listener.close()
        shutil.rmtree(directory, ignore_errors=True)


class _Supervisor:
    """Starts processes and looks after them."""

    def __init__(
        self,
        count: int,
        serve: Callable[[Any, Worker], None],
        options: Any,
        listener: socket.socket,
        drain: DrainOptions,
        log: Callable[[dict[str, Any]], None],
        directory: Path,
    ) -> None:
        self._serve, self._options, self._listener = serve, options, listener
        self._drain, self._log = drain, log
        self._together = Together(count, directory)
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._failures = [0] * count
        # Whether a process has been ready, so that the run can be served.
        self._complete = False
        self._signals = 0
        self._forwarded = 0

    def run(self) -> None:
        with self._noticing(signal.SIGTERM, signal.SIGINT):
            try:
                for number in range(self._together.count):
                    self._start(number, again=False)
                while not self._signals:
                    self._wait()
                    for number, process in enumerate(self._processes):
                        if process.exitcode is not None and not self._signals:
                            self._replace(number, process)
            except BaseException:
                # The others finish what they have begun all the same.
                self._signals += 1
                raise
            finally:
                try:
                    self._end()
                finally:
                    for process in self._living():
                        process.kill()
                        process.join()

    def _start(self, number: int, again: bool) -> None:
        worker = Worker(together=self._together.of(number), listener=self._listener, again=again)
        process = self._context.Process(
            target=_work,
            args=(self._serve, self._options, worker, self._error(number)),
            name=f"worker-{number}",
        )
        # A process has both from its first moment. Nothing in this one reads the variable. Ctrl-C
        # goes to all processes of a terminal, and the others are told by this one.
        os.environ[_METRICS] = str(self._together.directory)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            del os.environ[_METRICS]
        self._processes[number : number + 1] = [process]

    def _living(self) -> list[Any]:
        return [process for process in self._processes if process.exitcode is None]

    def _replace(self, number: int, process: Any) -> None:
        """Start a process again, unless it has said why it cannot work."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(process.pid, str(self._together.directory))
        ready = self._together.was_ready(number)
        self._together.forget(number)
        path, error = self._error(number), None
        if path.exists():
            error = _error_of(path)
            path.unlink()
        self._complete = self._complete or ready
        if error is not None and not self._complete:
            raise error
        self._log({"event": "worker", "worker": number, "exit": process.exitcode})
        self._failures[number] = 1 if ready else self._failures[number] + 1
        if self._failures[number] >= _ATTEMPTS:
            raise error or ResourceError(
                f"a process of the service has died {_ATTEMPTS} times before it was ready, at last "
                f"with exit code {process.exitcode}; see the log, or give fewer --workers if "
                "memory is short"
            )
        self._start(number, again=True)

    def _end(self) -> None:
        """Let all processes finish; a second signal ends them at once."""
        self._together.set_ending()
        # Whatever comes once they have stopped listening must be refused, not left waiting.
        self._listener.close()
        deadline = time.monotonic() + self._drain.delay + self._drain.seconds + _PATIENCE
        while self._living():
            if self._forwarded < self._signals:
                self._forwarded += 1
                for process in self._living():
                    process.terminate()
            if time.monotonic() > deadline:
                raise ResourceError(
                    "processes of the service did not end in time and were killed; give a longer "
                    "--drain-seconds"
                )
            self._wait()
        for number, process in enumerate(self._processes):
            # One that did not listen yet had no request to finish.
            if process.exitcode not in (0, -signal.SIGTERM):
                self._log({"event": "worker", "worker": number, "exit": process.exitcode})

    def _wait(self) -> None:
        """Wait until a process ends, or for a moment."""
        sentinels = [process.sentinel for process in self._living()]
        if sentinels:
            multiprocessing.connection.wait(sentinels, timeout=_PAUSE)

    def _error(self, number: int) -> Path:
        return self._together.directory / f"error-{number}.json"

    @contextlib.contextmanager
    def _noticing(self, *signals: signal.Signals) -> Iterator[None]:
        def note(number: int, frame: Any) -> None:
            self._signals += 1

        before = {one: signal.signal(one, note) for one in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def _work(
    serve: Callable[[Any, Worker], None], options: Any, worker: Worker, error_path: Path
) -> None:
    """Run a process of the service."""
    try:
        serve(options, worker)
    except JaxrecError as error:
        record = {"type": type(error).__name__, "message": str(error)}
        write_text(error_path, json.dumps(record))


def _error_of(path: Path) -> JaxrecError:
    record = read_json(path, dict[str, str], fix="start the service again")
    kind = getattr(jaxrec.core, record["type"], JaxrecError)
    return kind(record["message"])
