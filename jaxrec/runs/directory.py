"""A run directory: what was run, on what, and everything that came of it.

config.json  env.json  ids/  data/  checkpoints/  metrics.jsonl  tb/  train.json  eval.json
result.json  test.npz  report.html
"""

import dataclasses
import hashlib
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import jax

from jaxrec import __version__
from jaxrec.core import (
    ConfigError,
    DataError,
    flatten,
    from_dict,
    read_json,
    to_json,
    to_json_rows,
    write_text,
)
from jaxrec.data import Dataset
from jaxrec.ids import ItemCodes
from jaxrec.items import item_rows
from jaxrec.runs.old_names import current
from jaxrec.runs.system import config_class, short_name
from jaxrec.train import FitResult


class Described(Protocol):
    """Data that can say what they are: JSON-able, with a "fingerprint"."""

    def describe(self) -> Mapping[str, object]:
        """Facts, among them the fingerprint."""


_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


# Of a run: its lists and their metrics a user, as `Measured` keeps them.
TEST_FILE = "test.npz"


def is_run(directory: Path) -> bool:
    """Whether the directory holds a run."""
    return (directory / "config.json").exists()


def create_run(config: Any, dataset: Described, codes: ItemCodes | None, directory: Path) -> None:
    """Write what a run starts from.

    Args:
      config: of any system.
      dataset: its data.
      codes: item IDs, which need a `Dataset`; None for a system without.
      directory: where the run shall be.

    Raises:
      ResourceError: it cannot be written.
    """
    if codes is not None:
        assert isinstance(dataset, Dataset)
        codes.save(directory / "ids")
        write_text(directory / "ids" / "item_ids.json", to_json_rows(item_rows(codes, dataset)))
    facts = {"data": dataset.describe(), "files": _checksums(directory)} | environment()
    write_text(directory / "env.json", to_json(facts))
    settings = {"system": short_name(config)} | dataclasses.asdict(config)
    # Last, as its presence says that the directory is a run.
    write_text(directory / "config.json", to_json(settings))


def write_summary(directory: Path, result: FitResult, **more: Any) -> None:
    """Write `train.json`, and say how training ended.

    Raises:
      ResourceError: it cannot be written.
    """
    # Seconds of a resumed run count its last sitting only.
    facts = {
        "best_step": result.best_step,
        "steps": result.steps,
        "seconds": result.seconds,
        "valid": result.metrics,
        "compiles_after_warmup": result.compiles_after_warmup,
    }
    write_text(directory / "train.json", to_json(facts | more))
    shown = "  ".join(f"{name} {value:.4f}" for name, value in result.metrics.items())
    print(f"best step {result.best_step} of {result.steps} on validation: {shown}")


def check_run(config: Any, dataset: Described, directory: Path) -> None:
    """Check that the directory holds a run of these settings on these data.

    Args:
      config: of any system.
      dataset: its data.
      directory: of the run.

    Raises:
      ConfigError: other settings.
      DataError: other data, or item IDs or text vectors that have changed since.
    """
    begun_with = load_run(directory)
    if type(begun_with) is not type(config):
        raise ConfigError(
            f"{directory} holds a run of {short_name(begun_with)}, and the config is one of "
            f"{short_name(config)}; give another --run-dir"
        )
    changed = [
        f"{name} was {a!r} and is {b!r}"
        for (name, a), (_, b) in zip(flatten(begun_with), flatten(config), strict=True)
        if a != b
    ]
    if changed:
        raise ConfigError(
            f"{directory} holds a run with other settings ({'; '.join(changed[:3])}); "
            "give the same settings to resume it, or another --run-dir"
        )
    begun = read_json(directory / "env.json")
    found = begun["data"]["fingerprint"]
    now = str(dataset.describe()["fingerprint"])
    if found != now:
        raise DataError(
            f"{directory} was trained on other data: fingerprint {found[:12]}, now {now[:12]}; "
            "restore the data, or give another --run-dir"
        )
    files, now_files = begun.get("files", {}), _checksums(directory)
    for name, checksum in files.items():
        if now_files.get(name) != checksum:
            state = "has changed" if name in now_files else "is gone"
            raise DataError(
                f"{directory / name} {state} since the run began; restore it, or give another "
                "--run-dir"
            )


def _checksums(directory: Path) -> dict[str, str]:
    """SHA-256 of the files that a run reads again: its item IDs and text vectors."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((directory / "ids").glob("*.np[yz]"))
    }


def environment() -> dict[str, Any]:
    """Versions and devices: JSON-able."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"jaxrec": __version__} | {name: metadata.version(name) for name in _PACKAGES},
        "devices": [str(device.device_kind) for device in jax.devices()],
    }


def load_run(directory: Path) -> Any:
    """Read the settings of a run of any system.

    Raises:
      DataError: no run there.
      ConfigError: settings or a system that this version does not know.
    """
    path = directory / "config.json"
    if not is_run(directory):
        raise DataError(
            f"{directory} is no run directory (it has no config.json); "
            "make one: jaxrec train configs/quickstart.py --run-dir " + str(directory)
        )
    name, settings = current(read_json(path))
    return from_dict(config_class(name), settings, "")


def load_codes(directory: Path) -> ItemCodes:
    """Read the item IDs of a run."""
    return ItemCodes.load(directory / "ids")
