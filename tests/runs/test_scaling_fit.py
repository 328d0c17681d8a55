"""Fits of scaling laws: published figures, recovered constants, and SciPy as the referee."""

import json

import numpy as np
import pytest
from scipy import optimize, special, stats

from jaxrec.core import ConfigError, DataError
from jaxrec.runs import (
    CHINCHILLA,
    Points,
    drop_highest,
    envelope,
    fit_law,
    isoflop,
    make_points,
    read_points,
)
from jaxrec.runs.scaling_fit import additive, huber, joint, minimize

FILE = "svg_extracted_data.csv"


@pytest.fixture
def hoffmann(real_data):
    read = read_points(real_data("chinchilla") / FILE)
    assert len(read) == 245
    return drop_highest(read, read.drops)


def kaplan(n, d):
    return ((6.4e13 / n) ** (0.076 / 0.103) + 1.8e13 / d) ** 0.103


def noisy(loss, seed=0, share=0.01):
    return loss * np.exp(share * np.random.default_rng(seed).normal(size=loss.shape))


def mesh(*axes):
    return [axis.ravel() for axis in np.meshgrid(*axes)]


def test_the_published_refit_of_chinchilla(hoffmann):
    assert len(hoffmann) == 240
    fit = fit_law("chinchilla", hoffmann, resamples=300)
    assert fit.objective <= 1.0183e-3
    for name, value in {"alpha": 0.3473, "beta": 0.3672, "E": 1.8172}.items():
        assert fit.values[name] == pytest.approx(value, abs=5e-4)
    assert fit.values["A"] == pytest.approx(477.84, rel=1e-3)
    assert fit.values["B"] == pytest.approx(2143.9, rel=1e-3)
    assert fit.values["a"] == pytest.approx(0.5139, abs=1e-4)
    # Standard errors that Besiroglu et al. found by their bootstrap.
    for name, error in {"alpha": 0.015, "beta": 0.021, "E": 0.026}.items():
        low, high = fit.intervals[name]
        assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.2)
        assert low < fit.values[name] < high


@pytest.mark.parametrize(("name", "objective"), [("paper", 4.12101e-3), ("paper-tex", 1.23116e-3)])
def test_objectives_of_published_constants(hoffmann, name, objective):
    n, d = hoffmann.need("params", "tokens")
    law = CHINCHILLA[name]
    theta = np.array([[np.log(law.A), np.log(law.B), law.alpha, law.beta, np.log(law.E)]])
    f, _ = additive(np.log(n), np.log(d), irreducible=True)(theta)
    np.testing.assert_allclose(np.exp(f[0]), law.loss(n, d))
    found = huber(np.log(hoffmann.loss) - f[0]).sum()
    assert found == pytest.approx(objective, rel=1e-5)
    direct = special.huber(1e-3, np.log(hoffmann.loss) - np.log(law.loss(n, d))).sum()
    assert found == pytest.approx(direct, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "theta"),
    [
        (lambda x, y: additive(x, y, irreducible=True), [3.0, 2.0, 0.3, 0.2, 0.5]),
        (lambda x, y: additive(x, y, irreducible=False), [3.0, 2.0, 0.3, 0.2]),
        (joint, [-2.5, -2.2, 31.0, 30.0]),
    ],
)
def test_slopes_are_those_of_finite_differences(make, theta):
    draw = np.random.default_rng(0)
    model = make(draw.uniform(10, 20, 6), draw.uniform(15, 25, 6))
    theta = np.array([theta, np.multiply(theta, 1.1)])
    _, slopes = model(theta)
    for k in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[:, k] = 1e-6
        numeric = (model(theta + step)[0] - model(theta - step)[0]) / 2e-6
        np.testing.assert_allclose(slopes[..., k], numeric, rtol=1e-6, atol=1e-8)


def test_no_start_of_scipy_finds_a_smaller_objective():
    n, d = mesh(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5))
    loss = noisy(1.7 + 400 / n**0.34 + 900 / d**0.3)
    fit = fit_law("chinchilla", Points(loss=loss, params=n, tokens=d), resamples=0)

    def objective(t):
        f = special.logsumexp(
            [t[0] - t[3] * np.log(n), t[1] - t[4] * np.log(d), np.full(25, t[2])], axis=0
        )
        return special.huber(1e-3, np.log(loss) - f).sum()

    draw = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        found = min(
            optimize.minimize(objective, start, method="Nelder-Mead", options={"maxiter": 4000}).fun
            for start in draw.uniform([3, 3, 0, 0.1, 0.1], [9, 9, 1, 0.6, 0.6], (6, 5))
        )
    v = fit.values
    theta = [np.log(v["A"]), np.log(v["B"]), np.log(v["E"]), v["alpha"], v["beta"]]
    assert fit.objective == pytest.approx(objective(theta), rel=1e-9)
    assert fit.objective <= found * (1 + 1e-9)


