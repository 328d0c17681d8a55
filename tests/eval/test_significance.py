import numpy as np
import pytest
import scipy.stats
from hypothesis import given, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.eval import (
    bootstrap_interval,
    crossed_interval,
    crossed_test,
    holm,
    paired_bootstrap,
    significance as module,
)


def hits(users=943, rate=0.2, seed=0):
    return (np.random.default_rng(seed).random(users) < rate).astype(float)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_equals_scipy_on_the_same_draws(level):
    values = np.random.default_rng(3).exponential(size=101)
    ours = bootstrap_interval(values, level=level, resamples=999, seed=5)
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=999,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, rel=1e-12)
    assert ours.high == pytest.approx(theirs.high, rel=1e-12)
    assert ours.mean == pytest.approx(values.mean())


def test_interval_of_hit_rate_has_the_binomial_width():
    values = hits()
    interval = bootstrap_interval(values, resamples=20_000)
    error = np.sqrt(values.mean() * (1 - values.mean()) / len(values))
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_draws_do_not_depend_on_the_chunk(monkeypatch):
    values = hits(50)
    whole = bootstrap_interval(values, resamples=200)
    monkeypatch.setattr(module, "_CHUNK", 1)
    assert bootstrap_interval(values, resamples=200) == whole


def test_seed_decides_the_draws():
    values = hits(60)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    a, b = hits(60, seed=1), hits(60, seed=2)
    assert paired_bootstrap(a, b, seed=1).p != paired_bootstrap(a, b, seed=2).p


def test_paired_p_value_is_close_to_the_paired_t_test():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.03, 0.06):
        b = rng.normal(size=500)
        a = b + shift + 0.5 * rng.normal(size=500)
        ours = paired_bootstrap(a, b, resamples=5000)
        assert ours.difference == pytest.approx((a - b).mean())
        assert ours.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_paired_p_value_hand_computed():
    # a - b = (1, 3): d = 2, d* is 1, 2, 2 or 3, and |d* - 2| never reaches 2.
    test = paired_bootstrap(np.array([1.0, 3.0]), np.zeros(2), resamples=999)
    assert test.p == pytest.approx(1 / 1000)
    # a - b = (-1, 3): d = 1, d* is -1, 1, 1 or 3, and |d* - 1| reaches 1 half of the time.
    test = paired_bootstrap(np.array([-1.0, 3.0]), np.zeros(2), resamples=9999)
    assert test.p == pytest.approx(0.5, abs=0.02)
    assert (test.low, test.high) == (-1.0, 3.0)


def test_paired_interval_is_that_of_the_differences():
    a, b = hits(200, 0.3, 1), hits(200, 0.2, 2)
    test = paired_bootstrap(a, b, seed=4)
    interval = bootstrap_interval(a - b, seed=4)
    assert (test.difference, test.low, test.high) == tuple(interval)


def test_pairing_finds_what_separate_intervals_miss():
    hard = np.random.default_rng(0).normal(size=300)
    a, b = hard + 0.05, hard + 0.01 * np.random.default_rng(1).normal(size=300)
    assert paired_bootstrap(a, b).p < 0.01
    assert bootstrap_interval(a).low < bootstrap_interval(b).high


def test_equal_systems_have_p_one_and_no_difference():
    values = hits(30)
    assert paired_bootstrap(values, values) == (0.0, 0.0, 0.0, 1.0)


def test_swapping_the_systems_keeps_the_p_value():
    a, b = hits(100, 0.3, 1), hits(100, 0.2, 2)
    assert paired_bootstrap(a, b).p == paired_bootstrap(b, a).p
    assert paired_bootstrap(a, b).difference == -paired_bootstrap(b, a).difference


def test_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(0)
    p = [
        paired_bootstrap(rng.normal(size=80), rng.normal(size=80), resamples=400, seed=i).p
        for i in range(300)
    ]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_holm_textbook_example():
    # Four hypotheses at α = .05: only the first and the fourth are rejected.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_holm_stops_at_one():
    np.testing.assert_allclose(holm([0.6, 0.5]), [1.0, 1.0])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_sequential_procedure_rejects(p, alpha):
    rejected = set()
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[i] * (len(p) - step) > alpha:
            break
        rejected.add(i)
    assert rejected == {i for i, value in enumerate(holm(p)) if value <= alpha}


