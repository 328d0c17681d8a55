"""A trained P5 run, and the items that it finds for users."""

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.eval import list_metrics
from jaxrec.runs import Measured
from jaxrec.systems.p5.config import P5Config
from jaxrec.systems.p5.questions import held_out_questions, options_of
from jaxrec.systems.p5.tasks import TASKS, ranks_catalogue
from jaxrec.texts import Datum, PromptData, Prompted, Questions, TextTask, ask

# Row of a model that is asked in wordings that were kept out of training.
UNSEEN = "model, unseen wording"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Tested:
    """A trained run.

    Attributes:
      config: of the run.
      data: the data of its prompts.
      tasks: its tasks by name, worded for its names.
      prompted: the model.
      parameters: number of the model's parameters.
      seconds: time that its training took.
    """

    config: P5Config
    data: PromptData
    tasks: Mapping[str, TextTask[PromptData]]
    prompted: Prompted
    parameters: int
    seconds: float

    def measured(
        self, metrics: Mapping[str, np.ndarray], items: np.ndarray, begun: float
    ) -> Measured:
        """A row of a table, whose measurement began at a time of `time.monotonic`."""
        seconds = time.monotonic() - begun
        return Measured(
            metrics=metrics,
            parameters=self.parameters,
            fit_seconds=self.seconds,
            test_seconds=seconds,
            items=items,
        )

    def questions(self, task: TextTask[PromptData], wording: str) -> Questions:
        """Questions of a task about all test users or rows, in a wording or a template by name."""
        units = task.source.units(self.data, "test")
        return held_out_questions(self.data, task, "test", units, wording)


def rank_all(
    tested: Tested, task: TextTask[PromptData], questions: Questions, filter_seen: bool
) -> Measured:
    """Rank the items that a task's answers may be, and measure the ranking of each target."""
    begun = time.monotonic()
    options = options_of(tested.config, filter_seen)
    items = task.answer.answer(tested.prompted, questions, options)
    metrics = list_metrics(items, questions.targets, options.ks)
    return tested.measured(metrics, items[:, : max(options.ks)], begun)


def first_ranking(tested: Tested) -> TextTask[PromptData]:
    """The first task of a run that ranks the whole catalogue.

    Raises:
      ConfigError: the run has no such task.
    """
    for task in tested.tasks.values():
        if ranks_catalogue(task):
            return task
    able = [name for name, task in TASKS.items() if ranks_catalogue(task)]
    raise ConfigError(
        f"no task of {', '.join(tested.tasks)} ranks the whole catalogue; train one of "
        f"{', '.join(able)} too"
    )


def rank_main(tested: Tested) -> Measured:
    """The ranking that stands for a run: its first ranking task in the first wording of training.

    Raises:
      ConfigError: no task of the run ranks the whole catalogue.
    """
    task = first_ranking(tested)
    filter_seen = tested.config.decode.filter_seen
    return rank_all(tested, task, tested.questions(task, "seen"), filter_seen)


def recommend_items(
    tested: Tested,
    users: Sequence[int],
    histories: Sequence[np.ndarray],
    *,
    top: int,
    filter_seen: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Recommend items to users after the histories that are given.

    Args:
      tested: the run.
      users: N user numbers, which prompts may name.
      histories: N arrays of item numbers, oldest first; the prompt shows the end of each.
      top: number of items for each user.
      filter_seen: never recommend an item of the history.

    Returns:
      `[N, top]` item numbers, best first and -1 in unfilled places, and their log-probabilities.

    Raises:
      ConfigError: no task ranks the whole catalogue, or `top` is not between 1 and `decode.beams`.
    """
    beams = tested.config.decode.beams
    if not 1 <= top <= beams:
        raise ConfigError(f"top must lie between 1 and decode.beams, {beams}; got {top}")
    task = first_ranking(tested)
    data = [
        Datum(user=user, history=history) for user, history in zip(users, histories, strict=True)
    ]
    questions = ask(task, task.wordings["seen"], tested.data, data)
    excluded = questions.seen if filter_seen else None
    items, scores = tested.prompted.recommend(questions.prompts, beams=beams, excluded=excluded)
    return items[:, :top], scores[:, :top]
