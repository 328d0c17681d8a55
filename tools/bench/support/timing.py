"""Timing in alternating turns, and the peaks of the device."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Threads that wait for more work keep their cores busy for some milliseconds, OpenMP's above all.
# Without a rest the next in turn pays for it, up to a tenth of a step of tens of milliseconds.
PAUSE = 0.03
# Share of the machine's cores that other processes may keep busy while a ratio is measured.
DISTURBED = 0.25


@dataclasses.dataclass
class Times:
    """Seconds of each turn: of the clock, and of CPU time summed over all cores.

    Attributes:
      wall: seconds of the clock.
      cpu: seconds of CPU time.
      others: mean number of cores that other processes kept busy during all turns of all sides;
        None where the system does not say.
    """

    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)
    others: float | None = None

    def disturbed(self, cores: int) -> bool:
        """Whether other processes kept so many of the machine's cores busy that no ratio counts."""
        return self.others is not None and self.others > DISTURBED * cores

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
    watch = OtherWork()
    for _ in range(repeats):
        for name, run in runs.items():
            time.sleep(PAUSE)
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            times[name].wall.append(time.perf_counter() - wall)
            times[name].cpu.append(time.process_time() - cpu)
    others = watch.cores()
    return {name: dataclasses.replace(side, others=others) for name, side in times.items()}


class OtherWork:
    """Counts the cores that other processes keep busy from now on, from the system's counters.

    The load average tells only how much ran in the last minute, this process included.
    """

    def __init__(self) -> None:
        self._begun = time.perf_counter(), _busy_seconds(), time.process_time()

    def cores(self) -> float | None:
        """Their mean number since the start; None where the system does not say."""
        now = time.perf_counter(), _busy_seconds(), time.process_time()
        if now[1] is None or self._begun[1] is None:
            return None
        wall, own = now[0] - self._begun[0], now[2] - self._begun[2]
        return max(now[1] - self._begun[1] - own, 0.0) / max(wall, 1e-9)


def _busy_seconds(path: str = "/proc/stat") -> float | None:
    """Seconds of CPU time of all processes since the start of the machine; None without /proc."""
    try:
        with open(path) as file:
            user, nice, system, _, _, irq, soft, steal = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


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
