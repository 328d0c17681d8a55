"""Count compilations, to prove that a loop does not compile, and list the compiled programs."""

import logging
from typing import Any

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"
# JAX reports the shapes of compiled programs only in this log, at level DEBUG.
_LOGGER = logging.getLogger("jax._src.interpreters.pxla")


class CompileCounter(logging.Filter):
    """Count this process's XLA compilations in a `with` block.

    Attributes:
      count: number of compilations.
      seconds: time that they took.
      programs: the compiled programs, in order, such as "jit(step)(float32[8,16], int32[])".

    Example:
      >>> import jax.numpy as jnp
      >>> double = jax.jit(lambda x: 2 * x)
      >>> x = jnp.zeros(3)
      >>> with CompileCounter() as counter:
      ...     _ = double(x), double(x)
      >>> counter.count
      1
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.seconds = 0.0
        self.programs: list[str] = []
        self._shapes: dict[str, str] = {}
        self._level = self._shown = logging.NOTSET

    def __enter__(self) -> "CompileCounter":
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        self._level, self._shown = _LOGGER.level, _LOGGER.getEffectiveLevel()
        _LOGGER.addFilter(self)
        _LOGGER.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)
        _LOGGER.setLevel(self._level)
        _LOGGER.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Record the shapes of a program before its compilation; pass on what was shown before."""
        if str(record.msg).startswith("Compiling %s") and len(record.args or ()) >= 2:
            name, shapes, *_ = record.args  # type: ignore[misc]
            listed = ", ".join(getattr(x, "str_short", lambda x=x: str(x))() for x in shapes)  # type: ignore[union-attr]
            self._shapes[str(name)] = f"{name}({listed})"
        return record.levelno >= self._shown

    def _listen(self, event: str, duration_secs: float, **metadata: Any) -> None:
        if event == _EVENT:
            self.count += 1
            self.seconds += duration_secs
            name = str(metadata.get("fun_name", "a program"))
            self.programs.append(self._shapes.get(name, name))
