"""The probe of position bias beside SciPy's regression and a bootstrap written out."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import linregress

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import place_targets, probe_slots, slope_over_slots


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_the_slope_is_that_of_scipy(seed, users, count):
    rng = np.random.default_rng(seed)
    slots = np.stack([rng.permutation(20)[:count] for _ in range(users)])
    values = rng.random(slots.shape)
    bias = slope_over_slots(values, slots, candidates=20, resamples=1)
    wanted = linregress(slots.ravel() / 19, values.ravel()).slope
    assert bias.slope == pytest.approx(wanted, abs=1e-9)


def test_the_interval_is_that_of_a_bootstrap_over_users():
    rng = np.random.default_rng(0)
    slots = np.array([0, 3, 9])
    level = rng.normal(0, 1, (60, 1))  # what users differ by must not widen the interval
    values = level - 0.3 * slots / 9 + rng.normal(0, 0.2, (60, 3))
    bias = slope_over_slots(values, slots, candidates=10, resamples=4000)
    x = np.tile(slots / 9, 60)
    drawn = rng.integers(0, 60, (4000, 60))
    slopes = [np.polyfit(x, values[rows].ravel(), 1)[0] for rows in drawn]
    np.testing.assert_allclose(
        [bias.low, bias.high], np.quantile(slopes, [0.025, 0.975]), atol=0.01
    )
    assert bias.biased and bias.low < -0.3 < bias.high
    np.testing.assert_allclose(bias.means, values.mean(axis=0))


def test_a_metric_without_bias_has_an_interval_around_0_in_19_of_20_studies():
    rng = np.random.default_rng(1)
    found = [
        slope_over_slots(
            rng.random((40, 4)), np.arange(4), candidates=4, resamples=300, seed=n
        ).biased
        for n in range(200)
    ]
    assert 0.01 < np.mean(found) < 0.12


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 8))
@settings(deadline=None)
def test_the_truth_moves_and_the_others_keep_their_order(seed, users, size):
    rng = np.random.default_rng(seed)
    candidates = np.stack([rng.permutation(30)[:size] for _ in range(users)])
    targets = candidates[np.arange(users), rng.integers(0, size, users)]
    slot = int(rng.integers(size))
    placed = place_targets(candidates, targets, slot)
    assert (placed[:, slot] == targets).all()
    for before, after, target in zip(candidates, placed, targets, strict=True):
        assert [i for i in after if i != target] == [i for i in before if i != target]


def test_what_cannot_be_probed_is_rejected():
    with pytest.raises(DataError, match="2 times among the candidates of row 0"):
        place_targets(np.array([[1, 1]]), np.array([1]), 0)
    with pytest.raises(ConfigError, match="slot 2 is not among the slots 0 to 1"):
        place_targets(np.array([[1, 2]]), np.array([1]), 2)
    with pytest.raises(DataError, match="at least two of them"):
        slope_over_slots(np.ones((3, 2)), np.array([1, 1]), candidates=4)
    with pytest.raises(ConfigError, match="2 to 4 slots, got 5"):
        probe_slots(4, 5)
