"""How fast a run is and what it uses: the metrics beside the loss."""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxrec.core.compiles import CompileCounter
from jaxrec.core.flops import peak_flops

# From a batch on the host to the tokens that the model reads of it, and the cells they lie in.
Measure = Callable[[Any], tuple[int, int]]


class Meter:
    """Sums over the steps between two lines of metrics.

    Dispatch is asynchronous, so a step's time shows only in the sum: read `values` after something
    of the last step has been fetched.
    """

    def __init__(self, compiles: CompileCounter, measure: Measure | None = None) -> None:
        """Start the clock.

        Args:
          compiles: counts this run's compilations.
          measure: tokens of a batch; None to log none.
        """
        self._compiles = compiles
        self._measure = measure
        self._peak = peak_flops(jax.devices()[0].device_kind)
        self.restart()

    def restart(self) -> None:
        """Forget the steps so far, such as after a validation, which is no training."""
        self._begun = time.monotonic()
        self._steps = self._tokens = self._cells = 0
        self._waited = self._flops = 0.0

    def add(self, batch: Any, flops: float, waited: float) -> None:
        """Count a step.

        Args:
          batch: on the host; of several processes, this one's part.
          flops: of the step, over all devices.
          waited: seconds until the batch was there.
        """
        self._steps += 1
        self._flops += flops
        self._waited += waited
        if self._measure:
            tokens, cells = self._measure(batch)
            self._tokens, self._cells = self._tokens + tokens, self._cells + cells

    def values(self) -> Mapping[str, float]:
        """Metrics of the steps since the last call, which are then forgotten.

        Returns:
          step_seconds; input_share, the part of it spent waiting for batches; tokens_per_second,
          over all processes as if each had this one's number; padding, a share of cells;
          teraflops, of the model's products per second and device; mfu, as a share of what the
          device's data sheet promises in bf16 (where known); compiles so far; peak memory in bytes,
          of the host process and the first device (where it tells).
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
        if self._cells:
            found["tokens_per_second"] = self._tokens * jax.process_count() / seconds
            found["padding"] = 1.0 - self._tokens / self._cells
        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        if peak is not None:
            found["device_peak_bytes"] = float(peak)
        self.restart()
        return found


def host_peak_bytes() -> int:
    """Most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
