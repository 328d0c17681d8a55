"""Measuring in turns, the peaks of the device, and the header that every benchmark prints."""

import dataclasses
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass
class Times:
    """Seconds of the clock, and of all cores together, one a turn."""

    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the clock."""
        return statistics.median(self.wall)


# Threads that wait for more work keep their cores busy for some milliseconds, OpenMP's above all.
# Without a rest the next in turn pays for it, up to a tenth of a step of tens of milliseconds.
PAUSE = 0.03


def measure(runs: dict[str, Callable[[], Any]], repeats: int, warmups: int = 1) -> dict[str, Times]:
    """Time each in alternating turns with a rest before each, after some that do not count."""
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


def matmul_peak(dtype: Any = jnp.bfloat16, size: int = 8192, chain: int = 20) -> float:
    """FLOP/s of products of `size` x `size`, each waiting for the one before."""
    x = jnp.ones((size, size), dtype)

    @jax.jit
    def run(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, chain, lambda _, y: (x @ y) * jnp.asarray(1 / size, dtype), x)

    times = measure({"run": lambda: run(x)}, 10)["run"]
    return 2.0 * size**3 * chain / min(times.wall)


def copy_peak(megabytes: int = 1024) -> float:
    """Bytes/s, read and written, of a sum that nothing caches."""
    x = jnp.zeros(megabytes << 18, jnp.float32)
    run = jax.jit(lambda x: x + 1.0)
    return 2.0 * x.nbytes / min(measure({"run": lambda: run(x)}, 10)["run"].wall)


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def environment(peer: bool) -> bool:
    """Print device, load and versions; return whether other work makes the clock useless."""
    load = os.getloadavg()
    print(
        f"device {jax.devices()[0].device_kind}, {cores()} cores, "
        f"load {', '.join(f'{x:.2f}' for x in load)}"
    )
    names = ["jax", "flax", "optax", *(["torch", "transformers"] if peer else [])]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"{platform.python_implementation()} {platform.python_version()}, {versions}")
    busy = load[0] > 0.75 * cores()
    if busy:
        print("other work is running: quote no ratio from this run")
    return busy
