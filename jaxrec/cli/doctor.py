"""`jaxrec doctor`: shows versions and devices, and flags combinations that do not work."""

import itertools
import platform
import re
import sys
from importlib import metadata

from jaxrec.core import ConfigError, ResourceError

PACKAGES = (
    "jaxrec",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "array-record",
    "numpy",
    "scikit-learn",
    "tyro",
)


def version(text: str) -> tuple[int, ...]:
    """Return the first three numbers of a version.

    Example:
      >>> version("0.12.8rc1")
      (0, 12, 8)
    """
    numbers = itertools.takewhile(bool, (re.match(r"\d+", part) for part in text.split(".")))
    return tuple(int(number[0]) for number in numbers if number)[:3]


def bad_pairs(installed: dict[str, str]) -> list[str]:
    """Describe each combination of versions that does not work, with the fix.

    Args:
      installed: versions by the name of the package.

    Example:
      >>> bad_pairs({"jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8"})
      []
    """
    problems = []
    jax, flax = version(installed.get("jax", "0")), version(installed.get("flax", "0"))
    if flax[:3] <= (0, 12, 8) and jax >= (0, 11, 1):
        problems.append(
            f"flax {installed['flax']} does not work with jax {installed['jax']}: "
            "pip install 'flax>=0.12.12'"
        )
    jaxlib = version(installed.get("jaxlib", "0"))
    if jaxlib[:2] != jax[:2]:
        problems.append(
            f"jaxlib {installed.get('jaxlib', 'missing')} does not match jax "
            f"{installed.get('jax', 'missing')}: install the two together"
        )
    return problems


def run(arguments: list[str]) -> None:
    """Print versions and devices.

    Raises:
      ConfigError: there are arguments.
      ResourceError: a combination of versions that does not work, or no usable device.
    """
    if arguments in (["-h"], ["--help"]):
        print("usage: jaxrec doctor\n")
        print("Show versions and devices, and flag combinations that do not work.")
        return
    if arguments:
        raise ConfigError(f"unexpected argument {arguments[0]!r}; jaxrec doctor takes none")
    print(f"python {platform.python_version()} ({sys.executable}) on {platform.platform()}")
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            print(f"{name:<20} missing")
            continue
        print(f"{name:<20} {installed[name]}")
    problems = bad_pairs(installed)
    if not problems:
        import jax

        try:
            for device in jax.devices():
                stats = device.memory_stats() or {}
                limit = stats.get("bytes_limit")
                memory = f", {limit / 2**30:.1f} GiB" if limit else ""
                print(f"device {device.id}: {device.platform}, {device.device_kind}{memory}")
        except RuntimeError as error:
            problems = [f"JAX finds no device: {error}; try JAX_PLATFORMS=cpu"]
    if problems:
        raise ResourceError("; ".join(problems))
    print("no known problem\nnext: jaxrec train quickstart")
