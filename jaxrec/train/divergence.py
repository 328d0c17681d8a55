"""Watch the losses without waiting for them: a look now and then finds the exact step and batch.

Numbers stay on the devices until somebody looks, so the watch costs a step nothing. The batches are
not kept either: they are drawn again from the iterator's position at the last look.
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
from jaxrec.train.checkpoint import iterator_state
from jaxrec.train.checksums import Checked, check

BAD_BATCH = "bad_batch.npz"
_WATCHED = ("loss", "gradient_norm")


class LossWatch:
    """Losses and gradient norms of the steps since the last look."""

    def __init__(
        self,
        batches: Any,
        sharding: Sharding,
        directory: Path,
        max_ratio: float,
        first_loss: float | None = None,
    ) -> None:
        """Begin before the next step.

        Args:
          batches: the iterator that the steps draw from.
          sharding: of a whole batch.
          directory: gets the batch that went wrong.
          max_ratio: a loss explodes above so many times the first one, or 1 if that is less; 0
            for never.
          first_loss: of the run's first step; None before there is one.
        """
        self.first_loss = first_loss
        self._batches, self._sharding, self._directory = batches, sharding, directory
        self._max_ratio = max_ratio
        self._since: list[tuple[int, dict[str, jax.Array]]] = []
        self._last: tuple[Any, int] | None = None  # where the last batch that was looked at began
        self._begin()

    def add(self, step: int, found: dict[str, jax.Array]) -> None:
        """Note what a step gave, as it is on the devices."""
        self._since.append((step, {name: found[name] for name in _WATCHED}))

    def look(self) -> None:
        """Read the numbers since the last look.

        Raises:
          DivergedError: one is not finite, or a loss explodes. The batch of that step is written to
            `bad_batch.npz`, whole, under the names that its fields have.
        """
        seen = jax.device_get([values for _, values in self._since])
        for number, values in enumerate(seen):
            loss, norm = (float(values[name]) for name in _WATCHED)
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
                    f"explodes: above train.max_loss_ratio {self._max_ratio:g} times the first "
                    f"loss, {self.first_loss:.4g}, or 1",
                )
        if self._since:
            self._last = self._start, len(self._since) - 1
        self._since.clear()
        self._begin()

    def check(self, step: int, state: Any) -> Checked:
        """Look, and read the state that the last step left as well.

        Raises:
          DivergedError: as `look`, or an array of the state is not finite.
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
        # A copy: iterators may give out the state that they go on changing.
        self._start = json.loads(json.dumps(iterator_state(self._batches)))

    def _report(self, number: int, loss: float, norm: float, what: str) -> None:
        step, path = self._since[number][0], self._write(self._start, number)
        raise DivergedError(
            f"training diverged: at step {step} the loss or its gradient {what}; loss {loss:g}, "
            f"gradient norm {norm:g}; {_advice(path)}"
        )

    def _write(self, start: Any, number: int) -> Path:
        """Write the batch that is so many after a position of the iterator."""
        self._batches.set_state(start)
        for _ in range(number):
            next(self._batches)
        batch = global_batch(next(self._batches), self._sharding)
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
        f"the batch is in {path}, and the checkpoints are from before. The same command would come "
        "to the same step: look at the batch, or start over in another --run-dir with a lower "
        "train.lr or more train.warmup_steps"
    )
