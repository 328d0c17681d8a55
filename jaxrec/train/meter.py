"""Speed and resource use of a run: the metrics that are logged beside the loss."""

import contextlib
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxrec.core import CompileCounter, mean, peak_flops

# Maps a batch on the host to the number of tokens that the model reads and the cells they occupy.
Measure = Callable[[Any], tuple[int, int]]


class Meter:
    """Sums over the steps between two lines of metrics, and compilations over a session.

    JAX dispatches steps asynchronously, so the time of a single step cannot be measured. Call
    `values` after a result of the last step has been fetched.
    """

    def __init__(
        self, compiles: CompileCounter, measure: Measure | None = None, parts: int = 1
    ) -> None:
        """Start the clock.

        Args:
          compiles: counts this process's compilations.
          measure: counts the tokens of a batch; None logs no tokens.
          parts: number of parts of a whole batch, of which each process reads one.
        """
        self._compiles = compiles
        self._measure = measure
        self._parts = parts
        self._peak = peak_flops(jax.devices()[0].device_kind)
        self._expected: int | None = None  # compilations during warm-up, and those warned about
        self.surplus = 0
        self.restart()

    def restart(self) -> None:
        """Forget the steps so far, for instance after a validation, which is not training."""
        self._begun = time.monotonic()
        self._steps = self._tokens = self._cells = 0
        self._waited = self._flops = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside the context as time spent waiting for a batch."""
        begun = time.monotonic()
        yield
        self._waited += time.monotonic() - begun

    def add(self, batch: Any, flops: float) -> None:
        """Count a step.

        Args:
          batch: the batch on the host; with several processes, this process's part.
          flops: floating-point operations of the step, over all devices.
        """
        self._steps += 1
        self._flops += flops
        if self._measure:
            tokens, cells = self._measure(batch)
            self._tokens, self._cells = self._tokens + tokens, self._cells + cells

    def values(self) -> dict[str, float]:
        """Return the metrics of the steps since the last call, and forget these steps.

        Returns:
          step_seconds; input_share, the share of the time spent waiting for batches;
          tokens_per_second of all processes; padding, the share of cells without a token;
          teraflops, the model's matrix products per second and device; mfu, their share of the
          device's peak in bf16 according to its data sheet (if known); compiles of the session so
          far; host_peak_bytes of this process, and device_peak_bytes of its first device (if the
          device reports it).
        """
        seconds = max(time.monotonic() - self._begun, 1e-9)
        rate = self._flops / seconds / jax.device_count()
        metrics = {
            "step_seconds": seconds / max(self._steps, 1),
            "input_share": self._waited / seconds,
            "compiles": float(self._compiles.count),
            "host_peak_bytes": float(host_peak_bytes()),
        }
        if self._flops:
            metrics["teraflops"] = rate / 1e12
            if self._peak:
                metrics["mfu"] = rate / self._peak
        if self._measure:
            whole = mean({"tokens": float(self._tokens), "cells": float(self._cells)})
            metrics["tokens_per_second"] = self._parts * whole["tokens"] / seconds
            metrics["padding"] = 1.0 - whole["tokens"] / max(whole["cells"], 1.0)
        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        if peak is not None:
            metrics["device_peak_bytes"] = float(peak)
        self.restart()
        return metrics

    def warm(self, step: int) -> None:
        """End the warm-up at the first call; later compilations are reported by `warn`."""
        if self._expected is None:
            self._expected = self._compiles.count
        self.warn(step)

    def warn(self, step: int) -> None:
        """Warn about programs that were compiled since the warm-up, naming their shapes."""
        if self._expected is None or self._compiles.count == self._expected:
            return
        programs = self._compiles.programs[self._expected :]
        self._expected = self._compiles.count
        self.surplus += len(programs)
        listed = "; ".join(programs[:5]) + ("; ..." if len(programs) > 5 else "")
        warnings.warn(
            f"up to step {step} programs were compiled after the warm-up had ended; a change of "
            f"shapes causes this, and each compilation costs time: {listed}",
            stacklevel=2,
        )


def host_peak_bytes() -> int:
    """Peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
