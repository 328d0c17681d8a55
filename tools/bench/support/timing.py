"""Timing in alternating turns, and the peaks of the device."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Threads that wait for more work keep their cores busy for some milliseconds, OpenMP's above all.
# Without a rest the next in turn pays for it, up to a tenth of a step of tens of milliseconds.
PAUSE = 0.03


@dataclasses.dataclass
class Times:
    """Seconds of each turn: of the clock, and of CPU time summed over all cores."""

    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the clock."""
        return statistics.median(self.wall)

    def typical(self, busy: bool) -> float:
        """The median of the clock; the least CPU time if other work makes the clock useless."""
        return min(self.cpu) if busy else self.median


def measure(runs: dict[str, Callable[[], Any]], repeats: int, warmups: int = 1) -> dict[str, Times]:
    """Time functions in alternating turns, with a rest before each turn.

    Args:
      runs: what to time; results that are JAX arrays are waited for.
      repeats: turns of each function that count.
      warmups: turns of each function before those, which do not count.
    """
    for _ in range(warmups):
        for run in runs.values():
            jax.block_until_ready(run())
    times = {name: Times() for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            time.sleep(PAUSE)
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            times[name].wall.append(time.perf_counter() - wall)
            times[name].cpu.append(time.process_time() - cpu)
    return times


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a single call, and its result."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def matmul_peak(dtype: Any = jnp.bfloat16, size: int = 8192, chain: int = 20) -> float:
    """FLOP/s of products of `size` x `size` matrices, each of which needs the one before."""
    x = jnp.ones((size, size), dtype)

    @jax.jit
    def run(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, chain, lambda _, y: (x @ y) * jnp.asarray(1 / size, dtype), x)

    times = measure({"run": lambda: run(x)}, 10)["run"]
    return 2.0 * size**3 * chain / min(times.wall)


def copy_peak(megabytes: int = 1024) -> float:
    """Bytes/s, read and written, of a sum over an array that fits into no cache."""
    x = jnp.zeros(megabytes << 18, jnp.float32)
    run = jax.jit(lambda x: x + 1.0)
    return 2.0 * x.nbytes / min(measure({"run": lambda: run(x)}, 10)["run"].wall)
