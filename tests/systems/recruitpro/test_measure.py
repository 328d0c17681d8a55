"""The scores of each kind of task against scikit-learn, seqeval and loops."""

import numpy as np
import pytest
from sklearn import metrics

from jaxrec.data.recruitment import Task, TaskRows
from jaxrec.systems.recruitpro.measure import (
    Scored,
    all_values,
    mean_over_tasks,
    rank_values,
    row_of,
    score_task,
)


def _score(kind, rows, predicted, classes=()):
    task = Task(name="x", kind=kind, train=rows, valid=rows, test=rows, classes=classes)
    return score_task(task, rows, predicted).metrics()


def test_classes_are_scored_like_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60).astype(np.int32)
    logits = rng.normal(size=(60, 6)) + 2 * np.eye(6)[labels]
    # A class that no row has is guessed now and then.
    logits[:5, 5] += 9
    found = _score("classification", TaskRows(texts=("",) * 60, labels=labels), logits)
    chosen = logits.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, chosen))
    report = metrics.classification_report(labels, chosen, output_dict=True, zero_division=0)
    assert found["f1"] == pytest.approx(report["weighted avg"]["f1-score"])
    own = [report[str(label)]["f1-score"] for label in range(4)]
    assert found["macro_f1"] == pytest.approx(np.mean(own))
    assert "auc" not in found


@pytest.mark.parametrize("kind", ["classification", "matching"])
def test_two_classes_have_an_auc(kind):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 40).astype(np.int32)
    margin = rng.normal(size=40) + labels
    # A head of more classes than the task has gives those a score that nothing reaches.
    logits = np.stack([np.zeros(40), margin, np.full(40, -1e9)], axis=1)
    predicted = logits if kind == "classification" else margin
    found = _score(kind, TaskRows(texts=("",) * 40, labels=labels), predicted)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, margin))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, margin > 0))


def test_ranks_by_a_loop_over_all_orders_of_ties():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 5, (50, 20)).astype(np.float64)
    relevant = rng.integers(0, 20, 50)
    found = rank_values(scores, relevant)
    for row in range(50):
        own = scores[row, relevant[row]]
        better = sum(score > own for score in scores[row])
        same = sum(score == own for score in scores[row])
        rank = np.mean([better + place for place in range(1, same + 1)])
        assert found["mrr"][row] == pytest.approx(1 / rank)
        assert found["hits@1"][row] == (rank <= 1)
        assert found["hits@10"][row] == (rank <= 10)


def test_a_ranking_without_ties_is_scored_like_scikit_learn():
    rng = np.random.default_rng(3)
    scores, relevant = rng.normal(size=(30, 12)), rng.integers(0, 12, 30).astype(np.int32)
    rows = TaskRows(texts=("",) * 30, relevant=relevant, candidates=np.zeros((30, 12), np.int32))
    found = _score("ranking", rows, scores.reshape(-1))
    truth = np.eye(12)[relevant]
    expected = metrics.label_ranking_average_precision_score(truth, scores)
    assert found["mrr"] == pytest.approx(expected)
    top = metrics.top_k_accuracy_score(relevant, scores, k=10, labels=np.arange(12))
    assert found["hits@10"] == pytest.approx(top)


def test_numbers_are_scored_like_scikit_learn():
    rng = np.random.default_rng(4)
    values, guessed = rng.normal(size=30).astype(np.float32), rng.normal(size=(30, 3))
    found = _score("regression", TaskRows(texts=("",) * 30, values=values), guessed)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(values, guessed[:, 0]))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(values, guessed[:, 0]))


def test_spans_are_scored_like_seqeval():
    seqeval = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme")
    names = ["O", "B-skill", "I-skill", "E-skill", "S-skill"]
    gold = (
        ("S-skill", "O", "B-skill", "I-skill", "E-skill"),
        ("O", "B-skill", "E-skill", "S-skill"),
        ("S-skill", "S-skill", "O", "S-skill"),
    )
    guessed = (
        ("S-skill", "O", "B-skill", "E-skill", "O"),
        ("O", "B-skill", "E-skill", "O"),
        # The row ends before the last word, which is outside then.
        ("S-skill", "O", "S-skill"),
    )
    numbers = np.full((3, 6), -1)
    for row, tags in enumerate(guessed):
        numbers[row, : len(tags)] = [names.index(tag) for tag in tags]
    rows = TaskRows(words=tuple(("w",) * len(tags) for tags in gold), tags=gold)
    found = _score("tagging", rows, numbers)
    filled = [
        [*tags, *["O"] * (len(own) - len(tags))] for own, tags in zip(gold, guessed, strict=True)
    ]
    settings = {"mode": "strict", "scheme": scheme.IOBES}
    for name, function in (
        ("f1", seqeval.f1_score),
        ("precision", seqeval.precision_score),
        ("recall", seqeval.recall_score),
    ):
        assert found[name] == pytest.approx(function([list(g) for g in gold], filled, **settings))


def test_the_mean_over_tasks_counts_tasks_alike():
    rng = np.random.default_rng(5)
    scored = {
        name: Scored(values={"accuracy": (rng.random(size) < 0.6).astype(float)}, plain={"f1": 0.1})
        for name, size in (("a", 7), ("b", 100), ("c", 23))
    }
    scored["d"] = Scored(values={"mrr": rng.random(9)})
    expected = np.mean([scored[name].values["accuracy"].mean() for name in "abc"])
    assert mean_over_tasks(scored).mean() == pytest.approx(expected)
    assert len(mean_over_tasks(scored)) == 130
    assert set(all_values(scored)) == {"accuracy", *(f"accuracy_{n}" for n in "abc"), "mrr_d"}
    row = row_of(scored, 50)
    assert row["metrics"]["accuracy"] == pytest.approx(expected)
    assert row["metrics"]["f1_b"] == 0.1
    low, high = row["intervals"]["accuracy"]
    assert low < expected < high
    assert mean_over_tasks({"d": scored["d"]}) is None
