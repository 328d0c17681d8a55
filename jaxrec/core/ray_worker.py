"""What runs in the processes of a Ray cluster; importing it loads neither Ray nor JAX."""

import collections
import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from jaxrec.core.errors import ConfigError, JaxrecError, ResourceError

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

    An error is a result too, so that it arrives as it was raised, and no piece is tried again for
    an error that it would raise again.
    """

    def __init__(self, job: bytes, environment: Mapping[str, str | None], attempts: Any) -> None:
        """Set the environment, which counts only until JAX is imported.

        Args:
          job: a pickled `Job`. It is read with the first piece, because Ray starts an actor anew
            whose making fails.
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
        return {"answer": [self._answer(number, batch["piece"][0], before)]}

    def _answer(self, number: int, piece: bytes, before: int) -> bytes:
        """The number, whether it was done, and the result or error, pickled."""
        try:
            if before >= MOST_ATTEMPTS:
                raise ResourceError(
                    f"piece {number} of the work ended its worker {before} times, perhaps for lack "
                    "of memory; see Ray's logs, use fewer workers on a machine, or smaller shards"
                )
            if self._work is None:
                if self._accelerated:
                    _check_accelerator()
                self._work = pickle.loads(self._job)()
            return pickle.dumps((number, True, self._work(pickle.loads(piece))))
        except Exception as error:
            return pickle.dumps((number, False, portable(error)))


def portable(error: Exception) -> Exception:
    """Return an error that another process can read.

    Args:
      error: any error; one that is not jaxrec's own gets the traceback as a note.

    Example:
      >>> class Odd(Exception):
      ...     def __reduce__(self):
      ...         raise TypeError("no")
      >>> portable(Odd("jam"))
      RuntimeError('Odd: jam')
      >>> portable(ResourceError("full"))
      ResourceError('full')
    """
    if not isinstance(error, JaxrecError):
        error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
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
