"""A run directory: the settings and data of a run, and everything that it produced.

config.json  env.json  ids/  catalogue/  data/  checkpoints/  metrics.jsonl  tb/  train.json
eval.json  result.json  test.npz  test-other.npz  report.html
"""

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

import jax

from jaxrec import __version__
from jaxrec.core import (
    ConfigError,
    DataError,
    check_name,
    flatten,
    from_dict,
    nearest,
    quoted,
    read_json,
    to_json,
    to_json_rows,
    write_text,
)
from jaxrec.data import Dataset
from jaxrec.ids import ItemCodes
from jaxrec.items import item_rows
from jaxrec.runs.config import without_unread
from jaxrec.runs.kept import keep_data
from jaxrec.runs.old_names import current
from jaxrec.runs.system import config_class, short_name
from jaxrec.train import FitResult


class DescribedData(Protocol):
    """Data of any system, such as a `Dataset` or windows of it."""

    def describe(self) -> Mapping[str, object]:
        """Return JSON-able facts, among them a "fingerprint" of the data."""


class _Data(TypedDict):
    fingerprint: str


class Environment(TypedDict):
    """What is read of a run's `env.json`."""

    data: _Data
    files: NotRequired[dict[str, str]]
    packages: NotRequired[dict[str, str]]
    devices: NotRequired[list[str]]


class _Settings(TypedDict):
    """What is read of a `config.json` before the class of its settings is known."""

    system: NotRequired[str]


class TrainFacts(TypedDict):
    """What other commands read of a run's `train.json`."""

    seconds: float
    best_step: NotRequired[int]
    steps: NotRequired[int]


_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


# Settings that the meaning of a model's parameters depends on.
_SHAPE = ("architecture", "model", "tune", "user_tokens")

# File of a run's lists for the test users and their metrics; see `Measured`.
TEST_FILE = "test.npz"
# The same with seen items removed if the config keeps them, and kept if it removes them.
OTHER_FILE = "test-other.npz"


def is_run(directory: Path) -> bool:
    """Return whether the directory holds a run.

    Example:
      >>> is_run(Path("no such directory"))
      False
    """
    path = directory / "config.json"
    if not path.exists():
        return False
    try:
        settings = read_json(path)
    except DataError:
        # Whoever reads the run reports the damage.
        return True
    # A checkpoint of Hugging Face has a config.json too, which names the type of its model.
    return not isinstance(settings, dict) or "model_type" not in settings


def create_run(
    config: Any, dataset: DescribedData, codes: ItemCodes | None, directory: Path
) -> None:
    """Write what a run starts from.

    Args:
      config: the config of any system.
      dataset: its data.
      codes: item IDs, which need a `Dataset`; None for a system without IDs.
      directory: where the run will be.

    Raises:
      ConfigError: the directory's name is not UTF-8.
      ResourceError: it cannot be written.
    """
    check_name(directory)
    if codes is not None:
        assert isinstance(dataset, Dataset)
        codes.save(directory / "ids")
        write_text(directory / "ids" / "item_ids.json", to_json_rows(item_rows(codes, dataset)))
    keep_data(dataset, directory)
    facts = {"data": dataset.describe(), "files": _checksums(directory)} | environment()
    write_text(directory / "env.json", to_json(facts))
    settings = {"system": short_name(config)} | dataclasses.asdict(config)
    # Written last, because its presence says that the directory is a run.
    write_text(directory / "config.json", to_json(settings))


def write_summary(directory: Path, result: FitResult, **more: Any) -> None:
    """Write `train.json`, and print how training ended.

    Args:
      directory: of the run.
      result: of the last stage.
      **more: further facts for the file.

    Raises:
      ResourceError: it cannot be written.
    """
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


def check_run(config: Any, dataset: DescribedData, directory: Path) -> None:
    """Check that the directory holds a run with these settings on these data.

    Args:
      config: the config of any system.
      dataset: its data.
      directory: of the run.

    Raises:
      ConfigError: the run has other settings.
      DataError: the run has other data, or its item IDs or text vectors have changed since it
        began.
    """
    begun_with = load_run(directory)
    if type(begun_with) is not type(config):
        raise ConfigError(
            f"{directory} holds a run of {short_name(begun_with)}, and the config belongs to "
            f"{short_name(config)}; give another --run-dir"
        )
    changed = [
        f"{name} was {a!r} and is {b!r}"
        for (name, a), (_, b) in zip(flatten(begun_with), flatten(config), strict=True)
        if _resolved(name, a) != _resolved(name, b)
    ]
    if changed:
        raise ConfigError(
            f"{directory} holds a run with other settings ({'; '.join(changed[:3])}); "
            "give the same settings to resume it, or another --run-dir"
        )
    begun = read_json(directory / "env.json", Environment)
    then = begun["data"]["fingerprint"]
    now = str(dataset.describe()["fingerprint"])
    if then != now:
        raise DataError(
            f"{directory} was trained on other data: fingerprint {then[:12]}, now {now[:12]}; "
            "restore the data, or give another --run-dir"
        )
    check_files(directory)


