"""`jaxrec train CONFIG [--run-dir DIR] [FLAGS] [--overrides]`; the same directory resumes.

--dry-run         say what it would take, and write nothing
--show-shardings  print where every parameter lies
--profile         write a trace of some steps to DIR/profile
--distributed     join the other processes that run the same command, on every host
"""

import contextlib
from pathlib import Path

import jax

from jaxrec.cli.arguments import FLAGS, take_config
from jaxrec.core import ResourceError
from jaxrec.core.files import write_text
from jaxrec.core.lock import locked
from jaxrec.core.memory import keep_memory
from jaxrec.core.processes import is_writer, meet, only_writer_prints
from jaxrec.systems import generative, item_text, model
from jaxrec.systems import run as runs
from jaxrec.systems.config import Config
from jaxrec.systems.dataset import load_dataset

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


def _run(config: Config, path: Path, directory: Path, flags: set[str]) -> None:
    dry = DRY in flags
    config = model.resolve(config)
    dataset = load_dataset(config.data)
    facts = dataset.describe()
    print(
        f"{facts['dataset']}: {facts['users']:,} users, {facts['items']:,} items, "
        f"{facts['interactions']:,} interactions ({facts['source']})\n"
        f"split: {facts['split']}; ties: {facts['ties']}"
    )
    codes = generative.open_run(config, dataset, directory, write=not dry)
    print(item_text.describe(codes.metadata))
    if SHOW in flags:
        print(generative.show_shardings(config, codes))
    plan = generative.plan_training(config, dataset, codes)
    print(plan)
    if dry:
        plan.memory.check()
        print(f"nothing written; next: jaxrec train {path} --run-dir {directory}")
        return
    result = generative.train(config, dataset, codes, directory, plan, PROFILE in flags)
    # Seconds of a resumed run count its last sitting only.
    summary = {
        "best_step": result.best_step,
        "steps": result.steps,
        "seconds": result.seconds,
        "trained_parameters": plan.size.trainable,
        "valid": result.metrics,
        "compiles_after_warmup": result.compiles_after_warmup,
    }
    if is_writer():
        write_text(directory / "train.json", runs.to_json(summary))
    shown = "  ".join(f"{name} {value:.4f}" for name, value in result.metrics.items())
    print(f"best step {result.best_step} of {result.steps} on validation: {shown}")
    print(f"next: jaxrec eval {directory}")
