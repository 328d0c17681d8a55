"""Every task is above chance for a bag of words, and below what the best reader could reach.

The models are scikit-learn's; the ceilings are the world's planted probabilities.
"""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from jaxrec.data.recruitment import TASKS

LEVELS = {"1st": "industry", "2nd": "category", "3rd": "occupation"}


def ceiling(world, task):
    """The expected accuracy of the best prediction of the test rows."""
    if np.isfinite(task.test.probability).all():
        p = task.test.probability
        return np.maximum(p, 1 - p).mean()
    if task.name == "resume_understanding":
        # A vague section is one of three kinds, which have the same words.
        return 1 - world.options.vague_sections * 2 / 3
    what, level, _ = task.name.split("_")
    is_job = what == "jd"
    chances = world.class_probabilities(LEVELS[level], "jobs" if is_job else "resumes")
    data = world.recruitment
    place = {one.id: n for n, one in enumerate(data.jobs if is_job else data.resumes)}
    ids = task.test.job_ids if is_job else task.test.people
    return chances.max(axis=1)[[place[name] for name in ids]].mean()


@pytest.mark.parametrize(
    "name", [name for name in TASKS if "class" in name or name.split("_")[0] in
             ("resume", "interview") or name == "job_evaluation"]
)  # fmt: skip
def test_classes(name, world, tasks):
    task = tasks[name]
    words = CountVectorizer(min_df=2)
    train, test = words.fit_transform(task.train.texts), words.transform(task.test.texts)
    model = LogisticRegression(C=0.3, max_iter=100, tol=1e-2).fit(train, task.train.labels)
    accuracy = model.score(test, task.test.labels)
    chance = np.bincount(task.test.labels).max() / len(task.test)
    best = ceiling(world, task)
    error = np.sqrt(best * (1 - best) / len(task.test))
    assert chance + 2 * error < accuracy < best
    assert best < 0.99


def test_matches(tasks):
    task = tasks["person_job_fit"]
    words = TfidfVectorizer().fit(task.train.texts + task.train.jobs)
    similar = [
        np.asarray(words.transform(rows.texts).multiply(words.transform(rows.jobs)).sum(axis=1))
        for rows in (task.train, task.test)
    ]
    model = LogisticRegression().fit(similar[0], task.train.labels)
    learned = roc_auc_score(task.test.labels, model.predict_proba(similar[1])[:, 1])
    assert 0.55 < learned < roc_auc_score(task.test.labels, task.test.probability) < 0.95


def test_ranking(world, tasks):
    rows = tasks["job_recommendation"].test
    words = TfidfVectorizer().fit(tasks["job_recommendation"].train.jobs)
    people, jobs = words.transform(rows.texts), words.transform(rows.jobs)
    records = [world.recruitment.job(name) for name in rows.job_ids]
    similar, truth = [], []
    for person, text, places in zip(rows.people, people, rows.candidates, strict=True):
        similar.append((jobs[places] @ text.T).toarray()[:, 0])
        truth.append(world.utilities([(person, records[place]) for place in places]))
    chance = np.mean(1 / np.arange(1, 21))
    learned, best = (reciprocal_rank(np.array(s), rows.relevant) for s in (similar, truth))
    assert chance + 0.03 < learned < best < 0.9


def reciprocal_rank(scores, relevant):
    own = scores[np.arange(len(scores)), relevant][:, None]
    return (1 / (1 + (scores > own).sum(axis=1))).mean()


def test_salaries(world, tasks):
    task = tasks["salary"]
    words = CountVectorizer(ngram_range=(1, 2), min_df=2)
    train, test = words.fit_transform(task.train.texts), words.transform(task.test.texts)
    predicted = Ridge(10).fit(train, task.train.values).predict(test)
    error = np.sqrt(((predicted - task.test.values) ** 2).mean())
    assert world.options.salary_noise / task.scale < error < 0.8


def test_skills(tasks):
    task = tasks["skill_extraction"]
    words = CountVectorizer(token_pattern=r"\S+", min_df=2)
    train, test = ([windows(rows, count)] for rows, count in ((task.train, 250), (task.test, 150)))
    labels = [np.array([t for tags in r.tags[:n] for t in tags])
              for r, n in ((task.train, 250), (task.test, 150))]  # fmt: skip
    model = LogisticRegression(max_iter=60, tol=1e-2).fit(words.fit_transform(train[0]), labels[0])
    accuracy = model.score(words.transform(test[0]), labels[1])
    outside = (labels[1] == "O").mean()
    assert outside + 0.1 < accuracy < 0.98


def windows(rows, count):
    """Each word with its neighbors, as features."""
    return [
        " ".join(f"{k}:{text[n + k].lower()}" for k in (-1, 0, 1) if 0 <= n + k < len(text))
        for text in rows.words[:count]
        for n in range(len(text))
    ]
