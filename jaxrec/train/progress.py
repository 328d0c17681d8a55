"""A progress bar with rate and ETA on a terminal, and plain lines elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jaxrec.core import is_writer


class ProgressBar:
    """Progress of a piece of work, shown on standard error; only the first process shows it.

    Example:
      >>> with ProgressBar("train", 1000) as bar:
      ...     bar.update(1, "loss 1.2")
    """

    def __init__(self, title: str, total: int, unit: str = "step", every: float = 10.0) -> None:
        """Describe the work.

        Args:
          title: shown before the bar.
          total: number of units.
          unit: name of a unit.
          every: seconds between plain lines when standard error is not a terminal.
        """
        self.title, self.total, self.unit, self.every = title, total, unit, every
        self.note = ""
        self._begun = self._printed = time.monotonic()
        self._calls = self._first = 0
        self._shown = is_writer()
        self._bar: Progress | None = None
        if self._shown and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(title, total=total, rate="", note="")

    def __enter__(self) -> "ProgressBar":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, note: str | None = None) -> None:
        """Show how many units are done, and a note on the latest."""
        if note is not None:
            self.note = note
        now = time.monotonic()
        self._calls += 1
        if self._calls <= 2:
            # A resumed run starts in the middle, and the first unit includes compilation, so the
            # rate is counted from the second update on.
            self._first, self._begun = done, now
        rate = (done - self._first) / max(now - self._begun, 1e-9)
        shown = f"{rate:.1f} {self.unit}s/s" if rate else ""
        if self._bar:
            self._bar.update(self._task, completed=done, rate=shown, note=self.note)
        elif self._shown and (now - self._printed >= self.every or done >= self.total):
            self._printed = now
            left = f", ETA {(self.total - done) / rate:.0f} s" if rate and done < self.total else ""
            line = f"{self.title}: {done}/{self.total} {shown}{left}  {self.note}"
            print(line.rstrip(), file=sys.stderr, flush=True)
