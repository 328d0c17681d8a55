"""What runs in the processes of a Ray cluster; importing it loads neither Ray nor JAX."""

import collections
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from jaxrec.core import errors
from jaxrec.core.errors import ConfigError, JaxrecError, OutOfMemory, ResourceError
from jaxrec.core.memory import is_out_of_memory

# How often a piece may be begun: a worker can be killed for reasons that lie outside the piece.
MOST_ATTEMPTS = 4


class Attempts:
    """Counts how often each piece was begun, in a process of its own, which outlives workers."""

    def __init__(self) -> None:
        self._begun: collections.Counter[int] = collections.Counter()

    def begin(self, number: int) -> int:
        """Count, and return how often the piece was begun before."""
        self._begun[number] += 1
        return self._begun[number] - 1


class RayWorker:
    """Does pieces of work; Ray Data makes one for each actor.

    An error is an answer too, so that it arrives as it was raised, and no piece is tried again for
    an error that it would raise again.
    """

    def __init__(self, job: bytes, environment: Mapping[str, str | None], attempts: Any) -> None:
        """Set the environment, which must happen before JAX is imported.

        Args:
          job: a `Job`, pickled. It is read with the first piece, after the environment was set.
          environment: variables; None removes one.
          attempts: handle of the actor that counts.
        """
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        self._accelerated = environment.get("JAX_PLATFORMS") is None
        self._job, self._attempts = job, attempts
        self._work: Callable[[Any], Any] | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Do one piece: a batch is a row with "number" and "piece"."""
        import ray

        number = int(batch["number"][0])
        before = ray.get(self._attempts.begin.remote(number))
        try:
            result, error = self._result(number, batch["piece"][0], before), ("", "", "")
        except Exception as raised:
            result, error = b"", described(raised)
        names = ("number", "result", "error", "message", "trace")
        return {name: [value] for name, value in zip(names, (number, result, *error), strict=True)}

    def _result(self, number: int, piece: bytes, before: int) -> bytes:
        """The result of a piece, pickled."""
        from ray import cloudpickle

        if before >= MOST_ATTEMPTS:
            raise ResourceError(
                f"piece {number} of the work ended its worker {before} times, perhaps for lack of "
                "memory; see Ray's logs, use fewer workers on a machine, or smaller shards"
            )
        if self._work is None:
            if self._accelerated:
                _check_accelerator()
            self._work = cloudpickle.loads(self._job)()
        return cloudpickle.dumps(self._work(cloudpickle.loads(piece)))


def described(error: Exception) -> tuple[str, str, str]:
    """Return the name of an error's class, its message and its traceback, as texts.

    An error is not sent as an object, because many cannot be pickled.

    Example:
      >>> described(ConfigError("no jam"))
      ('ConfigError', 'no jam', '')
      >>> described(MemoryError())[:2]
      ('OutOfMemory', 'a worker ran out of memory; use fewer workers on a machine')
    """
    if isinstance(error, JaxrecError):
        return type(error).__name__, str(error), ""
    if is_out_of_memory(error):
        reason = f" ({error})" if str(error) else ""
        text = f"a worker ran out of memory{reason}; use fewer workers on a machine"
        return OutOfMemory.__name__, text, ""
    return type(error).__name__, str(error), "".join(traceback.format_exception(error))


def rebuilt(name: str, message: str, trace: str) -> Exception:
    """Return the error that `described` tells of; one that is not jaxrec's own as a RuntimeError.

    Example:
      >>> rebuilt("ConfigError", "no jam", "")
      ConfigError('no jam')
      >>> rebuilt("KeyError", "'jam'", "Traceback ...")
      RuntimeError("KeyError: 'jam'")
    """
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, JaxrecError):
        return kind(message)
    error = RuntimeError(f"{name}: {message}")
    error.add_note(f"in a worker:\n{trace}")
    return error


def _check_accelerator() -> None:
    """Reject a worker whose accelerator JAX does not see, since it would silently be slow."""
    import jax

    if jax.default_backend() == "cpu":
        raise ConfigError(
            "a worker has an accelerator of the Ray cluster that JAX does not see; install "
            "'jaxrec[cuda]' or 'jaxrec[tpu]' on every machine, or hide the accelerators from Ray "
            "(CUDA_VISIBLE_DEVICES='')"
        )
