"""Runs that build on one another: a model is pre-trained, then tuned, then tuned again.

A config file's `get_stages()` returns configs by name, in the order in which they are trained
before the file's own config. Each has a run directory of its own below that of the run. Where a
setting says "stage:NAME", it stands for the directory of that stage, such as the base of a tuning.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError, check_types, flatten, nearest
from jaxrec.runs.quick import marked
from jaxrec.runs.sweep import folder
from jaxrec.runs.system import Options, system_of
from jaxrec.train import memory_explained

PREFIX = "stage:"
_TAKEN = ("checkpoints", "tb", "tokenizer")  # directories of the run, beside those of stages


def check_stages(stages: Any, final: Any) -> dict[str, Any]:
    """Check what a `get_stages()` returned, before any work.

    Args:
      stages: a dictionary from names to configs.
      final: the config that is trained after them.

    Returns:
      The stages.

    Raises:
      ConfigError: it is no such dictionary, a stage is no config of a system that trains, or a
        setting names a stage that does not come before it.

    Example:
      >>> check_stages({}, None)
      {}
    """
    if not isinstance(stages, Mapping):
        raise ConfigError(
            f"get_stages() must return a dictionary from names to configs, got "
            f"{type(stages).__name__}"
        )
    for name in stages:
        # Such a name is that of no file that the run itself writes.
        if not isinstance(name, str) or folder(name) != name or not name or "." in name:
            raise ConfigError(
                f"stage {name!r} needs a name of letters, digits and hyphens, which is that of its "
                "directory"
            )
        if name in _TAKEN:
            raise ConfigError(
                f"stage {name!r} has the name of a directory that every run has; choose one other "
                f"than {', '.join(_TAKEN)}"
            )
    known: list[str] = []
    for name, config in (*stages.items(), *([("", final)] if final is not None else [])):
        try:
            system = system_of(config)
            check_types(config)
        except ConfigError as error:
            raise ConfigError(f"stage {name!r}: {error}" if name else str(error)) from error
        if not hasattr(system, "train"):
            raise ConfigError(f"stage {name!r}: its system {config.system} must offer train")
        for setting, value in flatten(config):
            wanted = _stage_of(value)
            if wanted is not None and wanted not in known:
                raise ConfigError(
                    f"{setting} is {value!r}, and no stage {wanted!r} comes before it"
                    f"{nearest(wanted, known)}; stages: {', '.join(known) or 'none'}"
                )
        known.append(name)
    return dict(stages)


def placed(config: Any, directory: Path) -> Any:
    """The config with the directories of the stages in place of their names.

    Args:
      config: of any system, or a part of one; a nested frozen dataclass.
      directory: of the run that has the stages.

    Example:
      >>> from jaxrec.peft import TuneConfig
      >>> placed(TuneConfig(base="stage:pretrain"), Path("runs") / "jobs").base
      'runs/jobs/pretrain'
    """
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changed[field.name] = placed(value, directory)
        elif (name := _stage_of(value)) is not None:
            changed[field.name] = str(directory / name)
    return dataclasses.replace(config, **changed)


def train_stages(
    stages: Mapping[str, Any], directory: Path, options: Options, *, quick: bool = False
) -> None:
    """Train the stages in their order; one that is complete is only checked.

    Args:
      stages: from `check_stages`.
      directory: of the run; each stage gets a directory of its name below it.
      options: of `jaxrec train`.
      quick: the stages are quick ones; their directories are marked.
    """
    for name, config in stages.items():
        print(f"stage {name}", flush=True)
        place = directory / name
        marking = contextlib.nullcontext() if options.dry else marked(place, quick)
        with memory_explained(config), marking:
            system_of(config).train(placed(config, directory), place, options)


def _stage_of(value: Any) -> str | None:
    if isinstance(value, str) and value.startswith(PREFIX):
        return value.removeprefix(PREFIX)
    return None
