"""`jaxrec doctor`: shows versions, devices and free disk, and flags what does not work."""

import itertools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from jaxrec.core import ConfigError, ResourceError, printable
from jaxrec.data import cache_dir

# A run of the quickstart with its data and checkpoints takes less than 100 MB.
_FEWEST_BYTES = 10**9

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


def free_disk(directory: Path) -> int:
    """Bytes that are free where a directory is, or would be made.

    Example:
      >>> free_disk(Path("no/such/directory")) == free_disk(Path.cwd())
      True
    """
    there = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free


def hidden_gpus(platforms: Sequence[str]) -> str:
    """Describe GPUs of NVIDIA that the machine has and JAX does not see; "" for none.

    Args:
      platforms: of the devices that JAX sees, such as ["cpu"].

    Example:
      >>> hidden_gpus(["gpu"])
      ''
    """
    tool = shutil.which("nvidia-smi")
    if "gpu" in platforms or tool is None:
        return ""
    try:
        found = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""  # the tool without a GPU, as in many images
    names = [line.partition(" (UUID")[0] for line in found.stdout.splitlines() if line.strip()]
    return printable(", ".join(names))


def _gpu_problem(platforms: Sequence[str]) -> str:
    """Say why JAX sees no GPU where there is one; "" if it does, or if the user hides it."""
    wanted = os.environ.get("JAX_PLATFORMS", "")
    if wanted and not {"gpu", "cuda"} & set(wanted.split(",")):
        return ""
    names = hidden_gpus(platforms)
    if not names:
        return ""
    return (
        f"the machine has {names}, and JAX does not see it: pip install 'jaxrec[cuda]', check "
        "CUDA_VISIBLE_DEVICES, or set JAX_PLATFORMS=cpu to train without it"
    )


def run(arguments: list[str]) -> None:
    """Print versions, devices and free disk.

    Raises:
      ConfigError: there are arguments.
      ResourceError: a combination of versions that does not work, no usable device, a GPU that JAX
        does not see, or less than 1 GB of free disk.
    """
    if arguments in (["-h"], ["--help"]):
        print("usage: jaxrec doctor\n")
        print("Show versions, devices and free disk, and flag what does not work.")
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

        platforms = []
        try:
            for device in jax.devices():
                platforms.append(device.platform)
                stats = device.memory_stats() or {}
                limit = stats.get("bytes_limit")
                memory = f", {limit / 2**30:.1f} GiB" if limit else ""
                print(f"device {device.id}: {device.platform}, {device.device_kind}{memory}")
        except RuntimeError as error:
            problems = [f"JAX finds no device: {error}; try JAX_PLATFORMS=cpu"]
        problems += filter(None, [_gpu_problem(platforms)])
    for use, place in (("runs", Path("runs")), ("downloads", cache_dir())):
        free = free_disk(place)
        print(f"free for {use:<11} {free / 1e9:.1f} GB ({printable(str(place))})")
        if free < _FEWEST_BYTES:
            problems.append(
                f"{printable(str(place))} has {free / 1e6:.0f} MB of free disk for {use}; free at "
                "least 1 GB, or choose another disk by "
                + ("--run-dir" if use == "runs" else "JAXREC_CACHE")
            )
    if problems:
        raise ResourceError("; ".join(problems))
    print("no known problem\nnext: jaxrec train quickstart")
