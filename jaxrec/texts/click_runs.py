"""The training of a text model that answers with one of two texts, in stages.

Each stage begins with the parameters that the stage before it learned. The last one writes its
checkpoints into the directory of the run, and the others into directories of their own below it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.data import TokenRows, instruction_batches
from jaxrec.runs import Options, check_run, create_run, is_run, run_identity, write_summary
from jaxrec.texts.click_data import ClickParts, load_click_parts
from jaxrec.texts.tuned import TextModel
from jaxrec.train import LossFunction, Start, TrainConfig, Validation, fit


def load_click_run(config: Any) -> ClickParts:
    """Read the data of a run, and draw the windows to train on if there are to be few.

    Args:
      config: with `data`, `split`, `history`, `threshold`, `shots`, the `seed` of `train`, and
        `valid_windows` and `test_windows` of `eval`, see `load_click_parts`.

    Raises:
      DataError: the data have no such windows, or none on which an AUC is defined.
      ConfigError: more shots than windows.
    """
    return load_click_parts(
        config.data,
        split=config.split,
        history=config.history,
        threshold=config.threshold,
        shots=config.shots,
        seed=config.train.seed,
        valid_windows=config.eval.valid_windows,
        test_windows=config.eval.test_windows,
    )


def begin_run(config: Any, parts: ClickParts, text: TextModel, directory: Path) -> None:
    """Write what a new run starts from; an existing run was checked and stays as it is."""
    if not is_run(directory):
        text.save(directory)
        create_run(config, parts, None, directory)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClickStage:
    """One training: its texts, and the questions that rank its checkpoints.

    Attributes:
      name: of the stage and of its directory.
      rows: texts to train on.
      held: validation questions.
      config: settings of the training.
    """

    name: str
    rows: TokenRows
    held: TokenRows
    config: TrainConfig


def train_stages(
    text: TextModel,
    stages: Sequence[ClickStage],
    directory: Path,
    *,
    config: Any,
    parts: ClickParts,
    loss: LossFunction,
    measure: Callable[[TokenRows, Any], dict[str, float]],
    metric: str,
    options: Options,
) -> None:
    """Plan all stages, train or resume them one after the other, and write `train.json`.

    Args:
      text: the text model.
      stages: in the order of training.
      directory: of the run, which is made if there is none.
      config: of the run.
      parts: the data of the run.
      loss: of all stages.
      measure: maps validation questions and the model's variables to metrics.
      metric: the metric that ranks checkpoints.
      options: flags of the command; a dry run ends after the plans.

    Raises:
      ConfigError, DataError: the run in the directory has other settings or other data.
      OutOfMemory: a stage does not fit.
    """
    if is_run(directory):
        check_run(config, parts, directory)
    plans = []
    for stage in stages:
        example = stage.rows.take(np.zeros(stage.config.batch_size, int))
        plan = text.plan(loss, example, stage.config)
        print(
            f"{stage.name}: {len(stage.rows):,} texts of at most {stage.rows.tokens.shape[1]} "
            "tokens"
        )
        print(plan)
        plan.memory.check()
        plans.append((stage, plan))
    if options.dry:
        return
    begin_run(config, parts, text, directory)
    start: Callable[[], Any] = text.start
    owner: Mapping[str, str] = run_identity(directory)
    for stage, plan in plans:
        batches = instruction_batches(
            stage.rows, batch_size=stage.config.batch_size, seed=stage.config.seed
        )
        place = directory if stage is stages[-1] else directory / stage.name
        evaluate = functools.partial(measure, stage.held)
        result = fit(
            plan,
            iter(batches),
            Validation(evaluate, metric, (len(stage.held), "question")),
            place,
            start=Start(params=start, frozen=text.frozen, base=text.base, run=owner),
            title=stage.name,
            profile=options.profile,
        )
        start = functools.partial(text.trained, place, stage.config, owner)
    write_summary(directory, result, trained_parameters=plan.size.trainable)
