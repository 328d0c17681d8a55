"""Closed forms of the scaling laws against numeric minimization, and figures of the papers."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from jaxrec.core import ConfigError
from jaxrec.runs import (
    CHINCHILLA,
    KAPLAN_EMPIRICAL,
    KAPLAN_POWER,
    KaplanJoint,
    KaplanSteps,
    device_peak,
    kaplan_allocation,
    kaplan_exponents,
    make_plan,
    propose_shape,
    training_days,
)
from jaxrec.runs.scaling_plan import optimum


@pytest.mark.parametrize("name", CHINCHILLA)
@pytest.mark.parametrize("flops", [1e18, 5.76e23])
def test_the_optimum_of_chinchilla_is_the_numeric_one(name, flops):
    law = CHINCHILLA[name]
    # E moves no minimum, and without it the minimum is less flat in floating point.
    bare = dataclasses.replace(law, E=0.0)
    found = minimize_scalar(
        lambda x: bare.loss(np.exp(x), flops / 6 / np.exp(x)), bracket=(10, 20, 35), tol=1e-12
    )
    best = law.optimum(flops)
    np.testing.assert_allclose(best.params, np.exp(found.x), rtol=1e-6)
    np.testing.assert_allclose(6 * best.params * best.tokens, flops, rtol=1e-12)
    assert best.loss == pytest.approx(law.E + found.fun, rel=1e-12)


def test_the_published_sets_of_constants_at_the_budget_of_chinchilla():
    # Besiroglu et al., and the paper's own constants with and without rounding.
    expected = {
        "paper": (32.2e9, 2.98e12, 92.6),
        "paper-tex": (40.4e9, 2.38e12, 58.9),
        "epoch": (72.2e9, 1.33e12, 18.4),
    }
    for name, (params, tokens, ratio) in expected.items():
        best = CHINCHILLA[name].optimum(5.76e23)
        assert best.params == pytest.approx(params, rel=2e-3)
        assert best.tokens == pytest.approx(tokens, rel=3e-3)
        assert round(best.tokens / best.params, 1) == ratio


@pytest.mark.parametrize("flops", [1e17, 1e24])
def test_the_optimum_of_kaplans_steps_is_the_numeric_one(flops):
    law = KaplanSteps()
    best = law.optimum(flops)

    def compute(x):
        """C_min of a size at the same loss, with S_min from the law."""
        left = best.loss - (law.n_c / np.exp(x)) ** law.alpha_n
        if left <= 0:
            return np.inf
        steps = law.s_c * left ** (-1 / law.alpha_s)
        return np.log(6 * steps * law.critical_batch(best.loss)) + x

    low = np.log(law.n_c) - np.log(best.loss) / law.alpha_n + 1e-6
    found = minimize_scalar(
        compute, bounds=(low, low + 10), method="bounded", options={"xatol": 1e-10}
    )
    np.testing.assert_allclose(best.params, np.exp(found.x), rtol=1e-6)
    np.testing.assert_allclose(np.exp(found.fun), flops, rtol=1e-9)


def test_the_closed_form_exponents_are_those_of_the_numeric_optimum():
    assert sum(kaplan_exponents()) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kaplan_exponents(), (0.684, 0.248, 0.068), atol=5e-4)
    law = KaplanSteps()
    one, other = law.optimum(1e20), law.optimum(1e22)
    slope = np.log(other.params / one.params) / np.log(100)
    exponents = kaplan_exponents(law.alpha_n, law.alpha_b, law.alpha_s)
    assert slope == pytest.approx(exponents.params, abs=1e-9)
    batches = law.critical_batch(other.loss) / law.critical_batch(one.loss)
    assert np.log(batches) / np.log(100) == pytest.approx(exponents.batch, abs=1e-9)


def test_the_measured_allocation_of_kaplan_is_a_preset_of_its_own():
    assert KAPLAN_EMPIRICAL == (0.73, 0.24, 0.03)
    one, other = kaplan_allocation(8.64e19), kaplan_allocation(8.64e21)
    np.testing.assert_allclose(np.log(np.divide(other, one)) / np.log(100), KAPLAN_EMPIRICAL)
    # The three values at one PF-day spend about one PF-day.
    assert 6 * np.prod(one) == pytest.approx(8.64e19, rel=0.05)
    best = optimum(8.64e21, "kaplan-empirical")
    assert best.params == pytest.approx(1.3e9 * 100**0.73)
    assert 6 * best.params * best.tokens == pytest.approx(8.64e21)
    assert make_plan(8.64e21, constants="kaplan-empirical").batch_tokens == other.batch
    plan = make_plan(8.64e21, constants="kaplan")
    assert plan.batch_tokens == pytest.approx(2e8 / plan.best.loss ** (1 / 0.21))


def test_losses_of_kaplan_by_hand():
    assert KAPLAN_POWER["params"].loss(1.5e9) == pytest.approx(2.304, abs=1e-3)
    assert KAPLAN_POWER["tokens"].loss(2.2e10) == pytest.approx((5.4e13 / 2.2e10) ** 0.095)
    assert KAPLAN_POWER["compute"].loss(1.0) == pytest.approx(3.1e8**0.05)
    law = KaplanJoint()
    # With endless data only the size counts, and the other way round.
    assert law.loss(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076)
    assert law.loss(1e40, 1e10) == pytest.approx((1.8e13 / 1e10) ** 0.103)
    steps = KaplanSteps()
    assert steps.critical_batch(2.5) == pytest.approx(2e8 / 2.5 ** (1 / 0.21))
    batch = steps.critical_batch(2.5)
    # At the critical batch, a training takes twice the least steps and twice the least compute.
    assert steps.min_steps(100.0, batch, 2.5) == pytest.approx(50)
    assert steps.min_compute(6.0, batch, 2.5) == pytest.approx(3)


def test_days_are_operations_over_operations_a_day():
    # 1e21 / (8 x 989e12 x 0.4 x 86400 s)
    days = training_days(1e21, device_peak("H100"), 8, 0.4)
    assert days == pytest.approx(3.6571, abs=1e-4)
    assert make_plan(1e21).days is None
    for wrong in ((1e21, 1e15, 0, 0.4), (1e21, 1e15, 1, 0.0), (1e21, 1e15, 1, 1.5)):
        with pytest.raises(ConfigError, match="devices"):
            training_days(*wrong)


@pytest.mark.parametrize("params", np.geomspace(2e5, 1e12, 15))
def test_a_proposed_shape_has_about_the_planned_size(params):
    shape = propose_shape(params)
    assert shape["params"] == 12 * shape["layers"] * shape["width"] ** 2
    assert shape["params"] == pytest.approx(params, rel=0.12 if params < 1e7 else 0.04)
    assert shape["width"] % shape["heads"] == 0
    if params > 1e8:
        assert 50 <= shape["width"] / shape["layers"] <= 200


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: optimum(0.0), "above 0 FLOP and finite, got 0"),
        (lambda: optimum(float("nan")), "finite, got nan"),
        (lambda: optimum(1e21, "epcoh"), "did you mean 'epoch'"),
        (lambda: kaplan_allocation(-1.0), "got -1"),
        (lambda: device_peak("h10"), "did you mean 'h100'"),
        (lambda: propose_shape(100.0), "fewer than one layer"),
        (
            lambda: dataclasses.replace(CHINCHILLA["epoch"], beta=0.0).optimum(1e21),
            "beta must be above 0 .* beta 0",
        ),
    ],
)
def test_what_has_no_optimum_is_named(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_constants_of_a_fit_are_read_from_a_file(tmp_path):
    path = tmp_path / "fit.json"
    path.write_text('{"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28, "a": 0.45}')
    assert optimum(5.76e23, str(path)) == optimum(5.76e23, "paper")
    path.write_text('{"E": 1.69, "A": 406.4}')
    with pytest.raises(ValueError, match="has no 'B'"):
        optimum(5.76e23, str(path))
