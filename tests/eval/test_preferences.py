"""Accuracy, AUC and calibration of pairs, against scikit-learn and by hand."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import calibration_error, pair_auc, pair_calibration, pair_hits


def test_ties_are_half_right_and_bad_rewards_are_named():
    assert pair_hits(np.array([2.0, 1, 0]), np.array([1.0, 1, 1])).tolist() == [1, 0.5, 0]
    with pytest.raises(
        DataError, match="1 of 2 pairs have rewards that are not finite, the first a"
    ):
        pair_hits(np.array([1.0, np.nan]), np.zeros(2))
    with pytest.raises(DataError, match="at least one pair"):
        pair_hits(np.zeros(0), np.zeros(0))
    with pytest.raises(ConfigError, match="bins must be at least 1, got 0"):
        pair_calibration(np.ones(3), np.zeros(3), bins=0)


def test_auc_is_that_of_sklearn():
    rng = np.random.default_rng(0)
    better, worse = rng.integers(0, 9, (2, 50)).astype(float)
    labels = [1] * 50 + [0] * 50
    expected = roc_auc_score(labels, np.concatenate([better, worse]))
    assert pair_auc(better, worse) == pytest.approx(expected)


def test_bradley_terry_pairs_are_calibrated_and_scaled_ones_are_not():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 2, (2, 40000))
    right = rng.random(40000) < 1 / (1 + np.exp(b - a))
    better, worse = np.where(right, a, b), np.where(right, b, a)
    bins = pair_calibration(better, worse, bins=10)
    assert [part.pairs for part in bins] == [4000] * 10
    assert all(low.high <= high.low for low, high in itertools.pairwise(bins))
    for part in bins:
        # Four standard errors of a share of 4000.
        assert abs(part.accuracy - part.confidence) < 4 * np.sqrt(0.25 / 4000)
    assert calibration_error(bins) < 0.01
    assert calibration_error(pair_calibration(5 * better, 5 * worse, bins=10)) > 0.1
    by_hand = np.concatenate([[part.accuracy] * part.pairs for part in bins]).mean()
    assert by_hand == pytest.approx(pair_hits(better, worse).mean())
