"""Scores of the tasks: one value per row of each metric, whose mean is the metric where it is one.

Shapes: `n` rows, `C` classes or candidates.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.data import Span, TagSet, repair_tags, spans_of_tags
from jaxrec.data.recruitment import Task, TaskRows
from jaxrec.eval import bootstrap_interval, match_spans, pooled_auc
from jaxrec.systems.recruitpro.opened import Opened
from jaxrec.systems.recruitpro.predict import Predictor
from jaxrec.systems.recruitpro.tables import Rows, kind_of, tag_table

METRIC = "score"
ACCURACY = "accuracy"
_HITS = (1, 10)
# Figures that rank checkpoints of a run without accuracies.
_MAIN = {"ranking": "mrr", "regression": "mae", "tagging": "f1"}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """The scores of a task.

    Attributes:
      values: by metric, one value per row; the metric is their mean.
      plain: metrics that are no means over rows.
    """

    values: Mapping[str, np.ndarray]
    plain: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """All metrics."""
        return {name: float(v.mean()) for name, v in self.values.items()} | dict(self.plain)


def score_task(task: Task, rows: TaskRows, predicted: np.ndarray) -> Scored:
    """Score what was predicted for rows of a task.

    Classification: "accuracy", the "f1" weighted by the classes' rows, the "macro_f1" over the
    classes that occur, and the "auc" of two classes. Matching: the same of two classes. Ranking:
    "mrr", "hits@1" and "hits@10", where equal scores share their ranks. Regression: "mae" and
    "rmse" in standard deviations of the training values. Tagging: strict "precision", "recall" and
    "f1" of spans.

    Args:
      task: the task.
      rows: of one part; possibly the first ones of it.
      predicted: see `Predictor`.

    Example:
      >>> rows = TaskRows(texts=("a", "b"), labels=np.array([0, 1]))
      >>> task = Task(name="x", kind="classification", train=rows, valid=rows, test=rows)
      >>> score_task(task, rows, np.array([[2.0, 1.0], [3.0, 1.0]])).metrics()["accuracy"]
      0.5
    """
    if task.kind == "classification":
        return _classes(rows.labels, predicted.argmax(axis=1), predicted[:, 1] - predicted[:, 0])
    if task.kind == "matching":
        return _classes(rows.labels, (predicted > 0).astype(np.int32), predicted)
    if task.kind == "ranking":
        scores = predicted.reshape(len(rows), -1)
        return Scored(values=rank_values(scores, rows.relevant))
    if task.kind == "regression":
        errors = predicted[:, 0].astype(np.float64) - rows.values
        rmse = float(np.sqrt((errors**2).mean()))
        return Scored(values={"mae": np.abs(errors)}, plain={"rmse": rmse})
    return _spans(rows, predicted, tag_table(task))


def _classes(labels: np.ndarray, chosen: np.ndarray, margin: np.ndarray) -> Scored:
    from sklearn.metrics import f1_score

    known = sorted(set(labels.tolist()))
    plain = {
        "f1": float(f1_score(labels, chosen, average="weighted", zero_division=0)),
        # Classes that no row has are left out, or every wrong guess would add one with an F1 of 0.
        "macro_f1": float(f1_score(labels, chosen, average="macro", labels=known, zero_division=0)),
    }
    if known == [0, 1]:
        plain["auc"] = pooled_auc(labels, margin)
    right = (np.asarray(chosen) == np.asarray(labels)).astype(np.float64)
    return Scored(values={ACCURACY: right}, plain=plain)


def rank_values(scores: np.ndarray, relevant: np.ndarray) -> dict[str, np.ndarray]:
    """Reciprocal rank and hits of the relevant candidate of each row.

    Candidates with the same score as the relevant one stand half before it and half after it.

    Args:
      scores: `[n, C]`.
      relevant: `[n]` int, place of the relevant candidate.

    Returns:
      `[n]` float64 of "mrr", "hits@1" and "hits@10".

    Example:
      >>> scores = np.array([[3.0, 1.0, 2.0]])
      >>> rank_values(scores, np.array([2]))["mrr"].tolist()
      [0.5]
    """
    own = np.take_along_axis(scores, np.asarray(relevant)[:, None], axis=1)
    ahead, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1
    rank = 1 + ahead + equal / 2
    hits = {f"hits@{k}": (rank <= k).astype(np.float64) for k in _HITS}
    return {"mrr": 1 / rank} | hits


def _spans(rows: TaskRows, numbers: np.ndarray, tags: TagSet) -> Scored:
    """Strict scores of spans; words beyond the row are outside."""
    gold: list[Sequence[Span]] = []
    found: list[Sequence[Span]] = []
    for own, predicted in zip(rows.tags, numbers, strict=True):
        gold.append(spans_of_tags(list(own)))
        names = [tags.names[number] for number in predicted[predicted >= 0].tolist()]
        found.append(spans_of_tags(repair_tags(names)[0]))
    return Scored(values=match_spans(gold, found).values())


def mean_over_tasks(scored: Mapping[str, Scored]) -> np.ndarray | None:
    """One value per row whose mean is the mean accuracy over tasks; None without accuracies.

    Tasks count alike, whatever their number of rows: a row of a task with `n_t` of `n` rows, one of
    `T` tasks, counts n / (T n_t).

    Args:
      scored: by name of the task.

    Example:
      >>> few, many = Scored(values={"accuracy": np.ones(1)}), Scored(
      ...     values={"accuracy": np.zeros(9)})
      >>> float(mean_over_tasks({"few": few, "many": many}).mean())
      0.5
    """
    right = [own.values[ACCURACY] for own in scored.values() if ACCURACY in own.values]
    if not right:
        return None
    total = sum(map(len, right))
    return np.concatenate([values * total / (len(right) * len(values)) for values in right])


def predict_part(
    opened: Opened, predictor: Predictor, variables: Any, part: str, limit: int = 0
) -> dict[str, Scored]:
    """Score the tasks of a run on a part.

    Args:
      opened: the run.
      predictor: of its network.
      variables: of the network.
      part: "valid" or "test".
        On "valid", tasks without an accuracy are left out if others have one.
      limit: rows of each task, the first ones; 0 for all.
    """
    found = {}
    able = [task.kind in ("classification", "matching") for task in opened.tasks]
    for number, (task, tables) in enumerate(zip(opened.tasks, opened.tables, strict=True)):
        if part == "valid" and any(able) and not able[number]:
            continue
        rows: Rows = tables[part].first(limit)
        records = first_rows(getattr(task, part), limit)
        found[task.name] = score_task(task, records, predictor(variables, rows, number))
    return found


def first_rows(rows: TaskRows, count: int) -> TaskRows:
    """The first rows of a part with what the scores read; 0 takes all."""
    if not count or count >= len(rows):
        return rows
    names = ("texts", "labels", "values", "relevant", "words", "tags")
    return dataclasses.replace(rows, **{name: getattr(rows, name)[:count] for name in names})


def make_validation(opened: Opened) -> Callable[[Any], dict[str, float]]:
    """Return the measurement of a checkpoint on validation rows: "score", and the tasks' figures.

    The score is the mean accuracy over the tasks that have one. A run without such tasks takes the
    mean of the reciprocal rank, of strict F1, and of minus the absolute error.

    Args:
      opened: the run.
    """
    predictor = Predictor(network=opened.network, batch_size=opened.config.eval.batch_size)
    limit = opened.config.eval.valid_rows

    def measure(variables: Any) -> dict[str, float]:
        scored = predict_part(opened, predictor, variables, "valid", limit)
        mean = mean_over_tasks(scored)
        if mean is not None:
            figures = {name: own.metrics()[ACCURACY] for name, own in scored.items()}
            return {METRIC: float(mean.mean())} | figures
        kinds = {task.name: _MAIN[task.kind] for task in opened.tasks}
        figures = {name: own.metrics()[kinds[name]] for name, own in scored.items()}
        signs = {name: -1 if kinds[name] == "mae" else 1 for name in figures}
        score = np.mean([signs[name] * value for name, value in figures.items()])
        return {METRIC: float(score)} | figures

    return measure


def all_values(scored: Mapping[str, Scored]) -> dict[str, np.ndarray]:
    """Values of all tasks by "METRIC_TASK", after those of "accuracy", the mean over tasks.

    Args:
      scored: by name of the task.
    """
    mean = mean_over_tasks(scored)
    found = {} if mean is None else {ACCURACY: mean}
    for name, own in scored.items():
        found |= {f"{metric}_{name}": values for metric, values in own.values.items()}
    return found


def row_of(scored: Mapping[str, Scored], resamples: int) -> dict[str, Any]:
    """Metrics of all tasks, those that are means with intervals by a bootstrap over rows.

    Args:
      scored: by name of the task.
      resamples: number of resamples.
    """
    intervals = {
        name: bootstrap_interval(values, resamples=resamples)
        for name, values in all_values(scored).items()
    }
    metrics = {name: interval.mean for name, interval in intervals.items()}
    for name, own in scored.items():
        metrics |= {f"{metric}_{name}": value for metric, value in own.plain.items()}
    return {
        "metrics": metrics,
        "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
    }


def frequent(tasks: Sequence[Task]) -> dict[str, Scored]:
    """What the most frequent training label of each classification and matching task scores."""
    found = {}
    for task in tasks:
        if task.kind not in ("classification", "matching"):
            continue
        counts = np.bincount(task.train.labels)
        chosen = np.full(len(task.test), counts.argmax())
        scored = _classes(task.test.labels, chosen, np.zeros(len(chosen)))
        found[task.name] = Scored(values=scored.values)
    return found


def planted(tasks: Sequence[Task]) -> dict[str, Scored]:
    """What the planted probabilities score, of tasks with two labels whose rows have them."""
    found = {}
    for task in tasks:
        chance = task.test.probability
        if kind_of(task) == "words" or len(chance) != len(task.test) or np.isnan(chance).any():
            continue
        found[task.name] = _classes(task.test.labels, (chance > 0.5).astype(np.int32), chance)
    return found
