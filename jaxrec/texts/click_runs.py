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
from jaxrec.runs import Options, run_identity, write_summary
from jaxrec.texts.tuned import TextModel
from jaxrec.train import LossFunction, Start, TrainConfig, Validation, fit


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
    loss: LossFunction,
    measure: Callable[[TokenRows, Any], dict[str, float]],
    metric: str,
    options: Options,
    begin: Callable[[], None],
) -> None:
    """Plan all stages, train or resume them one after the other, and write `train.json`.

    Args:
      text: the text model.
      stages: in the order of training.
      directory: of the run.
      loss: of all stages.
      measure: maps validation questions and the model's variables to metrics.
      metric: the metric that ranks checkpoints.
      options: flags of the command; a dry run ends after the plans.
      begin: writes what the run starts from, once the plans are known to fit.

    Raises:
      OutOfMemory: a stage does not fit.
    """
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
    begin()
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
