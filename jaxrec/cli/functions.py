"""What `jaxrec train`, `eval` and `export` do, as functions of Python.

    run = jaxrec.train_run("quickstart")
    report = jaxrec.evaluate_run(run)
    jaxrec.export_run(run, "exports/a", to="hf")
    model = jaxrec.open(run)

The commands parse their words and call these functions, so both do the same.
"""

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from jaxrec.cli.configs import find_config, run_name
from jaxrec.cli.exporting import Exported, Format, export_model_of
from jaxrec.cli.loading import load_config_file, load_stages
from jaxrec.cli.run_argument import read_run
from jaxrec.core import (
    ConfigError,
    Count,
    ResourceError,
    check_name,
    check_types,
    check_writable,
    flag,
    locked,
    on_writer,
    only_writer_prints,
    path_of,
    to_json,
    write_text,
)
from jaxrec.runs import (
    WARNING,
    Options,
    check_stages,
    evaluate_run as measure_run,
    is_quick,
    make_quick,
    marked,
    placed,
    system_of,
    train_stages,
)
from jaxrec.train import memory_explained


def train_run(
    config: Any,
    directory: str | os.PathLike[str] | None = None,
    *,
    quick: bool = False,
    dry: bool = False,
    stages: Mapping[str, Any] | None = None,
    profile: bool = False,
    wandb: bool = False,
) -> Path:
    """Train a config, or resume its run; `jaxrec.train_run` is this function.

    Args:
      config: the config of any system; or the name or the path of a config file, whose stages are
        trained first.
      directory: of the run; None for `runs/NAME` of a config file.
      quick: train for about a minute to see that it works; the figures mean nothing.
      dry: print what training would take, and write nothing.
      stages: configs by name that are trained before a config that is given as an object, see
        `check_stages`.
      profile: write a trace of some steps.
      wandb: also send the metrics to Weights & Biases (`pip install 'jaxrec[wandb]'`).

    Returns:
      The directory of the run, which `jaxrec.open` takes.

    Raises:
      ConfigError: an unknown config, settings that contradict each other, no directory for a
        config object, or a directory that holds a run with other settings.
      DataError: the data cannot be read.
      ResourceError: the directory cannot be written, or the memory is too small.

    Example:
      >>> import contextlib, io, tempfile
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> from jaxrec.testing import tiny_config, write_tiny_csv
      >>> place = Path(tempfile.mkdtemp())
      >>> config = SasrecRunConfig(data=tiny_config(write_tiny_csv(place)).data)
      >>> with contextlib.redirect_stdout(io.StringIO()) as printed:
      ...     run = train_run(config, place / "run", dry=True)
      >>> "parameters" in printed.getvalue(), run.exists()  # a dry run writes nothing
      (True, False)
    """
    for what, value in (("quick", quick), ("dry", dry), ("profile", profile), ("wandb", wandb)):
        flag(value, what)
    if directory is not None:
        directory = path_of(directory, "directory")
    if isinstance(config, str | os.PathLike):
        if stages is not None:
            raise ConfigError(
                f"{os.fspath(config)} has its own stages (get_stages); leave stages out, or give "
                "the config as an object"
            )
        file = find_config(os.fspath(config))
        config = load_config_file(file, quick=quick)
        stages = load_stages(file, config, quick=quick)
        directory = directory or f"runs/{run_name(file)}{'-quick' if quick else ''}"
    else:
        system_of(config)
        check_types(config)
        stages = check_stages(stages or {}, config)
        if quick:
            config = make_quick(config)
            stages = {name: make_quick(stage) for name, stage in stages.items()}
    if directory is None:
        raise ConfigError("the run of a config object needs a directory; give one, such as runs/a")
    train_config(
        config,
        Path(directory),
        stages=stages,
        quick=quick,
        options=Options(dry=dry, profile=profile),
        wandb=wandb,
    )
    return Path(directory)