def test_kaplans_exponents_are_recovered_from_noisy_losses():
    n, d = mesh(np.geomspace(1e6, 3e9, 14), np.geomspace(3e7, 3e10, 12))
    for seed in range(3):
        points = Points(loss=noisy(kaplan(n, d), seed), params=n, tokens=d)
        values = fit_law("kaplan", points, resamples=0).values
        assert values["alpha_N"] == pytest.approx(0.076, abs=0.002)
        assert values["alpha_D"] == pytest.approx(0.103, abs=0.004)


def test_steps_are_corrected_for_the_batch():
    n, minimal = mesh(np.geomspace(1e6, 3e9, 8), np.geomspace(1e3, 1e6, 8))
    loss = (6.5e13 / n) ** 0.077 + (2.1e3 / minimal) ** 0.76
    batch = np.full_like(n, 5e5)
    steps = minimal * (1 + 2e8 / loss ** (1 / 0.21) / batch)
    points = Points(loss=loss, params=n, steps=steps, batch=batch)
    fit = fit_law("kaplan-steps", points, resamples=0)
    expected = {"alpha_N": 0.077, "alpha_S": 0.76, "N_c": 6.5e13, "S_c": 2.1e3}
    assert fit.values == pytest.approx(expected, rel=1e-3)
    uncorrected = Points(loss=loss, params=n, steps=minimal)
    again = fit_law("kaplan-steps", uncorrected, resamples=0)
    assert again.values == pytest.approx(expected, rel=1e-3)
    assert "no column gives the batch" in again.notes[0]


@pytest.mark.parametrize(
    ("law", "quantity", "exponent"),
    [
        ("params", "params", "alpha_N"),
        ("tokens", "tokens", "alpha_D"),
        ("compute", "flops", "alpha_C"),
    ],
)
def test_a_law_in_one_variable_is_the_line_of_linregress(law, quantity, exponent):
    x = np.geomspace(1e6, 1e9, 6)
    loss = noisy((8.8e13 / x) ** 0.076)
    fit = fit_law(law, Points(loss=loss, **{quantity: x}), resamples=200)
    unit = 8.64e19 if law == "compute" else 1.0
    line = stats.linregress(np.log(x / unit), np.log(loss))
    assert fit.values[exponent] == pytest.approx(-line.slope)
    scale = next(value for name, value in fit.values.items() if name != exponent)
    assert np.log(scale) == pytest.approx(line.intercept / -line.slope)
    assert fit.r_squared == pytest.approx(line.rvalue**2)
    part = stats.linregress(np.log(x[:-1] / unit), np.log(loss[:-1]))
    predicted = np.exp(part.intercept + part.slope * np.log(x[-1] / unit))
    assert fit.held_out_error == pytest.approx(abs(predicted / loss[-1] - 1))
    low, high = fit.intervals[exponent]
    assert low < -line.slope < high


def test_minima_of_parabolas_lie_on_the_line_that_made_them():
    budgets = np.repeat([1e18, 1e19, 1e20, 1e21], 5)
    centre = np.log(0.3) + 0.49 * np.log(budgets)
    x = centre + np.tile([-1.5, -0.5, 0.1, 0.6, 1.4], 4)
    loss = 2 + 0.05 * (x - centre) ** 2 - 0.01 * np.log(budgets / 1e18)
    # A budget whose losses only fall has no minimum.
    points = Points(
        loss=np.append(loss, [3.0, 2.9, 2.85]),
        params=np.append(np.exp(x), [1e8, 2e8, 3e8]),
        flops=np.append(budgets, [1e22] * 3),
    )
    found = isoflop(points, resamples=50)
    assert found.fit.values == pytest.approx({"k": 0.3, "a": 0.49, "b": 0.51})
    np.testing.assert_allclose(found.loss, 2 - 0.01 * np.log([1, 10, 100, 1000]), atol=1e-9)
    assert found.fit.notes == ("4 of 5 budgets have a minimum inside their sizes.",)
    assert found.fit.intervals["a"] == pytest.approx((0.49, 0.49))
    with pytest.raises(DataError, match=r"1 of 2 budgets .* a line needs two"):
        isoflop(points.take(points.flops > 5e20))


def test_the_envelope_is_the_best_run_at_each_budget():
    law = CHINCHILLA["epoch"]
    sizes = np.geomspace(1e7, 1e10, 25)
    n, d = mesh(sizes, np.geomspace(1e8, 1e12, 40))
    points = Points(loss=law.loss(n, d), params=n, tokens=d)
    found = envelope(points, resamples=60)
    assert found.fit.values["a"] == pytest.approx(law.beta / (law.alpha + law.beta), abs=0.02)
    low, high = found.fit.intervals["a"]
    assert low < found.fit.values["a"] < high < low + 0.1
    for k in range(0, len(found.flops), 97):
        tokens = found.flops[k] / 6 / sizes
        reached = (tokens >= 1e8) & (tokens <= 1e12)
        best = sizes[reached][law.loss(sizes, tokens)[reached].argmin()]
        assert found.params[k] == pytest.approx(best)
    with pytest.raises(DataError, match=r"0 runs have two points .* --columns.run"):
        envelope(points.take(np.arange(25) * 40 + np.arange(25)))


