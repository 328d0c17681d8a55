"""A run directory: what was run, on what, and everything that came of it.

config.json  env.json  ids/  data/  checkpoints/  metrics.jsonl  tb/  train.json  eval.json
result.json  test.npz  report.html
"""

import dataclasses
import hashlib
import json
import platform
import types
import typing
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax

from jaxrec import __version__
from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.core.files import write_text
from jaxrec.ids import ItemCodes
from jaxrec.systems.config import Config
from jaxrec.systems.dataset import Dataset
from jaxrec.systems.item_ids import item_rows
from jaxrec.systems.system import config_class, short_name
from jaxrec.train import FitResult

T = TypeVar("T")


class Described(Protocol):
    """Data that can say what they are: JSON-able, with a "fingerprint"."""

    def describe(self) -> Mapping[str, object]:
        """Facts, among them the fingerprint."""


_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


# Of a run: its lists and their metrics a user, as `Measured` keeps them.
TEST = "test.npz"


def exists(directory: Path) -> bool:
    """Whether the directory holds a run."""
    return (directory / "config.json").exists()


def create(config: Any, dataset: Described, codes: ItemCodes | None, directory: Path) -> None:
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


def check(config: Any, dataset: Described, directory: Path) -> None:
    """Check that the directory holds a run of these settings on these data.

    Args:
      config: of any system.
      dataset: its data.
      directory: of the run.

    Raises:
      ConfigError: other settings.
      DataError: other data, or item IDs or text vectors that have changed since.
    """
    begun_with = load_any(directory)
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


def load_config(directory: Path) -> Config:
    """Read the settings of a run of the generative recommender.

    Raises:
      DataError: no run there.
      ConfigError: settings that this version does not know, or a run of another system.
    """
    config = load_any(directory)
    if not isinstance(config, Config):
        raise ConfigError(
            f"{directory} holds a run of {short_name(config)}, which this cannot use; give a run "
            "of a generative config, such as configs/quickstart.py"
        )
    return config


def load_any(directory: Path) -> Any:
    """Read the settings of a run of any system.

    Raises:
      DataError: no run there.
      ConfigError: settings or a system that this version does not know.
    """
    path = directory / "config.json"
    if not exists(directory):
        raise DataError(
            f"{directory} is no run directory (it has no config.json); "
            "make one: jaxrec train configs/quickstart.py --run-dir " + str(directory)
        )
    settings = read_json(path)
    # Runs of versions with one system do not name it.
    kind = config_class(settings.pop("system", short_name(Config)))
    return from_dict(kind, settings, "")


def load_codes(directory: Path) -> ItemCodes:
    """Read the item IDs of a run."""
    return ItemCodes.load(directory / "ids")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
      DataError: missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; was the run interrupted before it?") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON ({error}); restore it or start over") from error


def to_json(value: Any) -> str:
    """Text of a JSON file."""
    return json.dumps(value, indent=2) + "\n"


def to_json_rows(rows: list[dict[str, str]]) -> str:
    """Text of a JSON file that is a list, a line a row."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def flatten(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values of all settings: [("train.steps", 2000), ...]."""
    rows: list[tuple[str, Any]] = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            rows += flatten(value, name + ".")
        else:
            rows.append((name, value))
    return rows


def from_dict(kind: type[T], values: dict[str, Any], prefix: str) -> T:
    """Build a config dataclass from what `dataclasses.asdict` gave.

    Raises:
      ConfigError: an unknown name, or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, value in values.items():
        if name not in hints:
            raise ConfigError(f"unknown setting {prefix + name!r}{nearest(name, hints)}")
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(typing.cast(type, hints[name]), value, f"{prefix}{name}.")
        elif isinstance(value, list):
            value = tuple(value)
        arguments[name] = value
    result = kind(**arguments)
    check_types(result, prefix)
    return result


def check_types(config: Any, prefix: str = "") -> None:
    """Reject settings whose value has not the declared type.

    Raises:
      ConfigError: naming the setting, the value and the type.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if dataclasses.is_dataclass(value) and isinstance(value, hint):
            check_types(value, f"{prefix}{field.name}.")
        elif not _fits(value, hint):
            shown = getattr(hint, "__name__", None) if isinstance(hint, type) else None
            wanted = shown or str(hint).replace("typing.", "")
            raise ConfigError(f"{prefix}{field.name} must be {wanted}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(part, arguments[0]) for part in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
