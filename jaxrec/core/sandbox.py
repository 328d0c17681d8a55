"""A sandbox for Python text that nobody has read, such as a program that a model wrote.

Each program runs in an interpreter of its own, in an empty directory, with limits on its time,
memory, output and files. It starts no processes and no threads, reaches no network, and reads only
the standard library. On Linux the kernel refuses the rest: resource limits, no capabilities and
`no_new_privs`, a network without interfaces and a disk of its own (user namespaces), Landlock for
files, and a seccomp filter for processes, sockets and signals. `Outcome.guards` lists those that
the system granted. Where it grants fewer, such as outside of Linux, the audit hook of the
interpreter remains, which sees Python's own calls and can be gone around by a determined program.

What the sandbox does not protect from:

- A program that means to deceive can report a success it did not have, because it runs in the
  process that reports: give secrets and hidden tests to no such program.
- Errors of the kernel, and channels such as timing and the load of the machine.
- A program may read the directories of the standard library, and `os.stat` tells it whether a file
  exists anywhere: names of files are no secret.
- Without a disk of its own (`"disk"` in the guards), each file is limited in size and their number
  is not.
- The limit on memory counts one program; `workers` programs take that many times as much.
"""

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

from jaxrec.core.errors import ConfigError, ResourceError
from jaxrec.core.ranges import Count, Positive, check_ranges

Ending = Literal["ok", "exception", "timeout", "memory", "processes", "network", "file"]

