"""A progress bar with rate and ETA on a terminal, and plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jaxrec.core.processes import is_writer


class ProgressBar:
    """Progress of a piece of work, shown on standard error; only the first process shows it.

    A bar inside another one stands below it on a terminal. Elsewhere it prints nothing if it is
    done before its first line is due.

    Example:
      >>> with ProgressBar("train", 1000) as bar:
      ...     bar.update(1, "loss 1.2")
    """

    _open: ClassVar[list["ProgressBar"]] = []

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "step",
        every: float = 10.0,
        aside_every: int = 0,
        counts: bool = False,
    ) -> None:
        """Describe the work.

        Args:
          title: shown before the bar.
          total: number of units.
          unit: name of a unit.
          every: seconds between plain lines when standard error is not a terminal.
          aside_every: number of units between two blocks of `aside`; 0 for none.
          counts: take the units that `count_done` reports, from wherever the work is done.
        """
        self.title, self.total, self.unit, self.every = title, total, unit, every
        self.counts, self._counted = counts, 0
        self.note, self.aside_every = "", aside_every
        self._begun = self._printed = time.monotonic()
        self._calls = self._first = 0
        self._aside_seconds = 0.0  # since `_begun`
        self._asides: list[float] = []
        self._lines = self._skipped = 0
        self._shown = is_writer()
        self._outer: ProgressBar | None = None
        self._bar: Progress | None = None

    def __enter__(self) -> "ProgressBar":
        self._outer = self._open[-1] if self._open else None
        self._open.append(self)
        if self._shown and sys.stderr.isatty():
            self._bar = self._outer._bar if self._outer else None
            if self._bar is None:
                self._bar = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TextColumn("{task.fields[rate]}"),
                    TextColumn("{task.fields[left]}"),
                    TextColumn("{task.fields[note]}"),
                    console=Console(stderr=True),
                )
                self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, rate="", left="", note="")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.remove(self)
        if self._bar and self._outer and self._outer._bar is self._bar:
            self._bar.remove_task(self._task)
        elif self._bar:
            self._bar.stop()

    @contextlib.contextmanager
    def aside(self, what: str) -> Iterator[None]:
        """Show other work of this block in the note; the rate leaves it out, the ETA does not.

        Args:
          what: name of the work.
        """
        note, begun = self.note, time.monotonic()
        if self._bar:
            self._bar.update(self._task, note=f"{what} ...")
        elif self._shown and self._mean_aside() >= self.every:
            seconds = f"about {self._mean_aside():.0f} s"
            print(f"{self.title}: {what}, {seconds}", file=sys.stderr, flush=True)
        try:
            yield
        finally:
            self.note = note
            self._asides.append(time.monotonic() - begun)
            self._aside_seconds += self._asides[-1]

    def seconds_left(self, done: int) -> float | None:
        """Estimate the seconds that are left after `done` units; None before there is a rate.

        It counts the blocks of `aside` that are still to come, at their mean so far.
        """
        rate = self._rate(done)
        if not rate:
            return None
        return (self.total - done) / rate + self._asides_left() * self._mean_aside()

    def update(self, done: int, note: str | None = None) -> None:
        """Show how many units are done, and a note on the latest."""
        if note is not None:
            self.note = note
        now = time.monotonic()
        self._calls += 1
        if self._calls == 1 and self.aside_every:
            self._skipped = done // self.aside_every
        if self._calls <= 2:
            # A resumed run starts in the middle, and the first unit includes compilation, so the
            # rate is counted from the second update on.
            self._first, self._begun, self._aside_seconds = done, now, 0.0
        rate = self._rate(done)
        shown = f"{rate:.1f} {self.unit}s/s" if rate else ""
        seconds = self.seconds_left(done) if done < self.total else None
        left = "" if seconds is None else f"ETA {seconds:.0f} s"
        if left and self._asides_left() and not self._asides:
            left += " and validations"
        if self._bar:
            self._bar.update(self._task, completed=done, rate=shown, left=left, note=self.note)
        elif self._shown and (now - self._printed >= self.every or self._is_last_line(done)):
            self._printed, self._lines = now, self._lines + 1
            left = f", {left}" if left else ""
            line = f"{self.title}: {done}/{self.total} {shown}{left}  {self.note}"
            print(line.rstrip(), file=sys.stderr, flush=True)

    def reach(self, done: int) -> None:
        """Show so many units as done, unless `count_done` has already reported more."""
        if done > self._counted:
            self._add(done - self._counted)

    def _add(self, units: int) -> None:
        self._counted = min(self._counted + units, self.total)
        self.update(self._counted)

    def _is_last_line(self, done: int) -> bool:
        return done >= self.total and (self._outer is None or self._lines > 0)

    def _rate(self, done: int) -> float:
        seconds = time.monotonic() - self._begun - self._aside_seconds
        return (done - self._first) / max(seconds, 1e-9)

    def _asides_left(self) -> int:
        """Number of blocks of `aside` to come, the one after the last unit among them."""
        if not self.aside_every:
            return 0
        blocks = -(-self.total // self.aside_every)
        return max(blocks - self._skipped - len(self._asides), 0)

    def _mean_aside(self) -> float:
        return sum(self._asides) / len(self._asides) if self._asides else 0.0


def count_done(units: int) -> None:
    """Report units of work to the innermost bar, if it counts them; see `ProgressBar`.

    So a loop over batches shows progress wherever it runs, and its callers hand nothing down.

    Args:
      units: number of units done since the last call.

    Example:
      >>> with ProgressBar("validate", 4, "user", counts=True):
      ...     for batch in ([1, 2], [3, 4]):
      ...         count_done(len(batch))
    """
    if ProgressBar._open and ProgressBar._open[-1].counts:
        ProgressBar._open[-1]._add(units)


def count_up() -> Callable[[int], None]:
    """Return a function that takes the number of units done so far, and reports what is new.

    Example:
      >>> with ProgressBar("validate", 4, "user", counts=True):
      ...     report = count_up()
      ...     report(2)
      ...     report(4)
    """
    before = 0

    def report(done: int) -> None:
        nonlocal before
        count_done(done - before)
        before = done

    return report
