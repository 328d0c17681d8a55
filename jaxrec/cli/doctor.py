"""`jaxrec doctor`: versions and devices, and combinations known not to work."""

import platform
import sys
from importlib import metadata

from jaxrec.core import ResourceError

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
    """Return the leading numbers of a version: "0.12.8rc1" gives (0, 12, 8)."""
    numbers = []
    for part in text.split("."):
        digits = "".join(c for c in part if c.isdigit())
        if not part[:1].isdigit():
            break
        numbers.append(int(digits))
    return tuple(numbers[:3])


def bad_pairs(installed: dict[str, str]) -> list[str]:
    """Name what is known not to work together, and the fix, one line each."""
    found = []
    jax, flax = version(installed.get("jax", "0")), version(installed.get("flax", "0"))
    if flax[:3] <= (0, 12, 8) and jax >= (0, 11, 1):
        found.append(
            f"flax {installed['flax']} does not work with jax {installed['jax']}: "
            "pip install 'flax>=0.12.12'"
        )
    jaxlib = version(installed.get("jaxlib", "0"))
    if jaxlib[:2] != jax[:2]:
        found.append(
            f"jaxlib {installed.get('jaxlib', 'missing')} does not belong to jax "
            f"{installed.get('jax', 'missing')}: install the two together"
        )
    return found


def run(arguments: list[str]) -> None:
    """Print the findings.

    Raises:
      ResourceError: a known bad pair, or no usable device.
    """
    if arguments in (["-h"], ["--help"]):
        print("usage: jaxrec doctor\n\nShow versions and devices, and flag known bad pairs.")
        return
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
    print("no known problem\nnext: jaxrec train configs/quickstart.py")
