"""How fast a run is and what it uses: the metrics beside the loss."""

import contextlib
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxrec.core import CompileCounter, mean, peak_flops

# From a batch on the host to the tokens that the model reads of it, and the cells they lie in.
Measure = Callable[[Any], tuple[int, int]]


class Meter:
    """Sums over the steps between two lines of metrics, and compilations over a sitting.

    Dispatch is asynchronous, so a step's time shows only in the sum: read `values` after something
    of the last step has been fetched.
    """

    def __init__(
        self, compiles: CompileCounter, measure: Measure | None = None, parts: int = 1
    ) -> None:
        """Start the clock.

        Args:
          compiles: counts this process's compilations.
          measure: tokens of a batch; None to log none.
          parts: of a whole batch, of which each process has one.
        """
        self._compiles = compiles
        self._measure = measure
        self._parts = parts
        self._peak = peak_flops(jax.devices()[0].device_kind)
        self._expected: int | None = None  # compilations of the warm-up, and those warned of
        self.surplus = 0
        self.restart()

    def restart(self) -> None:
        """Forget the steps so far, such as after a validation, which is no training."""
        self._begun = time.monotonic()
        self._steps = self._tokens = self._cells = 0
        self._waited = self._flops = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time in it as spent waiting for a batch."""
        begun = time.monotonic()
        yield
        self._waited += time.monotonic() - begun

    def add(self, batch: Any, flops: float) -> None:
        """Count a step.

        Args:
          batch: on the host; of several processes, this one's part.
          flops: of the step, over all devices.
        """
        self._steps += 1
        self._flops += flops
        if self._measure:
            tokens, cells = self._measure(batch)
            self._tokens, self._cells = self._tokens + tokens, self._cells + cells

    def values(self) -> dict[str, float]:
        """Metrics of the steps since the last call, which are then forgotten.

        Returns:
          step_seconds; input_share, the part of it spent waiting for batches; tokens_per_second, of
          all processes; padding, a share of cells; teraflops, of the model's products per second
          and device; mfu, their share of what the device's data sheet promises in bf16 (where
          known); compiles of the sitting so far; peak memory in bytes, of this process on the host
          and of its first device (where it tells).
        """
        seconds = max(time.monotonic() - self._begun, 1e-9)
        rate = self._flops / seconds / jax.device_count()
        found = {
            "step_seconds": seconds / max(self._steps, 1),
            "input_share": self._waited / seconds,
            "compiles": float(self._compiles.count),
            "host_peak_bytes": float(host_peak_bytes()),
        }
        if self._flops:
            found["teraflops"] = rate / 1e12
            if self._peak:
                found["mfu"] = rate / self._peak
        if self._measure:
            whole = mean({"tokens": float(self._tokens), "cells": float(self._cells)})
            found["tokens_per_second"] = self._parts * whole["tokens"] / seconds
            found["padding"] = 1.0 - whole["tokens"] / max(whole["cells"], 1.0)
        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        if peak is not None:
            found["device_peak_bytes"] = float(peak)
        self.restart()
        return found

    def warm(self, step: int) -> None:
        """Take the compilations so far for warm-up, the first time; later ones are a warning."""
        if self._expected is None:
            self._expected = self._compiles.count
        self.warn(step)

    def warn(self, step: int) -> None:
        """Warn of programs that were compiled since the warm-up, by their shapes."""
        if self._expected is None or self._compiles.count == self._expected:
            return
        programs = self._compiles.programs[self._expected :]
        self._expected = self._compiles.count
        self.surplus += len(programs)
        listed = "; ".join(programs[:5]) + ("; ..." if len(programs) > 5 else "")
        warnings.warn(
            f"up to step {step} programs were compiled that the first validation had not needed, "
            f"which costs time whenever shapes change: {listed}",
            stacklevel=2,
        )


def host_peak_bytes() -> int:
    """Most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
