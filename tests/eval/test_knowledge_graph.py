"""Ranks of candidates against sorting by hand, and against scikit-learn."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import filtered_rank, rank_metrics


def brute_rank(scores, gold, known):
    """Mean place of the gold candidate over all orders that agree with the scores."""
    kept = [i for i in range(len(scores)) if i == gold or i not in known]
    places = []
    for order in itertools.permutations(kept):
        ordered = [scores[i] for i in order]
        if ordered == sorted(ordered, reverse=True):
            places.append(order.index(gold) + 1)
    return sum(places) / len(places)


def test_a_rank_is_the_mean_place_over_all_orders_of_ties():
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores = rng.integers(0, 3, 5).tolist()
        gold, *known = rng.permutation(5)[: rng.integers(1, 4)].tolist()
        assert filtered_rank(scores, gold, known) == brute_rank(scores, gold, set(known))


def test_reciprocal_ranks_without_ties_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    scores = rng.permuted(np.tile(np.arange(20.0), (200, 1)), axis=1)
    gold = rng.integers(0, 20, 200)
    ranks = [filtered_rank(row, place) for row, place in zip(scores, gold, strict=True)]
    # With one right label, the average precision is the reciprocal rank.
    theirs = label_ranking_average_precision_score(np.eye(20)[gold], scores)
    assert rank_metrics(ranks)["mrr"].mean() == pytest.approx(theirs)


def test_a_model_that_scores_all_alike_gets_the_middle_rank():
    assert filtered_rank(np.zeros(99), 7) == 50.0
    assert filtered_rank(np.zeros(99), 7, known=range(10)) == 45.5


def test_a_known_answer_does_not_count_and_the_gold_one_does():
    assert filtered_rank([3.0, 2.0, 1.0], 2, known=[0, 2]) == 2.0


def test_hits_count_mean_ranks_up_to_the_cut_off():
    found = rank_metrics([1.0, 1.5, 3.0, 3.5, 10.0, 11.0])
    assert {name: values.sum() for name, values in found.items() if name != "mrr"} == {
        "hits@1": 1,
        "hits@3": 3,
        "hits@10": 5,
    }


@pytest.mark.parametrize("place", [-1, 3])
def test_a_place_without_a_candidate_is_rejected(place):
    with pytest.raises(ConfigError, match=f"no candidate {place}"):
        filtered_rank([1.0, 2.0, 3.0], place)
    with pytest.raises(ConfigError, match=f"no candidate {place}"):
        filtered_rank([1.0, 2.0, 3.0], 0, known=[place])


def test_scores_and_ranks_that_are_none_are_rejected():
    with pytest.raises(DataError, match="nan"):
        filtered_rank([np.nan, 1.0], 1)
    for ranks in ([], [0.5], [np.nan]):
        with pytest.raises(DataError, match="ranks"):
            rank_metrics(ranks)
    with pytest.raises(ConfigError, match="cut-offs"):
        rank_metrics([1.0], ks=(0,))
