"""Factors of ratings: the least-squares problem by SciPy, planted tastes, and wrong input."""

import numpy as np
import pytest
from scipy.optimize import minimize

from jaxrec.baselines import NeuMfConfig, mf_ratings, ncf_ratings
from jaxrec.core import ConfigError, DataError
from jaxrec.train import TrainConfig

USERS, ITEMS, WIDTH, PENALTY = 5, 6, 2, 0.3


def ratings(seed=0, count=18):
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(USERS * ITEMS)[:count]
    return pairs // ITEMS, pairs % ITEMS, rng.integers(1, 6, count).astype(float)


def objective(flat, user, item, rating):
    """The module's objective, written out for one vector of all parameters."""
    x = flat[: USERS * (WIDTH + 1)].reshape(USERS, WIDTH + 1)
    y = flat[USERS * (WIDTH + 1) :].reshape(ITEMS, WIDTH + 1)
    total = 0.0
    for u, i, r in zip(user, item, rating, strict=True):
        error = r - rating.mean() - x[u, -1] - y[i, -1] - x[u, :-1] @ y[i, :-1]
        total += error**2 + PENALTY * (x[u] @ x[u]) + PENALTY * (y[i] @ y[i])
    return total


def test_alternating_ends_where_scipy_finds_a_minimum():
    user, item, rating = ratings()
    params = mf_ratings.fit(
        user, item, rating, USERS, ITEMS, width=WIDTH, regularization=PENALTY, iterations=400
    )
    x = np.concatenate([params["users"], params["user_bias"][:, None]], axis=1)
    y = np.concatenate([params["items"], params["item_bias"][:, None]], axis=1)
    start = np.concatenate([x.ravel(), y.ravel()])
    best = minimize(objective, start, (user, item, rating), method="BFGS")
    assert best.fun == pytest.approx(objective(start, user, item, rating), rel=1e-6)
    # From elsewhere SciPy finds nothing better.
    other = np.random.default_rng(1).normal(size=len(start))
    elsewhere = minimize(objective, other, (user, item, rating), method="BFGS")
    assert elsewhere.fun >= best.fun - 1e-6


def test_scores_are_the_predictions_and_unknown_users_have_the_items_alone():
    user, item, rating = ratings()
    params = mf_ratings.fit(user, item, rating, USERS, ITEMS, width=WIDTH)
    found = mf_ratings.scores(params, np.array([2, -1]), np.array([[1, 4], [1, 4]]))
    for place, i in enumerate((1, 4)):
        alone = params["mean"][0] + params["item_bias"][i]
        assert found[1, place] == pytest.approx(alone)
        taste = params["users"][2] @ params["items"][i]
        assert found[0, place] == pytest.approx(alone + params["user_bias"][2] + taste)


def planted(count=3000):
    """Two groups of users with opposite tastes for two groups of items."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 60, count), rng.integers(0, 40, count)
    rating = np.where((user % 2) == (item % 2), 5.0, 1.0)
    return user, item, rating


def test_both_find_planted_tastes_that_no_mean_knows():
    user, item, rating = planted()
    config = NeuMfConfig(width=4, layers=1, train=TrainConfig(batch_size=256, lr=2e-2))
    users = np.arange(60)
    candidates = np.tile([0, 1], (60, 1))
    for scores in (
        mf_ratings.scores(mf_ratings.fit(user, item, rating, 60, 40, width=4), users, candidates),
        ncf_ratings.scores(
            ncf_ratings.fit(user, item, rating, 60, 40, config, epochs=40, weight_decay=0.0),
            users,
            candidates,
            config,
        ),
    ):
        assert ((scores[:, 0] > scores[:, 1]) == (users % 2 == 0)).all()


@pytest.mark.parametrize("module", [mf_ratings, ncf_ratings])
def test_wrong_ratings_are_rejected(module):
    more = (NeuMfConfig(),) if module is ncf_ratings else ()
    one = np.array([0])
    with pytest.raises(DataError, match="needs ratings"):
        module.fit(one[:0], one[:0], one[:0], 1, 1, *more)
    with pytest.raises(DataError, match="needs ratings"):
        module.fit(one, one, np.array([np.nan]), 1, 1, *more)
    with pytest.raises(DataError, match="items of ratings"):
        module.fit(one, one + 1, one + 1.0, 1, 1, *more)
    setting = {"epochs": 0} if module is ncf_ratings else {"regularization": 0.0}
    with pytest.raises(ConfigError):
        module.fit(one, one, one + 1.0, 1, 1, *more, **setting)
