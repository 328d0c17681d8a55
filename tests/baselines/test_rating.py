"""Rating baselines by hand, against scikit-learn, and with known results on MovieLens-100K."""

import numpy as np
from sklearn.linear_model import Ridge

from jaxrec.baselines.rating import biases, item_means
from jaxrec.data import load, random_split
from jaxrec.eval import rating_errors
from jaxrec.testing import tiny_interactions


def test_item_means_by_hand():
    data = tiny_interactions()
    train = np.arange(0, len(data), 2)
    found = item_means(data, train)
    assert len(found) == len(data)
    for row, item in enumerate(data.item):
        mine = [float(data.rating[n]) for n in train if data.item[n] == item]
        assert np.isclose(found[row], np.mean(mine))


def test_biases_equal_ridge_regression_on_indicators():
    data = tiny_interactions()
    train = np.arange(0, len(data), 2)
    users, items = np.eye(data.num_users)[data.user], np.eye(data.num_items)[data.item]
    features, rating = np.concatenate([users, items], axis=1), data.rating.astype(np.float64)
    mean = rating[train].mean()
    ridge = Ridge(alpha=3.0, fit_intercept=False).fit(features[train], rating[train] - mean)
    found = biases(data, train, 3.0, 3.0)
    np.testing.assert_allclose(found, mean + ridge.predict(features), atol=1e-3)


def test_movielens_has_its_known_errors(real_data):
    data = load("ml-100k", from_file=real_data("ml-100k"))
    split = random_split(data)
    truth = data.rating[split.test]
    # A random 80/10/10 split gives 1.039 / .822 and .949 / .749; draws differ by about .01.
    found = rating_errors(item_means(data, split.train)[split.test], truth)
    assert abs(found["rmse"] - 1.039) < 0.02 and abs(found["mae"] - 0.822) < 0.02
    found = rating_errors(biases(data, split.train)[split.test], truth)
    assert abs(found["rmse"] - 0.949) < 0.02 and abs(found["mae"] - 0.749) < 0.02
