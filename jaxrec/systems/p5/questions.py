"""What a P5 run is asked: questions of each task about the validation and test items.

Prompts are those of training with two differences. The history is as long as the stage allows, and
negatives are items that the user has never met, held-out ones included.
"""

from collections.abc import Mapping

import numpy as np

from jaxrec.runs import Stage
from jaxrec.systems.p5.config import P5Config
from jaxrec.systems.p5.tasks import TASKS
from jaxrec.texts import (
    AnswerOptions,
    PromptData,
    Prompted,
    Questions,
    TextTask,
    ask,
    find_tasks,
    measure_task,
    validation_units,
)

METRIC = "score"
# Most tokens of a text that the model writes.
TEXT_TOKENS = 32


def tasks_of(config: P5Config, data: PromptData) -> dict[str, TextTask[PromptData]]:
    """The tasks of a run by name, worded for its names of users and items."""
    return {task.name: task.fit(data.names) for task in find_tasks(config.tasks, TASKS)}


def options_of(config: P5Config, filter_seen: bool | None = None) -> AnswerOptions:
    """What answers and metrics need of a run's settings; `filter_seen` overrides the config's."""
    return AnswerOptions(
        beams=config.decode.beams,
        filter_seen=config.decode.filter_seen if filter_seen is None else filter_seen,
        repeated_target=config.decode.repeated_target,
        max_tokens=TEXT_TOKENS,
        ks=config.eval.ks,
    )


def held_out_questions(
    data: PromptData,
    task: TextTask[PromptData],
    stage: Stage,
    units: np.ndarray,
    wording: str = "seen",
) -> Questions:
    """Ask a task about held-out users or rows.

    Args:
      data: of the run.
      task: one of `tasks_of`.
      stage: "valid" or "test".
      units: users or rows, whichever the task's source counts.
      wording: "seen" or "unseen" in training, or the name of a template.
    """
    template = task.wordings.get(wording) or task.template(wording)
    examples = task.source.held_out(data, stage, units)
    return ask(task, template, data, examples, default=mean_rating(data))


def mean_rating(data: PromptData) -> float:
    """The mean rating of the training rows, which stands in for a text without one."""
    if data.ratings is None:
        return float("nan")
    return float(data.dataset.interactions.rating[data.ratings.train].mean())


def validation(config: P5Config, data: PromptData) -> dict[str, Questions]:
    """Questions of the validations during training, by task.

    These are the tasks that select checkpoints, or all tasks of the run if none of them does.
    """
    tasks = tasks_of(config, data).values()
    users, seed = config.eval.validated(data.dataset.num_users), config.train.seed
    chosen = [task for task in tasks if task.selects] or list(tasks)
    return {
        task.name: held_out_questions(
            data,
            task,
            "valid",
            validation_units(task, data, users=users, seed=seed),
            task.validation_template.name,
        )
        for task in chosen
    }


def validate(
    prompted: Prompted, questions: Mapping[str, Questions], config: P5Config
) -> dict[str, float]:
    """Metrics of each task, and their "score": the sum of what each task's metric makes of them."""
    shown: dict[str, float] = {}
    score = 0.0
    for task in find_tasks(questions, TASKS):
        metrics = measure_task(task, prompted, questions[task.name], options_of(config))
        shown |= {f"{task.name}/{name}": metrics[name] for name in task.metric.shown}
        score += task.metric.score(metrics)
    return shown | {METRIC: score}
