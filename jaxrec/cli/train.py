"""`jaxrec train CONFIG [--run-dir DIR] [FLAGS] [--overrides]`; the same directory resumes.

--dry-run         say what it would take, and write nothing
--show-shardings  print where every parameter lies
--profile         write a trace of some steps to DIR/profile
--distributed     join the other processes that run the same command, on every host
"""

import contextlib
from pathlib import Path
from typing import Any

import jax

from jaxrec.cli.arguments import FLAGS, take_config
from jaxrec.core import ResourceError, keep_memory, locked, meet, only_writer_prints
from jaxrec.runs import Options, system_of

DRY, SHOW, PROFILE, DISTRIBUTED = FLAGS


def run(arguments: list[str]) -> None:
    """Train, or resume; with `--dry-run` say what it would take, and write nothing."""
    dry = DRY in arguments
    if not dry:
        keep_memory()
    settings = [word for word in arguments if word not in FLAGS]
    config, path, directory = take_config(settings, "train")
    if DISTRIBUTED in arguments:
        meet()
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_writer_prints())
        if not dry:
            stack.enter_context(locked(directory))
        try:
            _run(config, path, directory, set(arguments))
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            raise ResourceError(
                f"the processes lost one another ({error}); start the same command on every host "
                "again to resume"
            ) from error


def _run(config: Any, path: Path, directory: Path, flags: set[str]) -> None:
    options = Options(DRY in flags, SHOW in flags, PROFILE in flags)
    system_of(config).train(config, directory, options)
    if options.dry:
        print(f"nothing written; next: jaxrec train {path} --run-dir {directory}")
    else:
        print(f"next: jaxrec eval {directory}")