_CHILD = Path(__file__).with_name("sandbox_child.py")
_REPORT_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use.

    Attributes:
      seconds: wall time.
      cpu_seconds: CPU time.
      memory: bytes of address space; an interpreter takes some 30 MB of it.
      file_size: bytes of the largest file, and of all files together where the program has a disk
        of its own.
      output: bytes kept of the standard output, and as many of the standard error.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> Limits(seconds=3).memory == 512 * 2**20
      True
    """

    seconds: Positive = 10.0
    cpu_seconds: Count = 5
    memory: int = 512 << 20
    file_size: int = 16 << 20
    output: Count = 1 << 16

    def __post_init__(self) -> None:
        check_ranges(self, "")
        for name, least in (("memory", 64 << 20), ("file_size", 1 << 12)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} must be a number of bytes, at least {least}: {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended.

    Attributes:
      ended: "ok" if it ran to its end; "exception" if it raised an error, left early or crashed;
        otherwise what it was stopped for.
      message: the error, or what was refused; "" for "ok".
      stdout: its standard output, cut at `Limits.output`.
      stderr: its standard error with the traceback, cut at the same length.
      cut: whether one of the two is cut.
      seconds: wall time, with the start of the interpreter.
      guards: the guards that the system granted.
    """

    ended: Ending
    message: str = ""
    stdout: str = ""
    stderr: str = ""
    cut: bool = False
    seconds: float = 0.0
    guards: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the program ran to its end."""
        return self.ended == "ok"


def run_python(code: str, limits: Limits | None = None, *, stdin: str = "") -> Outcome:
    r"""Run a program in the sandbox.

    The program is a module named `__main__`. It runs with the same hash seed each time, so that
    the order of a set is the same each time. A call of `sys.exit` counts as an exception, because
    what stands after it did not run.

    Args:
      code: Python text.
      limits: what it may use; None for the defaults.
      stdin: its standard input.

    Returns:
      How it ended, and what it printed.

    Raises:
      ResourceError: the interpreter of the sandbox does not start.

    Example:
      >>> run_python("print(6 * 7)").stdout
      '42\n'
      >>> outcome = run_python("while True: pass", Limits(seconds=0.5))
      >>> outcome.ended, outcome.message
      ('timeout', 'the program took more than 0.5 seconds')
    """
    limits = Limits() if limits is None else limits
    with tempfile.TemporaryDirectory(prefix="jaxrec-sandbox-") as place:
        directory = Path(place).resolve()
        box = directory / "box"
        box.mkdir()
        task = {
            "code": code,
            "box": str(box),
            "parent": os.getpid(),
            "limits": dataclasses.asdict(limits),
        }
        (directory / "task.json").write_text(json.dumps(task), encoding="ascii")
        given = directory / "stdin"
        given.write_bytes(stdin.encode("utf-8", "surrogatepass"))
        started = time.monotonic()
        with given.open("rb") as file:
            ran = _run(directory, box, file, limits)
        return _outcome(ran, limits, time.monotonic() - started)


def run_many(
    codes: Sequence[str], limits: Limits | None = None, *, workers: int = 2
) -> list[Outcome]:
    """Run many programs in sandboxes of their own, several at a time.

    Args:
      codes: Python texts.
      limits: what each of them may use; None for the defaults.
      workers: number of programs that run at a time. With more of them than CPU cores, a program
        may reach its limit of wall time because it waits for the others.

    Returns:
      One outcome for each program, in their order.

    Raises:
      ConfigError: `workers` below 1.
      ResourceError: see `run_python`.

    Example:
      >>> [outcome.ended for outcome in run_many(["x = 1", "x = 1 / 0"])]
      ['ok', 'exception']
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    if isinstance(codes, str):
        raise ConfigError("codes must be a list of programs, got one text; put it into a list")
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(lambda code: run_python(code, limits), codes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Ran:
    """What is left of a process: its exit status, what came through its pipes, and cuts."""

    status: int
    timed_out: bool
    stdout: bytes
    stderr: bytes
    report: bytes
    cut: bool


def _run(directory: Path, box: Path, stdin: Any, limits: Limits) -> _Ran:
    # The flags are those of -I, except that the environment, which is empty, sets the hash seed.
    command = [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", str(_CHILD)]
    environment = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "HOME": str(box), "TMPDIR": str(box)}
    here, there = os.pipe()
    try:
        process = subprocess.Popen(
            [*command, str(directory / "task.json"), str(there)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=box,
            env=environment,
            pass_fds=(there,),
            start_new_session=True,
        )
    except BaseException:
        os.close(here)
        raise
    finally:
        os.close(there)
    try:
        with process:
            try:
                timed_out, texts, cut = _read(process, here, limits)
            finally:
                _kill(process)
    finally:
        os.close(here)
    return _Ran(
        status=process.returncode,
        timed_out=timed_out,
        stdout=texts[0],
        stderr=texts[1],
        report=texts[2],
        cut=cut,
    )


def _read(
    process: "subprocess.Popen[bytes]", report: int, limits: Limits
) -> tuple[bool, list[bytes], bool]:
    """Read three pipes until they close or the time is over; what is too long is thrown away."""
    assert process.stdout is not None and process.stderr is not None
    pipes = (process.stdout.fileno(), process.stderr.fileno(), report)
    most = (limits.output, limits.output, _REPORT_BYTES)
    texts, cut = [bytearray(), bytearray(), bytearray()], False
    deadline = time.monotonic() + limits.seconds
    with selectors.DefaultSelector() as selector:
        for place, pipe in enumerate(pipes):
            selector.register(pipe, selectors.EVENT_READ, place)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return True, [bytes(text) for text in texts], cut
            for key, _ in selector.select(left):
                part = os.read(key.fd, 1 << 16)
                if not part:
                    selector.unregister(key.fd)
                    continue
                text, room = texts[key.data], most[key.data] - len(texts[key.data])
                text += part[:room]
                cut |= len(part) > room
    return False, [bytes(text) for text in texts], cut


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all processes of its group; it must not have been waited for yet."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _outcome(ran: _Ran, limits: Limits, seconds: float) -> Outcome:
    lines = [_record(line) for line in ran.report.split(b"\n")]
    records = [record for record in lines if record]
    errors = ran.stderr.decode("utf-8", "replace")
    started = bool(records) and "guards" in records[0]
    if not started and not ran.timed_out:
        raise ResourceError(
            f"the interpreter of the sandbox did not start ({_CHILD.name} ended with status "
            f"{ran.status}); it printed {errors[-500:]!r}"
        )
    ended, message = _ending(ran, records[1:], limits, seconds)
    return Outcome(
        ended=ended,
        message=message,
        stdout=ran.stdout.decode("utf-8", "replace"),
        stderr=errors,
        cut=ran.cut,
        seconds=seconds,
        guards=tuple(records[0]["guards"]) if started else (),
    )


def _record(line: bytes) -> dict[str, Any] | None:
    """Read a line of the report; the program may have written anything into the pipe."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _ending(
    ran: _Ran, records: Sequence[dict[str, Any]], limits: Limits, seconds: float
) -> tuple[Ending, str]:
    if ran.timed_out:
        return "timeout", f"the program took more than {limits.seconds} seconds"
    endings: tuple[Ending, ...] = get_args(Ending)
    for record in records:
        for ending in endings:
            if record.get("kind") == ending:
                return ending, str(record.get("message", ""))
    # A program may ignore the signal of the soft limit; the hard limit, a second later, kills.
    spent = seconds >= limits.cpu_seconds
    if ran.status == -signal.SIGXCPU or (ran.status == -signal.SIGKILL and spent):
        return "timeout", f"the program took more than {limits.cpu_seconds} seconds of CPU time"
    if ran.status == -signal.SIGKILL:
        return "memory", "the system killed the program, probably for want of memory"
    if ran.status < 0:
        return "exception", f"the program crashed ({signal.Signals(-ran.status).name})"
    return "exception", f"the program left early, with exit status {ran.status}"
