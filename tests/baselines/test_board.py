"""Counting baselines on canonical ML-100K reach the protocol's reference results to all digits."""

import functools

import jax
import numpy as np
import pytest

from jaxrec import data
from jaxrec.baselines import cooccurrence, item_knn, markov, popularity
from jaxrec.eval import average, evaluate

# HR@5, NDCG@5, HR@10, NDCG@10, seen items left out; HR@10, seen items ranked. Test stage, full
# ranking of 1,349 items, mid-rank ties.
BOARD = {
    "popularity": (popularity, {}, [0.0583, 0.0357, 0.0870, 0.0445, 0.0498]),
    "item-kNN": (item_knn, {}, [0.0700, 0.0448, 0.1082, 0.0568, 0.0530]),
    "item-kNN, last 10": (item_knn, {"last": 10}, [0.0923, 0.0645, 0.1485, 0.0825, 0.0806]),
    "Markov": (markov, {}, [0.0933, 0.0597, 0.1453, 0.0762, 0.1113]),
    "co-occurrence": (cooccurrence, {}, [0.1262, 0.0882, 0.2068, 0.1140, 0.1304]),
}


@functools.cache
def canonical(path, tie="row"):
    interactions = data.k_core(data.load("ml-100k", from_file=path), 5)
    return interactions, data.leave_one_out(interactions, tie=tie)


@functools.cache
def fitted(model, path, tie="row"):
    interactions, split = canonical(path, tie)
    return model.fit(split.train.sequences(), interactions.num_items)


@functools.cache
def scored(model, settings, path, tie):
    """The users' histories `[U, S]` and their scores `[U, I]`, whatever is left out later."""
    params = fitted(model, path, tie)
    histories = canonical(path, tie)[1].history("test")
    width = max(map(len, histories))
    history = np.stack([np.pad(h, (width - len(h), 0), constant_values=-1) for h in histories])
    score = jax.jit(functools.partial(model.scores, **dict(settings)))
    return history, score(params, {"history": history})


def evaluated(model, settings, path, *, seen=True, tie="row", ties="midrank"):
    history, scores = scored(model, tuple(settings.items()), path, tie)
    batch = {"history": history, "target": canonical(path, tie)[1].target("test")}
    if seen:
        batch["seen"] = history
    return average(evaluate(lambda _: scores, [batch], ties=ties))


def test_data_are_the_canonical_ones(real_data):
    interactions, split = canonical(real_data("ml-100k"))
    assert interactions.num_users == len(split.target("test")) == 943
    assert interactions.num_items == 1349
    assert len(interactions) == 99_287


@pytest.mark.parametrize("name", BOARD)
def test_board(name, real_data):
    model, settings, row = BOARD[name]
    path = real_data("ml-100k")
    filtered = evaluated(model, settings, path)
    unfiltered = evaluated(model, settings, path, seen=False)
    ours = [filtered[m] for m in ("hr@5", "ndcg@5", "hr@10", "ndcg@10")] + [unfiltered["hr@10"]]
    np.testing.assert_allclose(ours, row, atol=5.1e-5)


@pytest.mark.slow
def test_average_over_ties_differs_from_the_board_by_less_than_its_noise(real_data):
    # The standard error of HR@10 over 943 users is about .01.
    path = real_data("ml-100k")
    for name, (model, settings, row) in BOARD.items():
        exact = evaluated(model, settings, path, ties="average")
        assert exact["hr@10"] == pytest.approx(row[2], abs=5e-3), name
        assert exact["ndcg@10"] == pytest.approx(row[3], abs=2e-3), name


@pytest.mark.parametrize(
    ("tie", "hr"), [("item_asc", 0.0498), ("row", 0.0870), ("item_desc", 0.1135)]
)
def test_popularity_under_other_orders_of_time_ties(tie, hr, real_data):
    ours = evaluated(popularity, {}, real_data("ml-100k"), tie=tie)
    assert ours["hr@10"] == pytest.approx(hr, abs=5.1e-5)


@pytest.mark.parametrize(
    ("tie", "hr", "ndcg"), [("item_asc", 0.1707, 0.0909), ("item_desc", 0.2481, 0.1488)]
)
def test_cooccurrence_under_other_orders_of_time_ties(tie, hr, ndcg, real_data):
    ours = evaluated(cooccurrence, {}, real_data("ml-100k"), tie=tie)
    assert ours["hr@10"] == pytest.approx(hr, abs=5.1e-5)
    assert ours["ndcg@10"] == pytest.approx(ndcg, abs=5.1e-5)
