"""What every measurement prints first: the device, the load of the machine, and versions."""

import importlib.metadata
import importlib.util
import os
import platform
import sys

import jax

from jaxrec.core import ConfigError, nearest

# Share of the cores that other work may keep busy before the clock stops being of use.
BUSY = 0.75
# All cores of this process, before `use_threads` leaves it only some of them.
_CORES = sorted(os.sched_getaffinity(0))


def cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def machine_cores() -> int:
    """Number of cores that this process had when it started."""
    return len(_CORES)


def use_threads(threads: int) -> None:
    """Let both sides of a measurement compute with so many threads, by leaving them as many cores.

    One thread is the fairest: threads that wait for one another lose far more than their share of a
    core that other work uses. Call it before anything starts JAX, which counts the cores then.

    Args:
      threads: cores that this process keeps; 0 for all.
    """
    kept = _CORES[-threads:] if threads else _CORES
    os.sched_setaffinity(0, kept)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(len(kept))


def print_header(*packages: str) -> bool:
    """Print device, cores, load and versions, and warn if the machine is busy.

    Call `jaxrec.core.keep_memory` before it, if at all: this starts JAX.

    Args:
      packages: distributions whose versions matter, besides those of JAX, Flax and Optax.

    Returns:
      Whether other work makes the clock useless, so that only ratios of CPU time mean something.
    """
    load = os.getloadavg()
    print(
        f"device {jax.devices()[0].device_kind}, {cores()} of {len(_CORES)} cores, "
        f"load {', '.join(f'{x:.2f}' for x in load)}"
    )
    names = ["jax", "flax", "optax", *packages]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"{platform.python_implementation()} {platform.python_version()}, {versions}", flush=True)
    busy = load[0] > BUSY * len(_CORES)
    if busy:
        print("other work is running: quote no ratio from this run", flush=True)
    return busy


def require(*modules: str, otherwise: str = "") -> None:
    """Exit with a message if a module that a measurement needs is not installed.

    Args:
      modules: names to import, which are those to install too.
      otherwise: what to do without them, as the end of a sentence.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"the peers need {' and '.join(missing)}: pip install {' '.join(missing)}{otherwise}"
        )


def require_accelerator(preset: str) -> bool:
    """Return whether JAX has an accelerator; exit with a message if the preset needs one."""
    accelerated = jax.default_backend() != "cpu"
    if preset == "h100" and not accelerated:
        sys.exit("--preset h100 needs an accelerator; JAX found only a CPU here")
    return accelerated


def choose(names: str, available: list[str], what: str = "row") -> list[str]:
    """Return the names of a comma-separated list, or all of them for an empty one.

    Raises:
      ConfigError: an unknown name; the message lists what is available.
    """
    chosen = names.split(",") if names else available
    if unknown := sorted(set(chosen) - set(available)):
        near = nearest(unknown[0], available) if len(unknown) == 1 else ""
        known = f"{what}s: {', '.join(available)}"
        known = f" {known[0].upper()}{known[1:]}" if near else f"; {known}"
        raise ConfigError(f"no {what} {', '.join(unknown)}{near}{known}")
    return chosen