def train_config(
    config: Any,
    directory: Path,
    *,
    stages: Mapping[str, Any],
    quick: bool,
    options: Options,
    wandb: bool,
) -> None:
    """Train a checked config after its checked stages; see `train_run`.

    Args:
      config: of any system; a quick variant if `quick`.
      directory: of the run.
      stages: configs that are trained first.
      quick: label what the run leaves behind.
      options: flags of the training.
      wandb: see `train_run`.
    """
    dry = options.dry
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_writer_prints())
        check_name(directory)
        if dry:
            on_writer(lambda: check_writable(directory))
        else:
            stack.enter_context(locked(directory))
        if quick:
            print(WARNING)
        try:
            if dry and stages:
                name = next(iter(stages))
                train_stages({name: stages[name]}, directory, options)
                print(f"what the other stages take is known when stage {name} is trained")
                return
            train_stages(stages, directory, options, quick=quick)
            with (
                memory_explained(config),
                contextlib.nullcontext() if dry else marked(directory, quick),
                _sending(config, directory, wandb and not dry),
            ):
                system_of(config).train(placed(config, directory), directory, options)
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            raise ResourceError(
                f"the processes lost contact ({error}); start the same command again on every host "
                "to resume"
            ) from error


def evaluate_run(
    directory: str | os.PathLike[str], *, baselines: Sequence[str] | None = None
) -> dict[str, Any]:
    """Measure a trained run beside its baselines; `jaxrec.evaluate_run` is this function.

    Args:
      directory: of the run.
      baselines: names of the baselines to fit and measure beside it; None for those of its config,
        and () for none.

    Returns:
      What is written into `eval.json`: "heading", "protocol", "rows" with "metrics" and
      "intervals" by name, "comparisons", and "lines" of text; see `System.evaluate`.

    Raises:
      ConfigError: an unknown baseline, or a system that cannot be measured.
      DataError: no run there, not trained yet, damaged, or its data have changed.

    Example:
      >>> evaluate_run("nowhere")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: nowhere is no run directory (no such directory); ...
    """
    place = path_of(directory, "directory")
    config = read_run(place)
    check_writable(place, "directory for the run")
    with marked(place, is_quick(place)):
        report = measure_run(config, place, baselines)
        write_text(place / "eval.json", to_json(report))
    return report


def export_run(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: Format = "hf",
    base: str = "",
    family: str = "auto",
    dtype: Literal["float32", "bfloat16"] = "float32",
    shard_mb: Count = 5000,
) -> Exported:
    """Write a run or a model in the format of another library; `jaxrec.export_run` is this.

    Args:
      model: a run directory, a model directory, or a checkpoint that `jaxrec import-hf` reads.
      out: the directory to write; it must be empty or not exist.
      to: "hf", a model directory of Hugging Face; "hub-dir", the same with a model card; "peft",
        the adapter of a tuned run; "vllm" or "flashrec", a model with the map from IDs to items.
      base: path or name of an adapter's base; "" writes the base beside the adapter.
      family: Hugging Face's model type; "auto" for the one the model came from, or the first that
        fits.
      dtype: "float32" or "bfloat16", type of the written weights.
      shard_mb: largest size of one file in megabytes.

    Returns:
      Where it is, and as what.

    Raises:
      ConfigError: an unknown format, or a model that the format cannot hold.
      DataError: no model there, or a damaged file.
      ResourceError: `out` cannot be written.

    Example:
      >>> export_run("nowhere", "out", to="onnx")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: to must be one of hf, hub-dir, peft, vllm, ...
    """
    return export_model_of(
        path_of(model, "model"),
        path_of(out, "out"),
        to=to,
        base=base,
        family=family,
        dtype=dtype,
        shard_mb=shard_mb,
    )


def _sending(config: Any, directory: Path, asked: bool) -> contextlib.AbstractContextManager[None]:
    """Send metrics to Weights & Biases if that was asked for; nothing is imported otherwise."""
    if not asked:
        return contextlib.nullcontext()
    from jaxrec.cli.wandb_mirror import mirrored

    return mirrored(directory, dataclasses.asdict(config))
