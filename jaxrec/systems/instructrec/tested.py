"""A model that follows instructions, and how it scores candidates under each kind of them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.eval import average
from jaxrec.systems.instructrec.candidates import random_sets
from jaxrec.systems.instructrec.config import InstructRecConfig, Normalization
from jaxrec.systems.instructrec.grammar import PRIOR
from jaxrec.systems.instructrec.tasks import SO, YES_NO, InstructData, InstructTask
from jaxrec.texts import AnswerOptions, Datum, Prompted, Questions, ask, candidate_metrics

# The validation metric that ranks checkpoints, and the instruction that it is about.
METRIC, SEQUENTIAL = "ndcg@5", "P1-I0-T2"
# Most tokens of the preference that a chain of thought writes before the item.
_THOUGHT = 16

# From N candidate sets to [N, C] scores; higher is better.
Rank = Callable[[Sequence[Datum]], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Tested:
    """A model with its tasks.

    Attributes:
      config: of the run.
      data: what its instructions are made of.
      tasks: its tasks by name, worded for its names.
      prompted: the model.
      parameters: number of its parameters.
      seconds: time that its training took.
    """

    config: InstructRecConfig
    data: InstructData
    tasks: Mapping[str, InstructTask]
    prompted: Prompted
    parameters: int = 0
    seconds: float = 0.0

    @functools.cached_property
    def prior(self) -> np.ndarray:
        """Log-probability of every item after a prompt that tells nothing of the user: `[I]`.

        Raises:
          ConfigError: the run does not train such a prompt.
        """
        if PRIOR.name not in self.tasks:
            raise ConfigError(
                f"PMI needs the task {PRIOR.name}, which this run does not train; train it, or "
                "take another normalization"
            )
        task, every = self.tasks[PRIOR.name], np.arange(self.data.dataset.num_items)
        prompt = ask(task, task.wordings["seen"], self.data, [Datum(item=0)]).prompts[0]
        return self.prompted.score_items([prompt], every[None])[0]

    def by_title(
        self,
        task: str,
        sets: Sequence[Datum],
        *,
        wording: str = "seen",
        normalization: Normalization | None = None,
    ) -> np.ndarray:
        """Score candidates by the likelihood of their names as the answer.

        Args:
          task: a task that is answered by an item.
          sets: N data with C candidates each.
          wording: "seen" or "unseen" in training.
          normalization: of the likelihood; None for that of the config.

        Returns:
          `[N, C]` float64.
        """
        questions = self._ask(task, sets, wording)
        scores = self.prompted.score_items(questions.prompts, questions.candidates)
        return self._normalized(scores, questions.candidates, normalization)

    def by_yes(self, task: str, sets: Sequence[Datum]) -> np.ndarray:
        """Score candidates by how much likelier "yes" is than "no": `[N, C]` float64."""
        every = [
            dataclasses.replace(one, asked=item, answer=0)
            for one in sets
            for item in _candidates(one).tolist()
        ]
        questions = self._ask(task, every)
        logs = YES_NO.answer(self.prompted, questions, AnswerOptions())
        return (logs[:, 0] - logs[:, 1]).astype(np.float64).reshape(len(sets), -1)

    def by_thought(self, task: str, sets: Sequence[Datum]) -> np.ndarray:
        """Let the model write a preference, and score candidates as what follows: `[N, C]`."""
        questions = self._ask(task, sets)
        thoughts = self.tasks[task].answer.answer(
            self.prompted, questions, AnswerOptions(max_tokens=_THOUGHT)
        )
        written = [f"{thought} {SO}" for thought in thoughts]
        scores = self.prompted.score_items(questions.prompts, questions.candidates, written)
        return self._normalized(scores, questions.candidates)

    def _ask(self, task: str, sets: Sequence[Datum], wording: str = "seen") -> Questions:
        if task not in self.tasks:
            raise ConfigError(f"this run does not train the task {task}; add it to tasks")
        return ask(self.tasks[task], self.tasks[task].wordings[wording], self.data, sets)

    def _normalized(
        self, scores: np.ndarray, candidates: np.ndarray, by: Normalization | None = None
    ) -> np.ndarray:
        by = self.config.eval.normalization if by is None else by
        if by == "mean":
            return scores / self.prompted.items.lengths[candidates]
        return scores - self.prior[candidates] if by == "pmi" else scores


def in_groups(rank: Rank, sets: Sequence[Datum], size: int) -> np.ndarray:
    """Score many candidates in groups, whose best ones are scored anew among one another.

    Args:
      rank: scores candidate sets of at most `size` candidates.
      sets: N data with C candidates each, in an order that says nothing.
      size: number of candidates that are scored together.

    Returns:
      `[N, C]`: the candidates that win their group have the scores of the last round, all others
      -inf.

    Example:
      >>> sets = [Datum(candidates=np.array([4, 7, 1, 9]), item=7)]
      >>> def highest(sets):
      ...     return np.stack([one.candidates for one in sets]).astype(float)
      >>> in_groups(highest, sets, size=2).tolist()
      [[-inf, 7.0, -inf, 9.0]]
    """
    candidates = np.stack([_candidates(one) for one in sets])
    count = candidates.shape[1]
    if count <= size:
        return rank(sets)
    parts = np.array_split(np.arange(count), -(-count // size))
    best = np.stack(
        [
            part[rank(_offering(sets, candidates[:, part])).argmax(axis=1)]
            for part in parts  # the parts of all sets have the same size
        ],
        axis=1,
    )
    winners = np.take_along_axis(candidates, best, axis=1)
    scores = np.full(candidates.shape, -np.inf)
    np.put_along_axis(scores, best, in_groups(rank, _offering(sets, winners), size), axis=1)
    return scores


def _offering(sets: Sequence[Datum], candidates: np.ndarray) -> list[Datum]:
    return [
        dataclasses.replace(one, candidates=row) for one, row in zip(sets, candidates, strict=True)
    ]


def _candidates(one: Datum) -> np.ndarray:
    assert one.candidates is not None
    return one.candidates


def validation_score(tested: Tested, users: np.ndarray) -> dict[str, float]:
    """Metrics of the candidates of validation users, which rank checkpoints."""
    sets = random_sets(tested.data, "valid", tested.config.candidates, users)
    return average(candidate_metrics(tested.by_title(SEQUENTIAL, sets), sets, (1, 5)))
