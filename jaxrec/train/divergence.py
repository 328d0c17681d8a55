"""Detection of divergence without waiting for the losses: it finds the exact step and batch.

The numbers stay on the devices until they are read at the next check, so watching does not slow
down a step. The batches are not kept either: they are drawn again from the iterator's position at
the last check. Only batches that depend on the parameters are kept until the next check.

A step can also report that what it was given is wrong: a metric whose name begins with `FAULT` is a
number of faults, and the rest of its name says which. Anything but 0 stops the run.
"""

import io
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from jaxrec.core import DivergedError, global_batch, on_writer, write_bytes
from jaxrec.train.batches import OnPolicy
from jaxrec.train.checkpoint import iterator_state
from jaxrec.train.checksums import Checked, check

BAD_BATCH = "bad_batch.npz"
FAULT = "fault/"
_WATCHED = ("loss", "gradient_norm")


class LossWatch:
    """Losses and gradient norms of the steps since the last check."""

    def __init__(
        self,
        batches: Any,
        sharding: Sharding,
        directory: Path,
        max_ratio: float,
        first_loss: float | None = None,
    ) -> None:
        """Start watching before the next step.

        Args:
          batches: the iterator that the steps draw from.
          sharding: sharding of a whole batch.
          directory: receives the batch at which training diverged.
          max_ratio: a loss explodes if it exceeds this many times the first loss, or this number if
            the first loss is below 1; 0 disables the limit.
          first_loss: loss of the run's first step; None before the first step.
        """
        self.first_loss = first_loss
        self._batches, self._sharding, self._directory = batches, sharding, directory
        self._max_ratio = max_ratio
        self._since: list[tuple[int, dict[str, jax.Array], Any]] = []
        # How to draw the last checked batch again: a position of the iterator, batches to skip, and
        # the batch itself if it cannot be drawn again.
        self._last: tuple[Any, int, Any] | None = None
        self._redraws = not isinstance(batches, OnPolicy)
        self._begin()

    def add(self, step: int, metrics: dict[str, jax.Array], batch: Any) -> None:
        """Record the metrics of a step, without fetching them from the devices."""
        watched = {n: x for n, x in metrics.items() if n in _WATCHED or n.startswith(FAULT)}
        self._since.append((step, watched, None if self._redraws else batch))

    def look(self) -> None:
        """Read the numbers recorded since the last call.

        Raises:
          DivergedError: a number is not finite, or a loss explodes. The whole batch of that step is
            written to `bad_batch.npz`, under the names of its fields.
        """
        seen = jax.device_get([values for _, values, _ in self._since])
        for number, values in enumerate(seen):
            loss, norm = (float(values[name]) for name in _WATCHED)
            for name, count in values.items():
                if name.startswith(FAULT) and count != 0:
                    self._refuse(number, name.removeprefix(FAULT).replace("_", " "))
            if self.first_loss is None:
                self.first_loss = loss
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._report(number, loss, norm, "is not finite")
            limit = self._max_ratio * max(abs(self.first_loss), 1.0)
            if limit and loss > limit:
                self._report(
                    number,
                    loss,
                    norm,
                    f"explodes: the loss is above train.max_loss_ratio {self._max_ratio:g} times "
                    f"the first loss, {self.first_loss:.4g}, or 1 if that is larger",
                )
        if self._since:
            self._last = self._start, len(self._since) - 1, self._since[-1][2]
        self._since.clear()
        self._begin()

    def check(self, step: int, state: Any) -> Checked:
        """Read the recorded numbers, and the state after the last step.

        Raises:
          DivergedError: as in `look`, or an array of the state is not finite.
        """
        self.look()
        checked = check(state)
        if checked.not_finite and self._last:
            path = self._write(*self._last)
            raise DivergedError(
                f"training diverged: step {step} left {checked.not_finite[0]} not finite "
                f"({len(checked.not_finite)} of {len(checked.leaves)} arrays); {_advice(path)}"
            )
        return checked

    def _begin(self) -> None:
        # The position is copied because an iterator may keep changing the object it returned.
        self._start = None
        if self._redraws:
            self._start = json.loads(json.dumps(iterator_state(self._batches)))

    def _report(self, number: int, loss: float, norm: float, what: str) -> None:
        step, _, kept = self._since[number]
        path = self._write(self._start, number, kept)
        raise DivergedError(
            f"training diverged: at step {step} the loss or its gradient {what}; loss {loss:g}, "
            f"gradient norm {norm:g}; {_advice(path)}"
        )

    def _refuse(self, number: int, what: str) -> None:
        step, _, kept = self._since[number]
        path = self._write(self._start, number, kept)
        raise DivergedError(
            f"training stopped: step {step} met {what}; the batch is in {path}, and the newest "
            "checkpoint is older than this step; mend what makes them, and start the same command "
            "again to resume"
        )

    def _write(self, start: Any, number: int, kept: Any) -> Path:
        """Write `kept`, or else the batch `number` batches after a position of the iterator."""
        if self._redraws:
            self._batches.set_state(start)
            for _ in range(number):
                next(self._batches)
            kept = next(self._batches)
        batch = global_batch(kept, self._sharding)
        if jax.process_count() > 1:
            batch = multihost_utils.process_allgather(batch, tiled=True)
        named = {
            jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
        }
        stream, path = io.BytesIO(), self._directory / BAD_BATCH
        np.savez(stream, allow_pickle=False, **named)
        on_writer(lambda: write_bytes(path, stream.getvalue()))
        return path


def _advice(path: Path) -> str:
    return (
        f"the batch is in {path}, and the checkpoints are older than this step. The same command "
        "would diverge at the same step: inspect the batch, or start over in another --run-dir "
        "with a lower train.lr or more train.warmup_steps"
    )