def test_a_run_with_two_sizes_is_named():
    n = np.repeat([1e7, 2e7, 4e7], 4)
    points = make_points(
        {"loss": np.linspace(4, 3, 12), "params": n, "tokens": np.full(12, 1e9), "run": np.ones(12)}
    )
    with pytest.raises(
        DataError, match=r"a run of 12 points has models of 1e\+07 and of 4e\+07 parameters"
    ):
        envelope(points)


def test_a_start_that_overflows_does_not_win():
    x = np.linspace(0, 5, 9)
    law = additive(x, x**2, irreducible=False)
    target = law(np.array([[1.0, 2.0, 0.3, 0.5]]))[0][0]
    starts = np.array([[1e6, 1e6, 0.0, 0.0], [0.0, 3.0, 0.1, 0.1]])
    np.testing.assert_allclose(minimize(law, target, starts).theta, [1, 2, 0.3, 0.5], atol=1e-4)


ONE_SIZE = {"params": np.full(9, 1e8), "tokens": np.geomspace(1e9, 1e11, 9)}


@pytest.mark.parametrize(
    ("law", "columns", "words"),
    [
        ("chinchilla", ONE_SIZE, r"one value of params \(1e\+08\), so alpha is not identifiable"),
        ("kaplan", ONE_SIZE, "so alpha_N is not identifiable"),
        ("params", ONE_SIZE, "so alpha_N is not identifiable"),
        (
            "chinchilla",
            {"params": np.geomspace(1e7, 1e9, 9), "tokens": np.full(9, 1e10)},
            "one value of tokens .* beta is not identifiable",
        ),
        (
            "chinchilla",
            {"params": np.geomspace(1e7, 1e9, 9), "tokens": 20 * np.geomspace(1e7, 1e9, 9)},
            "tokens follow from params in all points, so alpha and beta are not identifiable",
        ),
        (
            "chinchilla",
            {"params": np.geomspace(1e7, 1e9, 9)},
            "needs training tokens, and .* only loss, params; .* --columns.tokens",
        ),
        ("tokens", {"params": np.geomspace(1e7, 1e9, 9)}, "needs training tokens"),
        ("compute", {"params": np.geomspace(1e7, 1e9, 9)}, "needs training compute"),
    ],
)
def test_points_that_do_not_determine_a_law_are_rejected(law, columns, words):
    points = make_points({"loss": np.linspace(4, 3, 9), **columns})
    with pytest.raises(DataError, match=words):
        fit_law(law, points)


def test_a_loss_that_grows_with_the_size_is_no_power_law():
    n = np.geomspace(1e7, 1e9, 9)
    with pytest.raises(DataError, match=r"loss does not fall as params grow \(alpha_N -0.0625\)"):
        fit_law("params", Points(loss=n**0.0625, params=n))
    # Here only the intervals and a derived constant are beyond all numbers, which JSON lacks.
    fit = fit_law("tokens", Points(loss=3 - 1e-9 * np.arange(9), tokens=n), resamples=5)
    assert fit.to_json()["D_c"] is None
    assert "Infinity" not in json.dumps(fit.to_json())


def test_too_few_points_and_unknown_laws_are_named():
    n, d = mesh(np.geomspace(1e7, 1e9, 2), np.geomspace(1e9, 1e10, 2))
    points = Points(loss=np.linspace(4, 3, 4), params=n, tokens=d)
    with pytest.raises(DataError, match=r"4 points are too few .* 5 constants; give at least 6"):
        fit_law("chinchilla", points)
    with pytest.raises(ConfigError, match="did you mean 'chinchilla'"):
        fit_law("chinchila", points)


@pytest.mark.parametrize("law", ["chinchilla", "kaplan"])
def test_losses_that_do_not_fall_give_no_law(law):
    n, d = mesh(np.geomspace(1e6, 1e9, 4), np.geomspace(1e8, 1e11, 4))
    rising = make_points({"params": n, "tokens": d, "loss": 1 + np.log(n * d)})
    with pytest.raises(
        DataError, match=r"the loss (does not fall as (params|tokens) grow|falls so slowly)"
    ):
        fit_law(law, rising, resamples=0)
    constant = make_points({"params": n, "tokens": d, "loss": np.full(16, 3.0)})
    with pytest.raises(DataError, match=r"all 16 points have one loss \(3\)"):
        fit_law(law, constant, resamples=0)
