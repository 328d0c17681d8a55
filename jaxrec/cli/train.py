"""`jaxrec train CONFIG [--run-dir DIR] [FLAGS] [--SETTING VALUE ...]`; the same command resumes.

--dry-run         show what training would take, and write nothing
--show-shardings  print how every parameter is sharded over the devices
--profile         write a trace of some steps to DIR/profile
--distributed     join the other processes that run the same command, on every host
--quick           train for about a minute; the figures mean nothing
--wandb           also send the metrics to Weights & Biases (pip install 'jaxrec[wandb]')

A config file that defines `get_stages()` trains these first, each in a directory below DIR.
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrec.cli.arguments import FLAGS, take_config
from jaxrec.cli.configs import find_config
from jaxrec.cli.loading import load_stages
from jaxrec.core import (
    ResourceError,
    check_name,
    check_writable,
    keep_memory,
    locked,
    meet,
    on_writer,
    only_writer_prints,
    quoted,
)
from jaxrec.runs import (
    WARNING,
    Options,
    can_evaluate,
    marked,
    placed,
    system_of,
    train_stages,
)
from jaxrec.train import memory_explained

DRY, SHOW, PROFILE, DISTRIBUTED, QUICK, WANDB = FLAGS


def run(arguments: list[str]) -> None:
    """Train or resume a run; with `--dry-run` show what it would take, and write nothing."""
    dry = DRY in arguments
    if not dry:
        keep_memory()
    settings = [word for word in arguments if word not in FLAGS]
    config, word, directory = take_config(settings, "train", quick=QUICK in arguments)
    stages = load_stages(find_config(word), config, quick=QUICK in arguments)
    if DISTRIBUTED in arguments:
        meet()
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_writer_prints())
        check_name(directory)
        if dry:
            on_writer(lambda: check_writable(directory))
        else:
            stack.enter_context(locked(directory))
        try:
            _run(config, stages, directory, arguments)
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            raise ResourceError(
                f"the processes lost contact ({error}); start the same command again on every host "
                "to resume"
            ) from error


def _run(config: Any, stages: Mapping[str, Any], directory: Path, arguments: Sequence[str]) -> None:
    flags = set(arguments) & set(FLAGS)
    dry, quick = DRY in flags, QUICK in flags
    if quick:
        print(WARNING)
    options = Options(dry, SHOW in flags, PROFILE in flags)
    if dry and stages:
        name = next(iter(stages))
        train_stages({name: stages[name]}, directory, options)
        print(f"what the other stages take is known when stage {name} is trained")
    else:
        train_stages(stages, directory, options, quick=quick)
        marking = contextlib.nullcontext() if dry else marked(directory, quick)
        with (
            memory_explained(config),
            marking,
            _sending(config, directory, WANDB in flags and not dry),
        ):
            system_of(config).train(placed(config, directory), directory, options)
    if dry:
        # With all settings that were given, because other settings make another run.
        again = [word for word in arguments if word != DRY]
        print(f"nothing written; next: jaxrec train {' '.join(map(quoted, again))}")
        return
    if can_evaluate(config):
        print(f"next: jaxrec eval {quoted(directory)}")


def _sending(config: Any, directory: Path, asked: bool) -> contextlib.AbstractContextManager[None]:
    """Send metrics to Weights & Biases if that was asked for; nothing is imported otherwise."""
    if not asked:
        return contextlib.nullcontext()
    from jaxrec.cli.wandb_mirror import mirrored

    return mirrored(directory, dataclasses.asdict(config))
