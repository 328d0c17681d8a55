"""Candidate sets: what is rejected, files, shuffles, and metrics against scikit-learn."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import ndcg_score

from jaxrec.core import DataError
from jaxrec.data import ItemTable
from jaxrec.texts import (
    Datum,
    candidate_metrics,
    check_candidate_sets,
    read_candidate_sets,
    shuffle_candidates,
    target_places,
    write_candidate_sets,
)

ITEMS = ItemTable(np.array([str(10 + n) for n in range(12)]))
USERS = np.array(["u", "v"])


def one(**changed):
    values = {"user": 1, "history": [9, 8], "candidates": [0, 1, 2, 3, 4], "item": 3, **changed}
    for name in ("history", "candidates"):
        values[name] = np.array(values[name], np.int32)
    return Datum(**values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (one(candidates=[0, 1, 2, 3]), "set 1 has 4 candidates, and each must have 5"),
        (one(candidates=[0, 1, 2, 3, 12]), "row 4 holds 12, which is not in 0..11"),
        (one(candidates=[0, 1, 2, 3, -1]), "holds -1"),
        (one(candidates=[0, 1, 1, 3, 4]), "offers item 1 twice"),
        (one(item=7), "target 7, which is not among its candidates 0, 1, 2, 3, 4; add it"),
        (one(item=-1), "target -1, which is not among its candidates"),
        (one(candidates=[4, 3, 2, 1, 0]), "set 1 says the same as 0"),
        (one(history=[3]), "shows its target 3 in the history"),
        (one(history=[99]), "history: row 0 holds 99"),
        (Datum(item=3), "set 1 has 0 candidates"),
    ],
)
def test_what_is_no_candidate_set_is_rejected_with_its_number(wrong, message):
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        check_candidate_sets([one(), wrong], 5, 12)


def test_sets_that_differ_in_anything_do_not_repeat_each_other():
    others = [one(user=0), one(history=[8, 9]), one(candidates=[0, 1, 2, 3, 5]), one(item=4)]
    check_candidate_sets([one(), *others], 5, 12)


def test_no_sets_are_rejected():
    with pytest.raises(DataError, match="there is no candidate set"):
        check_candidate_sets([], 5, 12)


def test_a_file_gives_back_what_was_written(tmp_path):
    data = [one(), one(user=-1, history=[], item=0)]
    write_candidate_sets(tmp_path / "sets.jsonl", data, ITEMS, USERS)
    read = read_candidate_sets(tmp_path / "sets.jsonl", ITEMS, USERS, 5)
    for before, after in zip(data, read, strict=True):
        assert (before.user, before.item) == (after.user, after.item)
        np.testing.assert_array_equal(before.history, after.history)
        np.testing.assert_array_equal(before.candidates, after.candidates)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"targt": "10"}, "field 'targt', did you mean 'target'"),
        ({"candidates": ["10", "11", "12", "13", "nothing"]}, "'nothing' is not an ID of the data"),
        ({"candidates": "10"}, "candidates must be a list"),
        ({"candidates": ["10", "11"]}, "has 2 candidates"),
        # Messages name items as the file does.
        ({"candidates": [10, 11, 13, 14, 14]}, "offers item 14 twice"),
        ({"target": 15}, "target 15, which is not among its candidates 10, 11, 12, 13, 14"),
        ({"history": [13]}, "shows its target 13 in the history"),
        ({}, "set 1 says the same as 0, so it would count twice"),
        ({"user": "w"}, "user: 'w' is not an ID"),
        ({"target": True}, "True is not an ID"),
        ({"history": None}, "history must be a list"),
    ],
)
def test_a_file_with_a_wrong_record_is_rejected_by_name(changed, message, tmp_path):
    row = {
        "user": "u",
        "history": [20],
        "candidates": ["10", "11", "12", "13", "14"],
        "target": 13,
    }
    path = tmp_path / "sets.json"
    path.write_text(json.dumps([row, row | changed]))
    with pytest.raises(DataError, match=message) as error:
        read_candidate_sets(path, ITEMS, USERS, 5)
    assert str(path) in str(error.value) and "set 1" in str(error.value)


@settings(deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_a_shuffle_keeps_the_set_and_follows_its_target(seed):
    data = [one(), one(item=0)]
    shuffled = shuffle_candidates(data, seed)
    check_candidate_sets(shuffled, 5, 12)
    places = target_places(shuffled)
    for before, after, place in zip(data, shuffled, places, strict=True):
        assert after.candidates[place] == before.item
        assert sorted(after.candidates) == sorted(before.candidates)


def test_shuffles_reach_every_place_equally_often():
    places = target_places(shuffle_candidates([one()] * 5000, 0))
    counts = np.bincount(places, minlength=5)
    assert counts.min() > 880 and counts.max() < 1120  # 4 standard deviations from 1000


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.integers(0, 4))
def test_metrics_are_means_over_all_orders_of_tied_candidates(scores, target):
    """Brute force over the orders; scikit-learn's NDCG of each order."""
    found = candidate_metrics(np.array([scores]), [one(item=target)], (1, 3))
    orders = [
        order
        for order in itertools.permutations(range(5))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    relevant = np.eye(5)[[target]]
    ndcg, mrr, hits = [], [], []
    for order in orders:
        strict = np.zeros((1, 5))
        strict[0, list(order)] = np.arange(5, 0, -1)
        ndcg.append(ndcg_score(relevant, strict, k=3))
        rank = order.index(target)
        mrr.append(1 / (rank + 1) if rank < 3 else 0.0)
        hits.append(float(rank == 0))
    assert found["ndcg@3"][0] == pytest.approx(np.mean(ndcg))
    assert found["mrr@3"][0] == pytest.approx(np.mean(mrr))
    assert found["hr@1"][0] == pytest.approx(np.mean(hits))


def test_scores_that_differ_in_double_precision_are_not_tied():
    scores = np.array([[0.1, 0.1 + 1e-12, 0.0, 0.0, 0.0]])
    assert candidate_metrics(scores, [one(item=1)])["hr@1"][0] == 1.0


def test_scores_that_are_no_numbers_or_of_another_shape_are_rejected():
    with pytest.raises(DataError, match="set 0 is no number"):
        candidate_metrics(np.full((1, 5), np.nan), [one()])
    with pytest.raises(DataError, match="shape"):
        candidate_metrics(np.zeros((1, 4)), [one()])
