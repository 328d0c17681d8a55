#!/usr/bin/env python3
"""Damage good files at random, and check that each reader returns data or a clear error.

    python tools/fuzz.py [--reader NAME ...] [--inputs N] [--seed S]

`fuzz_readers.py` lists the readers with their good files. An input fails if the reader raises
anything but an error of jaxrec in one line, runs longer than 10 seconds, needs more than 1 GiB, or
ends the process. Each reader runs in a process of its own, which is replaced when it hangs or dies.
Failing inputs are kept with `--keep DIR`. The last line is JSON with the counts of each reader; the
exit code is 1 if an input failed.
"""

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz_readers import READERS, Folder, Reader, damaged

LIMIT_SECONDS = 10.0
LIMIT_MEMORY = 1 << 30  # bytes that one input may add to the memory of the process
_START_SECONDS = 120.0  # for the imports of a new process
_LONGEST = 600  # characters of a message


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a reader took one input.

    Attributes:
      kind: "read", "refused", or why the input failed: "traceback", "message", "hang", "memory",
        "crash".
      reason: what was raised and where, for failures.
    """

    kind: str
    reason: str = ""


def make_input(reader: Reader, samples: Sequence[Folder], seed: int, number: int) -> Folder:
    """Return the damaged input with this number; the same seed and number give the same bytes."""
    random_ = random.Random(f"{seed} {reader.name} {number}")
    folder = dict(random_.choice(samples))
    name = random_.choice([name for name in sorted(folder) if name not in reader.keep])
    other = random_.choice(samples)
    pieces = other.get(name) or random_.choice([other[key] for key in sorted(other)])
    folder[name] = damaged(folder[name], pieces, random_)
    return folder


def write(folder: Folder, directory: Path) -> Path:
    """Write the files of an input below a directory."""
    for name, content in folder.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def attempt(reader: Reader, directory: Path) -> Outcome:
    """Call the reader once."""
    from jaxrec.core import JaxrecError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(directory)
    except JaxrecError as error:
        message = str(error)
        if not message or "\n" in message or len(message) > _LONGEST:
            return Outcome("message", f"an error of {len(message)} characters: {message[:60]!r}")
        return Outcome("refused")
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "jaxrec" in frame.filename] or list(frames)
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return Outcome("traceback", f"{type(error).__name__} at {place}: {str(error)[:80]!r}")
    return Outcome("read")


def serve(name: str, seed: int, channel: Any) -> None:
    """Process of a reader: answer each input number with (kind, reason, peak bytes)."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        reader = next(each for each in READERS if each.name == name)
        samples = reader.samples()
        # Reading good files first imports everything, so that memory and times are the input's.
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            for number, sample in enumerate(samples):
                reader.read(write(sample, Path(scratch) / str(number)))
        before = _peak()
        channel.send(before)
        while True:
            number = channel.recv()
            with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
                write(make_input(reader, samples, seed, number), Path(scratch))
                outcome = attempt(reader, Path(scratch))
            after = _peak()
            if after - before > LIMIT_MEMORY:
                outcome = Outcome("memory", f"{(after - before) >> 20} MiB for one input")
            before = after
            channel.send((outcome.kind, outcome.reason, after))


def _peak() -> int:
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


class Worker:
    """The process of a reader, started when it is needed and again after it was ended."""

    def __init__(self, reader: Reader, seed: int):
        self._arguments = (reader.name, seed)
        self._process: Any = None
        self._channel: Any = None

    def ask(self, number: int, limit: float = LIMIT_SECONDS) -> tuple[Outcome, int]:
        """Return the outcome of an input, and the peak memory of the process in bytes."""
        if self._process is None:
            self._start()
        self._channel.send(number)
        if not self._channel.poll(limit):
            self.close()
            return Outcome("hang", f"still running after {limit:g} s"), 0
        try:
            kind, reason, peak = self._channel.recv()
        except EOFError:
            self._process.join(1)
            code = self._process.exitcode
            self.close()
            return Outcome("crash", f"the process ended with code {code}"), 0
        return Outcome(kind, reason), peak

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._channel.close()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._channel, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(*self._arguments, theirs), daemon=True)
        self._process.start()
        theirs.close()
        try:
            if not self._channel.poll(_START_SECONDS):
                raise EOFError
            self._channel.recv()
        except EOFError:
            self.close()
            raise RuntimeError(
                f"reader {self._arguments[0]!r} did not read its good files; see the message above"
            ) from None


def fuzz(reader: Reader, inputs: int, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Try a reader on `inputs` damaged files and return its row of the report."""
    worker, samples = Worker(reader, seed), reader.samples()
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    slowest, peak = 0.0, 0
    try:
        for number in range(inputs):
            start = time.perf_counter()
            outcome, memory = worker.ask(number)
            if number:  # the first one starts the process
                slowest = max(slowest, time.perf_counter() - start)
            peak = max(peak, memory)
            kinds[outcome.kind] += 1
            if outcome.reason:
                reasons[f"{outcome.kind}: {outcome.reason}"] += 1
                if keep is not None:
                    write(
                        make_input(reader, samples, seed, number), keep / f"{reader.name}-{number}"
                    )
    finally:
        worker.close()
    return {
        "inputs": inputs,
        "read": kinds["read"],
        "refused": kinds["refused"],
        "failed": inputs - kinds["read"] - kinds["refused"],
        "failures": dict(reasons.most_common()),
        "slowest_s": round(slowest, 2),
        "peak_mib": peak >> 20,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the chosen readers, print a table and the JSON line, and return the exit code."""
    names = [reader.name for reader in READERS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--reader", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--inputs", type=int, default=2000, help="damaged files for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="directory for the inputs that fail")
    options = parser.parse_args(arguments)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    report = {}
    print(f"{'reader':12} {'inputs':>8} {'read':>8} {'refused':>8} {'failed':>8} {'MiB':>6}")
    for reader in (each for each in READERS if each.name in options.reader):
        row = fuzz(reader, options.inputs, options.seed, options.keep)
        report[reader.name] = row
        counts = " ".join(f"{row[name]:8}" for name in ("inputs", "read", "refused", "failed"))
        print(f"{reader.name:12} {counts} {row['peak_mib']:6}", flush=True)
        for reason, count in row["failures"].items():
            print(f"  {count:6} {reason}")
    failed = sum(row["failed"] for row in report.values())
    print(json.dumps({"seed": options.seed, "failed": failed, "readers": report}))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