def test_bad_input_is_refused():
    values = hits(10)
    with pytest.raises(ConfigError, match=r"level .* got 95"):
        bootstrap_interval(values, level=95)
    with pytest.raises(ConfigError, match=r"resamples .* got 0"):
        bootstrap_interval(values, resamples=0)
    with pytest.raises(DataError, match=r"shape \(0,\)"):
        bootstrap_interval(np.array([]))
    with pytest.raises(DataError, match="nan at user row 1"):
        bootstrap_interval(np.array([0.0, np.nan]))
    with pytest.raises(DataError, match="a has 10 users, b has 9"):
        paired_bootstrap(values, values[1:])
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        holm([0.5, 1.5])
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        holm([0.5, float("nan")])


def width(interval):
    return interval.high - interval.low


def test_one_seed_gives_the_interval_over_users():
    values = np.random.default_rng(3).exponential(size=300)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = crossed_interval(values[None], resamples=20_000)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * (theirs.high - theirs.low))
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * (theirs.high - theirs.low))


def test_users_and_seeds_both_widen_the_interval():
    # x = a_seed + b_user: a replicate's variance is var(a) / S + var(b) / U.
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 1)), rng.normal(0, 5, size=(1, 400))
    error = np.sqrt(a.var() / 20 + b.var() / 400)
    interval = crossed_interval(a + b, resamples=20_000)
    assert width(interval) == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert width(crossed_interval(a + 0 * b, resamples=20_000)) == pytest.approx(
        2 * 1.96 * a.std() / np.sqrt(20), rel=0.05
    )


def test_a_difference_draws_the_same_users_and_each_ones_own_seeds():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(8, 1)), rng.normal(0, 5, size=(1, 400))
    # Users count for nothing in the difference, seeds twice.
    interval = crossed_interval(a + b + 1, a + b, resamples=20_000)
    assert interval.mean == pytest.approx(1)
    assert width(interval) == pytest.approx(2 * 1.96 * np.sqrt(2 * a.var() / 8), rel=0.08)


def test_a_crossed_test_of_single_trainings_is_the_paired_one():
    a, b = hits(300, 0.3, 1), hits(300, 0.24, 2)
    ours = crossed_test(a[None], b[None], resamples=20_000)
    theirs = paired_bootstrap(a, b, resamples=20_000)
    assert ours.difference == pytest.approx(theirs.difference)
    assert ours.p == pytest.approx(theirs.p, abs=0.02)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)
    assert crossed_test(a[None], a[None]) == (0.0, 0.0, 0.0, 1.0)


def test_a_crossed_test_counts_the_trainings_hand_computed():
    # Two trainings are 0 and 2 above the other: d = 1, d* is 0, 1, 1 or 2, and |d* - 1| reaches 1
    # half of the time, however many users agree.
    users = np.random.default_rng(0).normal(size=(1, 500))
    test = crossed_test(users + np.array([[0.0], [2.0]]), users, resamples=9999)
    assert test.difference == pytest.approx(1)
    assert test.p == pytest.approx(0.5, abs=0.02)
    assert (test.low, test.high) == pytest.approx((0.0, 2.0))
    assert paired_bootstrap((users + 1)[0], users[0]).p < 0.001


def test_crossed_intervals_refuse_other_users_and_bad_values():
    with pytest.raises(DataError, match=r"\(3, 5\) and \(3, 4\)"):
        crossed_interval(np.zeros((3, 5)), np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"\[seeds, users\].*\(5,\)"):
        crossed_interval(np.zeros(5))
    with pytest.raises(DataError, match="nan"):
        crossed_interval(np.full((1, 2), np.nan))
    with pytest.raises(ConfigError, match="level"):
        crossed_interval(np.zeros((1, 2)), level=1)
