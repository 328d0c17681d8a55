"""Figures, standard errors and intervals are those of scipy and of plain resampling."""

import math

import numpy as np
import pytest
import scipy.stats

from jaxrec.capacity import Metric, bits_of, estimate, perplexity_of, ratio_of
from jaxrec.core import ConfigError, DataError

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=80).tolist()
PAIRS = [(-float(x), float(n)) for x, n in zip(RNG.random(80), RNG.integers(1, 9, 80), strict=True)]


def test_the_standard_error_of_a_mean_is_that_of_scipy():
    found = estimate(Metric(), NUMBERS)
    assert found.value == pytest.approx(np.mean(NUMBERS))
    assert found.stderr == pytest.approx(scipy.stats.sem(NUMBERS))
    assert found.count == 80


@pytest.mark.parametrize(
    ("of", "function"),
    [
        (ratio_of, lambda x: x),
        (perplexity_of, lambda x: np.exp(-x)),
        (bits_of, lambda x: -x / np.log(2)),
    ],
)
def test_the_interval_of_a_figure_is_that_of_scipy(of, function):
    found = estimate(Metric(of), PAIRS, resamples=5_000)
    tops, units = np.array(PAIRS).T

    def figure(a, b, axis=-1):
        return function(a.sum(axis) / b.sum(axis))

    assert found.value == pytest.approx(figure(tops, units))
    theirs = scipy.stats.bootstrap(
        (tops, units), figure, paired=True, n_resamples=5_000, method="percentile", rng=RNG
    )
    width = found.high - found.low
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
    assert found.stderr == pytest.approx(theirs.standard_error, rel=0.05)


def test_the_same_seed_gives_the_same_interval():
    assert estimate(Metric(), NUMBERS, seed=3) == estimate(Metric(), NUMBERS, seed=3)
    assert estimate(Metric(), NUMBERS, seed=3) != estimate(Metric(), NUMBERS, seed=4)


def test_one_document_has_no_standard_error():
    assert math.isnan(estimate(Metric(), [1.0]).stderr)


def test_values_are_checked():
    with pytest.raises(DataError, match="no document has a value"):
        estimate(Metric(), [])
    with pytest.raises(DataError, match=r"must have one length, got \[1, 2\]"):
        estimate(Metric(), [1.0, (1.0, 2.0)])
    with pytest.raises(ConfigError, match="resamples must be at least 1"):
        estimate(Metric(), [1.0], resamples=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((5,), "must be a function of sums .* got 5"),
        (("lower",), "must be a function of sums .* got 'lower'"),
        ((ratio_of, "less"), "better must be one of higher, lower, neither, got 'less'"),
    ],
)
def test_a_metric_is_checked_when_it_is_made(given, message):
    with pytest.raises(ConfigError, match=message):
        Metric(*given)
