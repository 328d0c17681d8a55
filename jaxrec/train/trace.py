"""A profile of a few steps, for TensorBoard's profiler, XProf or Perfetto."""

from pathlib import Path

import jax

# Steps before the trace, during which programs load and caches fill, and steps inside the trace.
_BEFORE, _STEPS = 5, 5


class Trace:
    """Writes one trace of steps 6 to 10 of a session, or nothing without a directory."""

    def __init__(self, directory: Path | None, first: int) -> None:
        """Plan the trace.

        Args:
          directory: receives `plugins/profile/...`; None writes no trace.
          first: number of steps done before the session.
        """
        self._directory = directory
        self._begin, self._end = first + _BEFORE, first + _BEFORE + _STEPS
        self._running = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def before(self, step: int) -> jax.profiler.StepTraceAnnotation:
        """Start the trace if it is time; the step must run in the returned context."""
        if self._directory is not None and step == self._begin:
            self._directory.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._directory))
            self._running = True
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def after(self, step: int, result: object) -> None:
        """Stop the trace if it is time, after the last step's `result` is available."""
        if self._running and step >= self._end:
            jax.block_until_ready(result)
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
