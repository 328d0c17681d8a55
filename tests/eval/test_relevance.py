"""Several relevant items a user, against values worked out by hand and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import evaluate, list_metrics, relevance_metrics, tied_blocks

# Relevant items 10, 11, 12 (grades 3, 1, 2) stand at ranks 2 and 4 of five places; 12 is missing.
ITEMS, RELEVANT, GRADES = np.array([[1, 10, 2, 11, 3]]), [[10, 11, 12]], [[3.0, 1.0, 2.0]]


def one(**settings):
    metrics = relevance_metrics(ITEMS, RELEVANT, (1, 2, 5), **settings)
    return {name: float(values[0]) for name, values in metrics.items()}


def test_several_targets_by_hand_as_in_recbole():
    # Hit, Recall, NDCG, MRR and MAP of recbole/evaluator/metrics.py.
    expected = {"hr@1": 0, "recall@1": 0, "ndcg@1": 0, "mrr@1": 0, "map@1": 0}
    expected |= {"hr@2": 1, "recall@2": 1 / 3, "mrr@2": 1 / 2}
    expected |= {"ndcg@2": 0.6309297535714575 / 1.6309297535714575}  # 1/log2(3), over ranks 1 and 2
    expected |= {"map@2": (1 / 2) / 2}  # P(2) = 1/2, over min(3, 2)
    expected |= {"hr@5": 1, "recall@5": 2 / 3, "mrr@5": 1 / 2}
    # (1/log2(3) + 1/log2(5)) / (1 + 1/log2(3) + 1/log2(4))
    expected |= {"ndcg@5": 1.0616063116448504 / 2.1309297535714578}
    expected |= {"map@5": (1 / 2 + 2 / 4) / 3}
    assert one() == pytest.approx(expected, abs=1e-12)


def test_grades_by_hand_as_in_ranx():
    # ndcg: 3/log2(3) + 1/log2(5), over 3 + 2/log2(3) + 1/log2(4).
    assert one(grades=GRADES)["ndcg@5"] == pytest.approx(2.3234658187877653 / 4.761859507142915)
    # ndcg_burges: 7/log2(3) + 1/log2(5), over 7 + 3/log2(3) + 1/log2(4).
    found = one(grades=GRADES, gain="exponential")["ndcg@5"]
    assert found == pytest.approx(4.847184833073595 / 9.392789260714373)
    # average_precision divides by all three relevant items, whatever k is.
    over_all = one(map_over="relevant")
    assert over_all["map@2"] == pytest.approx((1 / 2) / 3)
    assert over_all["map@5"] == pytest.approx((1 / 2 + 2 / 4) / 3)


def test_random_rankings_equal_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.random((30, 20))
    relevant = [rng.choice(20, rng.integers(1, 8), replace=False) for _ in range(30)]
    grades = [rng.integers(1, 5, len(row)).astype(float) for row in relevant]
    lists = np.argsort(-scores, axis=1)
    metrics = relevance_metrics(lists, relevant, (7, 20), grades=grades, map_over="relevant")
    for user in range(30):
        truth = np.zeros(20)
        truth[relevant[user]] = grades[user]
        for k in (7, 20):
            expected = ndcg_score([truth], [scores[user]], k=k)
            assert metrics[f"ndcg@{k}"][user] == pytest.approx(expected)
        expected = average_precision_score(truth > 0, scores[user])
        assert metrics["map@20"][user] == pytest.approx(expected)


def test_one_target_a_user_is_the_single_target_metric():
    rng = np.random.default_rng(1)
    lists = np.array([rng.permutation(30)[:12] for _ in range(40)])
    lists[::7, 5:] = -1
    target = rng.integers(0, 30, 40)
    single = list_metrics(lists, target, (5, 10))
    several = relevance_metrics(lists, target[:, None], (5, 10))
    for name, values in single.items():
        np.testing.assert_allclose(several[name], values, atol=1e-12)
    np.testing.assert_array_equal(several["recall@5"], several["hr@5"])


def test_a_repeated_item_counts_once_where_it_stands_first():
    metrics = relevance_metrics(np.array([[4, 4, 9]]), [[4, 9]], (3,))
    assert metrics["recall@3"][0] == 1
    assert metrics["map@3"][0] == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("relevant", "settings", "message"),
    [
        ([[]], {}, "user row 0 has no relevant item"),
        ([[4, 4]], {}, "user row 0 has the same relevant item twice"),
        ([[-1]], {}, "relevant items: row 0 holds -1"),
        ([[1], [2]], {}, "1 lists, 2 rows of relevant items"),
        ([[1]], {"grades": [[0.0]]}, r"grades \[0.0\] for 1 relevant items"),
        ([[1, 2]], {"grades": [[1.0]]}, r"grades \[1.0\] for 2 relevant items"),
    ],
)
def test_what_no_metric_is_defined_for_is_refused(relevant, settings, message):
    with pytest.raises(DataError, match=message):
        relevance_metrics(ITEMS, relevant, (5,), **settings)


def test_unknown_choices_are_refused():
    with pytest.raises(ConfigError, match="no choice 'square'; available: linear, exponential"):
        one(gain="square")
    with pytest.raises(ConfigError, match=r"k=\(6,\) of lists of 5 items"):
        relevance_metrics(ITEMS, RELEVANT, (6,))


def test_several_targets_in_single_target_metrics_name_the_right_function():
    scores, targets = np.ones((2, 5)), np.array([[0, 1], [2, 3]])
    for call in (
        lambda: list_metrics(np.zeros((2, 10), int), targets),
        lambda: tied_blocks(scores, targets),
        lambda: evaluate(lambda batch: scores, [{"target": targets}]),
    ):
        with pytest.raises(DataError, match=r"one target a user.*relevance_metrics"):
            call()
