"""Several processes of one job: how they connect, which one writes, and which rows each holds.

Every process runs the same program with the same settings. On the devices they run one program over
all devices. On the host they all do the same work, except that only process 0 writes files. If a
decision depends on a file or a clock, process 0 makes it and tells the others.
"""

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from jaxrec.core.errors import ConfigError, DataError, JaxrecError, ResourceError

# Time within which the others notice a lost process; they notice a broken connection at once.
# JAX's default of 100 seconds would let a job idle longer.
HEARTBEAT_SECONDS = 30
_BLOCK = 4096
_KINDS: dict[str, type[JaxrecError]] = {
    kind.__name__: kind for kind in (ConfigError, DataError, ResourceError)
}


def meet() -> None:
    """Connect to the other processes of the job; call it before anything asks JAX for devices.

    JAX finds them itself under Slurm, Open MPI and GKE, and on TPU pods. Elsewhere set three
    environment variables: JAX_COORDINATOR_ADDRESS (host and port of process 0), JAX_NUM_PROCESSES
    and JAX_PROCESS_ID.

    Raises:
      ConfigError: the environment does not describe a job of several processes.
      ResourceError: the processes did not connect in time.
    """
    try:
        jax.distributed.initialize(
            num_processes=_number("JAX_NUM_PROCESSES"),
            process_id=_number("JAX_PROCESS_ID"),
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"--distributed finds no other processes ({error}); start it under Slurm, Open MPI or "
            "GKE, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        ) from error
    except RuntimeError as error:
        raise ResourceError(
            f"the processes did not connect ({error}); check that all of them were started and "
            "that process 0 can be reached"
        ) from error


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise ConfigError(f"{variable} must be a whole number, got {text!r}") from error


def is_writer() -> bool:
    """Whether this process writes files and prints; only process 0 does."""
    return jax.process_index() == 0


def broadcast(value: Any) -> Any:
    """Return process 0's JSON-able value on all processes; floats keep their exact bits.

    Example:
      >>> broadcast({"step": 3})
      {'step': 3}
    """
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode() if is_writer() else b""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    # Rounding the size up keeps the number of different shapes, and so of compilations, small.
    whole = np.zeros(-(-size // _BLOCK) * _BLOCK, np.uint8)
    whole[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(multihost_utils.broadcast_one_to_all(whole).tobytes()[:size])


def all_agree(flag: bool) -> bool:
    """Whether a flag is set on every process."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.int32(flag)).all())


def mean(values: dict[str, float]) -> dict[str, float]:
    """Return the mean over processes of numbers that each computed from its own part."""
    if jax.process_count() == 1 or not values:
        return values
    parts = multihost_utils.process_allgather(np.array(list(values.values()), np.float32))
    return {name: float(part) for name, part in zip(values, parts.mean(axis=0), strict=True)}


def barrier(name: str) -> None:
    """Wait until every process has reached this point."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_writer(action: Callable[[], Any]) -> None:
    """Let process 0 run `action` while the others wait.

    Raises:
      JaxrecError: the action raised it on process 0; every process raises the same error.
    """
    failure: Exception | None = None
    if is_writer():
        try:
            action()
        except JaxrecError as error:
            failure = error
    told = broadcast(failure and [type(failure).__name__, str(failure)])
    if failure is not None:
        raise failure
    if told is not None:
        raise _KINDS.get(told[0], JaxrecError)(told[1])


@contextlib.contextmanager
def only_writer_prints() -> Iterator[None]:
    """Print only on process 0 in this `with` block; the other processes print nothing."""
    with contextlib.ExitStack() as stack:
        if not is_writer():
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        yield


def batch_shard(sharding: Sharding) -> tuple[int, int]:
    """Return (part, parts): which of several equal parts of a batch this process's devices hold.

    It is (0, 1), the whole batch, if the rows of its devices are not such a part. That happens on a
    mesh whose batch axis does not run through the processes in order.
    """
    rows = _row_ways(sharding)
    held = {
        row
        for index in sharding.addressable_devices_indices_map((rows,)).values()
        for row in range(*(index or (slice(None),))[0].indices(rows))
    }
    first, count = min(held), len(held)
    if held != set(range(first, first + count)) or rows % count or first % count:
        return 0, 1
    return first // count, rows // count


def _row_ways(sharding: Sharding) -> int:
    """Return the smallest number of rows that the sharding can split: one per part."""
    ways = sharding.num_devices
    (size,) = sharding.shard_shape((ways,))
    return ways // size


def global_batch(local: Any, sharding: Sharding) -> Any:
    """Assemble the global batch from the part that each process holds.

    Args:
      local: tree of arrays [rows, ...]: this process's rows, as `batch_shard(sharding)` says.
      sharding: sharding of the whole batch.

    Returns:
      Tree of `jax.Array` [rows * parts, ...].
    """
    if jax.process_count() == 1:
        return jax.device_put(local, sharding)
    part, parts = batch_shard(sharding)

    def place(rows: np.ndarray) -> jax.Array:
        count = len(rows)

        def own(index: Any) -> np.ndarray:
            begin, end, _ = index[0].indices(count * parts)
            return rows[(slice(begin - part * count, end - part * count), *index[1:])]

        return jax.make_array_from_callback((count * parts, *rows.shape[1:]), sharding, own)

    return jax.tree.map(place, local)
