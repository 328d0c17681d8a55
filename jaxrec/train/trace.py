"""A profile of some steps, for TensorBoard's profiler, XProf or Perfetto."""

from pathlib import Path

import jax

# Steps before the trace, in which programs are loaded and caches fill, and steps in it.
_BEFORE, _STEPS = 5, 5


class Trace:
    """Writes one trace of steps 6 to 10 of a sitting; nothing where no directory is given."""

    def __init__(self, directory: Path | None, first: int) -> None:
        """Plan the trace.

        Args:
          directory: gets `plugins/profile/...`; None for no trace.
          first: number of steps that the sitting starts from.
        """
        self._directory = directory
        self._begin, self._end = first + _BEFORE, first + _BEFORE + _STEPS
        self._running = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def before(self, step: int) -> jax.profiler.StepTraceAnnotation:
        """Start the trace if it is time; the step runs in the context that is returned."""
        if self._directory is not None and step == self._begin:
            self._directory.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._directory))
            self._running = True
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def after(self, step: int, result: object) -> None:
        """Stop the trace if it is time, once the last step's `result` is there."""
        if self._running and step >= self._end:
            jax.block_until_ready(result)
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
