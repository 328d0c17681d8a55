"""The tables of a P5 run's questions with two answers: yes or no, like or dislike.

Accuracy and AUC have intervals over users and paired tests, like rankings. Beside the model stand
rules that read no prompt: the answer that is commonest in training, the popularity of the item, and
its mean rating. A rule that scores items answers by the threshold that is best on training
examples.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrec.baselines import biases, item_means
from jaxrec.eval import auc_by_user, pooled_auc_by_user, share_by_user
from jaxrec.runs import MODEL, Measured, baseline_table
from jaxrec.systems.p5.questions import options_of
from jaxrec.systems.p5.tested import UNSEEN, Tested
from jaxrec.texts import Datum, GivenStar, PromptData, TextTask, held_out

P5Task = TextTask[PromptData]
# Training examples on which a rule's threshold, and the commonest answer, are chosen.
_COUNTED = 1000
_FIRST = 0  # number of the answer that a high score speaks for


def choice_table(tested: Tested, task: P5Task) -> dict[str, Any]:
    """Rows and paired tests of a task with two answers: JSON-able.

    Args:
      tested: the run.
      task: one of its tasks, whose answer is a `Choice` of two texts.
    """
    systems = {}
    for name, wording in ((MODEL, "seen"), (UNSEEN, "unseen")):
        begun = time.monotonic()
        asked = tested.questions(task, wording)
        logs = task.answer.answer(tested.prompted, asked, options_of(tested.config))
        gaps = logs[:, 0] - logs[:, 1]
        metrics = metrics_of_choices(asked.answers, gaps, asked.users, logs.argmax(axis=1))
        systems[name] = tested.measured(metrics, np.zeros((0, 0)), begun)
    learned = training_examples(tested.data, task)
    asked = tested.questions(task, "seen")
    for name, (train, test) in rules(tested.data, task, learned, asked.data).items():
        bound = best_threshold(np.array([datum.answer for datum in learned]), train)
        chosen = np.where(test >= bound, _FIRST, 1 - _FIRST)
        systems[name] = Measured(
            metrics=metrics_of_choices(asked.answers, test, asked.users, chosen),
            parameters=0,
            fit_seconds=0.0,
            test_seconds=0.0,
            items=np.zeros((0, 0)),
        )
    tested_by = "auc" if "auc" in systems[MODEL].metrics else "accuracy"
    return baseline_table(systems, tested.config, tested_by)


def metrics_of_choices(
    truth: np.ndarray, scores: np.ndarray, users: np.ndarray, chosen: np.ndarray
) -> dict[str, np.ndarray]:
    """One value per user of each metric, whose mean over users is the metric.

    Args:
      truth: `[N]` numbers of the right answers.
      scores: `[N]`, how much speaks for the first answer.
      users: `[N]`.
      chosen: `[N]` numbers of the answers given.

    Returns:
      "accuracy"; "auc" where both answers occur; "within_user_auc" where some user has both.

    Example:
      >>> import numpy as np
      >>> truth, users = np.array([0, 1]), np.array([5, 5])
      >>> found = metrics_of_choices(truth, np.array([0.2, 0.1]), users, np.array([0, 0]))
      >>> {name: float(values.mean()) for name, values in found.items()}
      {'accuracy': 0.5, 'auc': 1.0, 'within_user_auc': 1.0}
    """
    metrics = {"accuracy": share_by_user(chosen == truth, users)}
    positive = truth == _FIRST
    if len(np.unique(positive)) < 2:
        return metrics
    both = set(users[positive].tolist()) & set(users[~positive].tolist())
    if not both:
        return metrics | {"auc": pooled_auc_by_user(positive, scores, users)}
    values = auc_by_user(positive, scores, users)
    return metrics | {"auc": values.auc, "within_user_auc": values.within_user}


def training_examples(data: PromptData, task: P5Task) -> list[Datum]:
    """Examples of a task's training stream, spread evenly over it."""
    stream, rng = task.source.training(data), np.random.default_rng(0)
    places = np.linspace(0, stream.size - 1, min(stream.size, _COUNTED)).astype(int)
    return [stream.draw(place, rng) for place in places.tolist()]


def rules(
    data: PromptData, task: P5Task, train: list[Datum], test: Any
) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Scores of the rules for training and test examples, by name.

    A rule that scores ratings speaks for "yes" to a given number of stars the more, the closer it
    is to them.

    Args:
      data: of the run.
      task: what is asked.
      train: training examples.
      test: test examples.
    """
    counts = np.bincount(data.dataset.split.train.item, minlength=data.dataset.num_items)

    def of(values: np.ndarray, by_row: bool = False, near: bool = False) -> Any:
        """Both scores, from a value for each item or each row."""
        scores = []
        for examples in (train, test):
            items = [d.asked if d.asked >= 0 else d.item for d in examples]
            found = values[[d.row for d in examples] if by_row else items].astype(float)
            stars = np.array([d.star for d in examples])
            scores.append(-np.abs(found - stars) if near else found)
        return tuple(scores)

    found = {"commonest answer": of(np.zeros(len(counts))), "popularity": of(counts)}
    interactions, rated = data.dataset.interactions, _rated(data)
    if len(rated):
        near = isinstance(task.source, GivenStar)
        # An item that nobody has rated in training has the mean of all ratings.
        means = np.full(len(counts), interactions.rating[rated].mean())
        known = np.isin(interactions.item, interactions.item[rated])
        means[interactions.item[known]] = item_means(interactions, rated)[known]
        found["item mean"] = of(means, near=near)
        if task.source.unit == "row":
            found["user and item bias"] = of(biases(interactions, rated), by_row=True, near=near)
    return found


def _rated(data: PromptData) -> np.ndarray:
    """Rows whose ratings a rule may read: those of the training, none without ratings."""
    if data.ratings is not None:
        return data.ratings.train
    known = np.isfinite(data.dataset.interactions.rating) & ~held_out(data.dataset)
    return np.flatnonzero(known)


def best_threshold(truth: np.ndarray, scores: np.ndarray) -> float:
    """The least score that should count as the first answer, to be right most often.

    Of several equally good ones it is the lowest.

    Args:
      truth: `[N]` numbers of the right answers.
      scores: `[N]`.

    Example:
      >>> import numpy as np
      >>> best_threshold(np.array([1, 0, 0]), np.array([0.1, 0.4, 0.9]))
      0.4
    """
    bounds = np.append(np.unique(scores), np.inf)
    ordered = np.sort(scores[truth == _FIRST]), np.sort(scores[truth != _FIRST])
    right = len(ordered[0]) - np.searchsorted(ordered[0], bounds)
    right = right + np.searchsorted(ordered[1], bounds)
    return float(bounds[int(right.argmax())])
