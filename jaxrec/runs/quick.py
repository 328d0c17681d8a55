"""Quick variants: a short run of any config, which shows that everything works and nothing else.

A quick variant keeps the data, the model and every stage of a config, and limits how long each
stage trains and how much each validation measures. Its run directory has a file `QUICK`, and its
result files carry a warning, so that nobody takes its figures for results.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from jaxrec.core import ConfigError, is_writer, read_json, to_json, write_text
from jaxrec.runs.config import unread_of
from jaxrec.runs.directory import is_run

T = TypeVar("T")

WARNING = "QUICK RUN: trained for about a minute to show that it works; its figures mean nothing"
MARK = "QUICK"

# Highest value of every setting with such a name, at any depth of a config.
LIMITS = {
    "steps": 100,
    "title_steps": 50,
    "plain_steps": 20,
    "warmup_steps": 5,
    "eval_every": 100,
    "log_every": 20,
    "resamples": 200,
    "valid_users": 100,
    "valid_windows": 100,
    "test_windows": 200,
    "valid_instances": 50,
    "test_instances": 5,
    "shots": 256,
}
# For these settings 0 means "all", and "auto" may, so both are limited too.
_ZERO_IS_ALL = (
    *("valid_users", "valid_windows", "test_windows", "shots"),
    *("valid_instances", "test_instances"),
)
_RESULTS = ("train.json", "eval.json", "result.json")


def make_quick(config: T) -> T:
    """Return the config with every setting of `LIMITS` lowered to its limit.

    It leaves the data as they are. The config file of a large data set defines
    `get_quick_config()`, which samples users and calls this function.

    Args:
      config: of any system, or a part of one; a nested frozen dataclass.

    Example:
      >>> from jaxrec.train import TrainConfig
      >>> short = make_quick(TrainConfig(steps=8000, batch_size=32, warmup_steps=0))
      >>> short.steps, short.batch_size, short.warmup_steps
      (100, 32, 0)
    """
    # What a class never reads, and what this config of it does not.
    unread = frozenset(unread_of(type(config))) | getattr(config, "ignored", frozenset())
    return _quick(config, unread, "")


def _quick(config: T, unread: frozenset[str], prefix: str) -> T:
    """The quick variant of a config, or of a part of one; what its system does not read stays."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value, name = getattr(config, field.name), prefix + field.name
        if name in unread:
            continue
        if dataclasses.is_dataclass(value):
            changed[field.name] = _quick(value, unread, f"{name}.")
        elif field.name in LIMITS:
            limit = LIMITS[field.name]
            whole = value in (0, "auto") and field.name in _ZERO_IS_ALL
            changed[field.name] = limit if whole else min(value, limit)
        # Text encoders that the item IDs do not use take minutes, and no other part needs them.
        elif field.name == "text_encoders":
            changed[field.name] = False
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


@contextlib.contextmanager
def marked(directory: Path, wanted: bool) -> Iterator[None]:
    """Train or measure a run in this block, and label what it leaves behind if the run is quick.

    Args:
      directory: of the run; it need not exist yet.
      wanted: whether the run is quick.

    Raises:
      ConfigError: the directory holds a run of the other kind.
      ResourceError: the mark or a label cannot be written.
    """
    if is_run(directory) and is_quick(directory) != wanted:
        kind, fix = ("full", "leave --quick out") if wanted else ("quick", "give --quick")
        raise ConfigError(
            f"{directory} holds a {kind} run; {fix} to resume it, or give another --run-dir"
        )
    mark = directory / MARK
    if wanted and is_writer():
        write_text(mark, WARNING + "\n")
    try:
        yield
    finally:
        # A directory without a run keeps no trace of settings that were rejected.
        if not is_run(directory):
            mark.unlink(missing_ok=True)
        elif is_writer():
            label_results(directory)


def is_quick(directory: Path) -> bool:
    """Whether the directory is marked as that of a quick run."""
    return (directory / MARK).exists()


def label_results(directory: Path) -> None:
    """Write the warning into the result files of a quick run; other runs stay as they are.

    Raises:
      DataError: a damaged result file.
      ResourceError: it cannot be written.
    """
    if not is_quick(directory):
        return
    for path in (directory / name for name in _RESULTS):
        if path.exists():
            write_text(path, to_json({"warning": WARNING} | read_json(path, dict[str, Any])))