def _resolved(name: str, value: object) -> object:
    """Return a setting as earlier versions wrote it, which spelled out the default positions."""
    return "rope" if value is None and name.endswith("model.positions") else value


def check_files(directory: Path) -> None:
    """Check that a run has the item IDs and text vectors that it began with.

    Raises:
      DataError: a file is gone or has changed.
    """
    begun = read_json(directory / "env.json", Environment)
    now_files = _checksums(directory)
    for name, checksum in begun.get("files", {}).items():
        if now_files.get(name) != checksum:
            state = "has changed" if name in now_files else "is gone"
            raise DataError(
                f"{directory / name} {state} since the run began; restore it, or give another "
                "--run-dir"
            )


def run_identity(directory: Path) -> dict[str, str]:
    """Return hashes of what the parameters of a run depend on: data, item IDs and model settings.

    Its checkpoints hold them, so that those of another run are refused; see `Start.run`.

    Args:
      directory: of the run; {} if it holds none.

    Raises:
      DataError: `config.json` or `env.json` is damaged.

    Example:
      >>> run_identity(Path("nowhere"))
      {}
    """
    if not is_run(directory):
        return {}
    begun = read_json(directory / "env.json", Environment)
    settings = read_json(directory / "config.json", dict[str, Any])
    shape = {name: settings[name] for name in _SHAPE if name in settings}
    return {
        "data": begun["data"]["fingerprint"],
        "item IDs": _digest(begun.get("files", {})),
        "model settings": _digest(shape),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _checksums(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that a run reads again: its item IDs and text vectors."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((directory / "ids").glob("*.np[yz]"))
    }


def environment() -> dict[str, Any]:
    """Return versions and devices: JSON-able."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"jaxrec": __version__} | {name: metadata.version(name) for name in _PACKAGES},
        "devices": [str(device.device_kind) for device in jax.devices()],
    }


def load_run(directory: Path) -> Any:
    """Read the settings of a run of any system, written by this version or an earlier one.

    Raises:
      DataError: no run there, or its settings are damaged.
      ConfigError: settings or a system that this version does not know.

    Example:
      >>> load_run(Path("nowhere"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      jaxrec.core.errors.DataError: nowhere is no run directory (no such directory); ...
    """
    if not is_run(directory):
        raise DataError(f"{directory} is no run directory ({_instead_of_run(directory)}")
    path = directory / "config.json"
    name, settings = current(read_json(path, _Settings))
    if not settings:
        raise DataError(f"{path} holds no settings; restore it or start over")
    try:
        kind = config_class(name)
        if hasattr(kind, "of_earlier"):
            settings = kind.of_earlier(settings)
        return from_dict(kind, without_unread(kind, settings), "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _instead_of_run(directory: Path) -> str:
    """What is there instead of a run, and what to do."""
    make = f"make one by jaxrec train CONFIG --run-dir {quoted(directory)}"
    if directory.is_file():
        return "it is a file); give the directory that --run-dir named, such as runs/quickstart"
    if (directory / "config.json").exists():
        return "its config.json is that of a model); give the directory of a run"
    if not directory.is_dir():
        near = near_run(directory)
        return (
            f"no such directory){near} Otherwise {make}" if near else f"no such directory); {make}"
        )
    below = [str(path) for path in _runs_in(directory)]
    inside = f"runs in it: {', '.join(below)}" if below else make
    return f"it has no config.json); {inside}"


def near_run(directory: Path) -> str:
    """What `nearest` says of the runs beside a directory that does not exist.

    Example:
      >>> near_run(Path("no such directory") / "run")
      ''
    """
    return nearest(str(directory), map(str, _runs_in(directory.parent)))


def _runs_in(directory: Path) -> list[Path]:
    return [path.parent for path in sorted(directory.glob("*/config.json")) if is_run(path.parent)]


def read_training(directory: Path) -> TrainFacts:
    """Read the `train.json` of a run: how its training ended.

    Raises:
      DataError: not trained to the end yet, or damaged.

    Example:
      >>> read_training(Path("nowhere"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: nowhere/train.json is missing; ...
    """
    missing = (
        "the run is not trained to its end; finish it by the jaxrec train command that began it"
    )
    return read_json(directory / "train.json", TrainFacts, missing=missing)


def load_codes(directory: Path) -> ItemCodes:
    """Read the item IDs of a run.

    Raises:
      DataError: the directory holds no item IDs, or they are damaged.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> run = Path(tempfile.mkdtemp())
      >>> codes = ItemCodes(codes=np.array([[3, 1], [0, 1]]), sizes=(4, 2), scheme="mine")
      >>> codes.save(run / "ids")
      >>> load_codes(run).codes.tolist()
      [[3, 1], [0, 1]]
    """
    return ItemCodes.load(directory / "ids")
