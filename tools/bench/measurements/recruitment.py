"""How hard the thirteen recruitment tasks are: chance, a bag of words, and the best possible.

    python tools/bench recruitment [--jobs 8000] [--people 4000] [--seed 0]

The data are synthetic. The bag of words is scikit-learn's: logistic regression for classes and
tags, ridge regression for salaries, and the similarity of TF-IDF vectors for pairs of people and
jobs. The best figures follow from the probabilities that the world knows; the measurement fails if
a bag of words is not between chance and the best.
"""

import dataclasses
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, roc_auc_score
from support.header import print_header
from support.table import Table

from jaxrec.data.recruitment import (
    Task,
    TaskRows,
    World,
    WorldOptions,
    recruitment_tasks,
    recruitment_world,
)

_LEVELS = {"1st": "industry", "2nd": "category", "3rd": "occupation"}
_TAGGED = 300  # texts whose words are classified


@dataclasses.dataclass(frozen=True)
class Options:
    """The size of the world.

    Attributes:
      jobs: number of jobs.
      people: number of people.
      seed: of the world.
    """

    jobs: int = 8000
    people: int = 4000
    seed: int = 0


def run(options: Options) -> Table:
    """Measure every task on the test rows of one world."""
    print_header()
    world = recruitment_world(
        WorldOptions(jobs=options.jobs, people=options.people, seed=options.seed)
    )
    rows = measure(world)
    lines = [
        "| task (synthetic) | metric | chance | bag of words | best possible |",
        "|---|---|---|---|---|",
        *(
            f"| {row['task']} | {row['metric']} | {row['chance']:.3f} | {row['words']:.3f} | "
            f"{row['best']:.3f} |"
            for row in rows
        ),
    ]
    failures = [
        f"{row['task']}: a bag of words is not between chance and the best possible"
        for row in rows
        if not between(row)
    ]
    record = dataclasses.asdict(options) | {"synthetic": True, "rows": rows}
    return Table(record, "\n".join(lines), tuple(failures))


def between(row: dict[str, Any]) -> bool:
    """Whether a bag of words does better than chance, and worse than the best."""
    low, high = sorted((row["chance"], row["best"]))
    return low < row["words"] < high


def measure(world: World) -> list[dict[str, Any]]:
    """The figures of every task: `chance`, `words` and `best`, in the task's `metric`."""
    kinds = {
        "classification": _classes,
        "matching": _matches,
        "ranking": _ranking,
        "regression": _salaries,
        "tagging": _tags,
    }
    found = []
    for task in recruitment_tasks(world.recruitment).values():
        metric, chance, words, best = kinds[task.kind](world, task)
        row = {"task": task.name, "metric": metric, "test": len(task.test)}
        numbers = {"chance": chance, "words": words, "best": best}
        found.append(row | {name: round(float(x), 4) for name, x in numbers.items()})
    return found


def _classes(world: World, task: Task) -> tuple[str, float, float, float]:
    words = CountVectorizer(min_df=2)
    train, test = words.fit_transform(task.train.texts), words.transform(task.test.texts)
    model = LogisticRegression(C=0.3, max_iter=100, tol=1e-2).fit(train, task.train.labels)
    chance = np.bincount(task.test.labels).max() / len(task.test)
    return "accuracy", chance, model.score(test, task.test.labels), _best_accuracy(world, task)


def _best_accuracy(world: World, task: Task) -> float:
    """The expected accuracy of the best prediction of the test rows."""
    if np.isfinite(task.test.probability).all():
        p = task.test.probability
        return float(np.maximum(p, 1 - p).mean())
    if task.name == "resume_understanding":
        # A vague section is one of three kinds, which then have the same words.
        return 1 - world.options.vague_sections * 2 / 3
    what, level, _ = task.name.split("_")
    is_job = what == "jd"
    chances = world.class_probabilities(_LEVELS[level], "jobs" if is_job else "resumes")
    data = world.recruitment
    place = {one.id: n for n, one in enumerate(data.jobs if is_job else data.resumes)}
    names = task.test.job_ids if is_job else task.test.people
    return float(chances.max(axis=1)[[place[name] for name in names]].mean())


def _matches(world: World, task: Task) -> tuple[str, float, float, float]:
    words = TfidfVectorizer().fit(task.train.texts + task.train.jobs)
    people, jobs = words.transform(task.test.texts), words.transform(task.test.jobs)
    similar = np.asarray(people.multiply(jobs).sum(axis=1))[:, 0]
    labels = task.test.labels
    return (
        "AUC",
        0.5,
        roc_auc_score(labels, similar),
        roc_auc_score(labels, task.test.probability),
    )


def _ranking(world: World, task: Task) -> tuple[str, float, float, float]:
    rows = task.test
    words = TfidfVectorizer().fit(task.train.texts + task.train.jobs)
    people, jobs = words.transform(rows.texts), words.transform(rows.jobs)
    records = [world.recruitment.job(name) for name in rows.job_ids]
    similar, truth = [], []
    for person, text, places in zip(rows.people, people, rows.candidates, strict=True):
        similar.append((jobs[places] @ text.T).toarray()[:, 0])
        truth.append(world.utilities([(person, records[place]) for place in places]))
    chance = np.mean(1 / np.arange(1, rows.candidates.shape[1] + 1))
    found = (_reciprocal_rank(np.array(scores), rows.relevant) for scores in (similar, truth))
    return "MRR", chance, *found


def _reciprocal_rank(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The mean reciprocal rank; the right job is behind all that have its score."""
    own = scores[np.arange(len(scores)), relevant][:, None]
    return float((1 / (scores >= own).sum(axis=1)).mean())


def _salaries(world: World, task: Task) -> tuple[str, float, float, float]:
    words = CountVectorizer(ngram_range=(1, 2), min_df=2)
    train, test = words.fit_transform(task.train.texts), words.transform(task.test.texts)
    predicted = Ridge(10).fit(train, task.train.values).predict(test)
    error = np.sqrt(((predicted - task.test.values) ** 2).mean())
    chance = np.sqrt((task.test.values**2).mean())
    place = {job.id: n for n, job in enumerate(world.recruitment.jobs)}
    mean = world.expected_salaries()[0][[place[name] for name in task.test.job_ids]]
    best = np.sqrt((((mean - task.center) / task.scale - task.test.values) ** 2).mean())
    return "RMSE", chance, error, best


def _tags(world: World, task: Task) -> tuple[str, float, float, float]:
    words = CountVectorizer(token_pattern=r"\S+", min_df=2)
    train, test = words.fit_transform(_windows(task.train)), _windows(task.test)
    model = LogisticRegression(max_iter=60, tol=1e-2).fit(train, _flat(task.train))
    labels = _flat(task.test)
    skills = [name for name in task.classes if name != "O"]
    predicted = model.predict(words.transform(test))
    everything = np.full(len(labels), skills[0])
    chance, found = (
        f1_score(labels, guess, labels=skills, average="micro") for guess in (everything, predicted)
    )
    return "F1 of tags", chance, found, 1.0


def _flat(rows: TaskRows) -> np.ndarray:
    return np.array([tag for tags in rows.tags[:_TAGGED] for tag in tags])


def _windows(rows: TaskRows) -> list[str]:
    """Each word with its neighbors, as features."""
    return [
        " ".join(f"{k}:{text[n + k].lower()}" for k in (-1, 0, 1) if 0 <= n + k < len(text))
        for text in rows.words[:_TAGGED]
        for n in range(len(text))
    ]
