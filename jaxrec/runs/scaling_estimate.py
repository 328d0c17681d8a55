"""Fits of scaling laws to trainings: constants with intervals, and how well they predict.

Shapes: `n` points, `R` resamples, `P` parameters of a law.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.runs.scaling_fit import (
    DELTA,
    LogModel,
    Minimum,
    additive,
    descend,
    grid,
    joint,
    minimize,
    resample,
)
from jaxrec.runs.scaling_laws import PF_DAY, KaplanSteps
from jaxrec.runs.scaling_points import Points

# Values closer than this are one size or one number of tokens.
_SAME = 0.01
_FLAT = 1e-9  # exponents that a search keeps above 0 are 0 where they are smaller
_LEVEL = 0.95
_HELD_OUT_STEPS = 200
# For laws without a published δ: noise of one percent is then fitted nearly as by least squares.
_WIDE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted law.

    Attributes:
      law: its name in `LAWS`, or "isoflop" or "envelope".
      values: the constants by name.
      intervals: [low, high] of each constant in 95 % of the resamples.
      objective: the sum of Huber losses, or of squares where the law is a line in logarithms.
      points: how many points were fitted.
      r_squared: share of the variance of the fitted logarithms that the law explains.
      held_out_error: largest relative error of the loss of the largest model, predicted from the
        others; None where the others do not determine the law.
      notes: sentences about the fit.
    """

    law: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    objective: float
    points: int
    r_squared: float
    held_out_error: float | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fit as one object; the constants stand beside the other numbers."""
        return {
            "law": self.law,
            "objective": self.objective,
            **{name: _finite(value) for name, value in self.values.items()},
            "points": self.points,
            "r_squared": self.r_squared,
            "held_out_error": self.held_out_error,
            "intervals": {name: [*map(_finite, ends)] for name, ends in self.intervals.items()},
        }


def _finite(value: float) -> float | None:
    """A number for JSON, which has no infinity: the scale of a nearly flat law is beyond floats."""
    return value if np.isfinite(value) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Law:
    """A law that `fit_law` fits.

    Attributes:
      formula: for people.
      axes: the quantities that the loss depends on, in the order of `model`.
      exponents: the constant that each axis determines, for messages.
      levels: how many distinct values each axis must have.
      model: makes the prediction of ln L from the logarithms of the axes, [n] each.
      constants: maps θ [R, P] to the constants of the law, [R] each.
      starts: θ [S, P]; None for a line, which least squares solve.
      delta: where the Huber loss turns linear, by default.
    """

    formula: str
    axes: tuple[str, ...]
    exponents: tuple[str, ...]
    levels: int
    model: Callable[..., LogModel]
    constants: Callable[[np.ndarray], dict[str, np.ndarray]]
    starts: np.ndarray | None = None
    delta: float = _WIDE


def _line(x: np.ndarray) -> LogModel:
    """A line in logarithms, ln L = θ_0 x + θ_1."""

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        f = theta[:, [0]] * x + theta[:, [1]]
        return f, np.stack(np.broadcast_arrays(x, np.ones_like(f)), -1)

    return model


def _power(scale: str, alpha: str) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The constants of (X_c / X)^α from a line in logarithms."""

    def constants(theta: np.ndarray) -> dict[str, np.ndarray]:
        slope = -theta[:, 0]
        with np.errstate(all="ignore"):  # a flat line has no scale
            return {scale: np.exp(theta[:, 1] / slope), alpha: slope}

    return constants


def _chinchilla(theta: np.ndarray) -> dict[str, np.ndarray]:
    a, b, alpha, beta, e = theta.T
    values = {"E": np.exp(e), "A": np.exp(a), "B": np.exp(b), "alpha": alpha, "beta": beta}
    return values | {"a": beta / (alpha + beta), "b": alpha / (alpha + beta)}


def _joint(theta: np.ndarray) -> dict[str, np.ndarray]:
    alpha_n, alpha_d, n_c, d_c = np.exp(theta).T
    return {"alpha_N": alpha_n, "alpha_D": alpha_d, "N_c": n_c, "D_c": d_c}


def _steps(theta: np.ndarray) -> dict[str, np.ndarray]:
    a, b, alpha_n, alpha_s = theta.T
    n_c, s_c = np.exp(a / alpha_n), np.exp(b / alpha_s)
    return {"alpha_N": alpha_n, "alpha_S": alpha_s, "N_c": n_c, "S_c": s_c}


# The grid of Hoffmann et al. and of Besiroglu et al. in the order (a, b, alpha, beta, e).
_TENS = np.arange(0.0, 26.0, 5.0)
_HALVES = np.arange(0.0, 2.1, 0.5)
_CHINCHILLA_STARTS = grid(_TENS, _TENS, _HALVES, _HALVES, np.arange(-1.0, 1.1, 0.5))
_STEPS_STARTS = grid(
    [0.0, 1.0, 2.5, 5.0, 10.0], [0.0, 2.0, 5.0, 10.0], [0.03, 0.1, 0.3, 1.0], [0.1, 0.4, 0.8, 1.6]
)
_JOINT_STARTS = grid(
    *[np.log([0.02, 0.08, 0.2, 0.5])] * 2, [10.0, 20.0, 30.0, 40.0], [10.0, 20.0, 30.0, 40.0]
)

LAWS = {
    "chinchilla": Law(
        formula="L = E + A / N^alpha + B / D^beta",
        axes=("params", "tokens"),
        exponents=("alpha", "beta"),
        levels=3,
        model=lambda n, d: additive(n, d, irreducible=True),
        constants=_chinchilla,
        starts=_CHINCHILLA_STARTS,
        delta=DELTA,
    ),
    "kaplan": Law(
        formula="L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D",
        axes=("params", "tokens"),
        exponents=("alpha_N", "alpha_D"),
        levels=2,
        model=joint,
        constants=_joint,
        starts=_JOINT_STARTS,
    ),
    "kaplan-steps": Law(
        formula="L = (N_c / N)^alpha_N + (S_c / S_min)^alpha_S",
        axes=("params", "steps"),
        exponents=("alpha_N", "alpha_S"),
        levels=2,
        model=lambda n, s: additive(n, s, irreducible=False),
        constants=_steps,
        starts=_STEPS_STARTS,
    ),
    "params": Law(
        formula="L = (N_c / N)^alpha_N",
        axes=("params",),
        exponents=("alpha_N",),
        levels=2,
        model=_line,
        constants=_power("N_c", "alpha_N"),
    ),
    "tokens": Law(
        formula="L = (D_c / D)^alpha_D",
        axes=("tokens",),
        exponents=("alpha_D",),
        levels=2,
        model=_line,
        constants=_power("D_c", "alpha_D"),
    ),
    "compute": Law(
        formula="L = (C_c / C)^alpha_C, C in PF-days",
        axes=("flops",),
        exponents=("alpha_C",),
        levels=2,
        model=_line,
        constants=_power("C_c", "alpha_C"),
    ),
}


def fit_law(
    name: str,
    points: Points,
    *,
    resamples: int = 1000,
    seed: int = 0,
    delta: float | None = None,
) -> Fit:
    """Fit a law to points.

    Args:
      name: one of `LAWS`.
      points: trainings; which quantities they must have depends on the law.
      resamples: bootstrap resamples of the points for the intervals; 0 gives none.
      seed: of the resamples.
      delta: where the Huber loss of ln L turns linear; None for 1e-3 in Chinchilla's law, as
        published, and 1e-2 in KM's. Laws in one variable use squares instead.

    Raises:
      ConfigError: an unknown law.
      DataError: a quantity is missing, the points are fewer than the constants of the law, or do
        not vary in a quantity whose exponent is asked for.

    Example:
      >>> n = np.array([1e6, 1e7, 1e8, 1e9])
      >>> fit = fit_law("params", Points(loss=(8.8e13 / n) ** 0.076, params=n), resamples=0)
      >>> round(fit.values["alpha_N"], 4), f"{fit.values['N_c']:.3g}", round(fit.r_squared, 4)
      (0.076, '8.8e+13', 1.0)
    """
    if name not in LAWS:
        raise ConfigError(f"no law {name!r}{nearest(name, LAWS)}; laws: {', '.join(LAWS)}")
    law = LAWS[name]
    delta = law.delta if delta is None else delta
    points, notes = with_min_steps(points) if "steps" in law.axes else (points, ())
    axes = _log_axes(law, points)
    _check(law, points, axes)
    target = np.log(points.loss)
    model = law.model(*axes)
    best = _solve(law, model, target, delta)
    with np.errstate(over="ignore"):
        values = {k: float(v[0]) for k, v in law.constants(best.theta[None]).items()}
    for axis, exponent in zip(law.axes, law.exponents, strict=True):
        if values[exponent] <= (0.0 if law.starts is None else _FLAT):
            raise DataError(
                f"{points.source}: the loss does not fall as {axis} grow ({exponent} "
                f"{values[exponent]:.3g}), so {law.formula} does not hold; check the columns, "
                "or choose another --law"
            )
    if law.starts is not None and not np.isfinite(list(values.values())).all():
        raise DataError(
            f"{points.source}: the loss falls so slowly that constants of {law.formula} are too "
            "large for a number; check the columns, or choose another --law"
        )
    residual = target - model(best.theta[None])[0][0]
    return Fit(
        law=name,
        values=values,
        intervals=_intervals(law, model, target, best, resamples, seed, delta),
        objective=best.objective,
        points=len(points),
        r_squared=_r_squared(residual, target),
        held_out_error=_held_out(law, axes, target, best.theta, delta),
        notes=notes,
    )


def with_min_steps(points: Points) -> tuple[Points, tuple[str, ...]]:
    """Steps as S_min: corrected for the batch, where it is known."""
    (steps,) = points.need("steps")
    if points.batch is None:
        return points, ("The steps are taken as S_min, because no column gives the batch.",)
    corrected = KaplanSteps().min_steps(steps, points.batch, points.loss)
    note = "S_min = S / (1 + B_crit(L) / B) with B_crit = 2e8 tokens / L^(1 / .21)."
    return dataclasses.replace(points, steps=np.asarray(corrected)), (note,)


def _log_axes(law: Law, points: Points) -> list[np.ndarray]:
    unit = {"flops": PF_DAY}
    values = zip(law.axes, points.need(*law.axes), strict=True)
    return [np.log(value / unit.get(axis, 1.0)) for axis, value in values]


def _check(law: Law, points: Points, axes: list[np.ndarray]) -> None:
    """Reject points that do not determine the law."""
    parameters = 2 if law.starts is None else law.starts.shape[1]
    if len(points) <= parameters:
        raise DataError(
            f"{points.source}: {len(points)} points are too few for {law.formula} with "
            f"{parameters} constants; give at least {parameters + 1}"
        )
    if np.ptp(points.loss) == 0:
        raise DataError(
            f"{points.source}: all {len(points)} points have one loss ({points.loss[0]:.6g}), from "
            "which no law can be fitted; check the column of losses"
        )
    for axis, exponent, x in zip(law.axes, law.exponents, axes, strict=True):
        count = _levels(x)
        if count < law.levels:
            value = f"{np.exp(x[0]) * (PF_DAY if axis == 'flops' else 1):.3g}"
            how = f"one value of {axis} ({value})" if count == 1 else f"{count} values of {axis}"
            raise DataError(
                f"{points.source}: all {len(points)} points have {how}, so {exponent} is not "
                f"identifiable; add points with other {axis}, {law.levels} different values at "
                "least, or choose another --law"
            )
    if len(axes) == 2:
        centred = [x - x.mean() for x in axes]
        correlation = (
            centred[0] @ centred[1] / np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1]))
        )
        if abs(correlation) > 1 - 1e-9:
            raise DataError(
                f"{points.source}: {law.axes[1]} follow from {law.axes[0]} in all points, so "
                f"{' and '.join(law.exponents)} are not identifiable; vary one without the other"
            )


def _levels(x: np.ndarray) -> int:
    return 1 + int((np.diff(np.sort(x)) > _SAME).sum())


def _solve(law: Law, model: LogModel, target: np.ndarray, delta: float) -> Minimum:
    if law.starts is not None:
        return minimize(model, target, law.starts, delta=delta)
    theta = _least_squares(model, target, np.ones((1, len(target))))[0]
    residual = target - model(theta[None])[0][0]
    return Minimum(theta, float(residual @ residual))


def _least_squares(model: LogModel, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Lines [R, 2] through the weighted points; weights are [R, n]."""
    x = model(np.zeros((1, 2)))[1][0, :, 0]
    total = weights.sum(-1)
    x_mean, y_mean = weights @ x / total, weights @ target / total
    xs, ys = x - x_mean[:, None], target - y_mean[:, None]
    slope = (weights * xs * ys).sum(-1) / (weights * xs * xs).sum(-1)
    return np.stack([slope, y_mean - slope * x_mean], -1)


def _intervals(
    law: Law,
    model: LogModel,
    target: np.ndarray,
    best: Minimum,
    resamples: int,
    seed: int,
    delta: float,
) -> dict[str, tuple[float, float]]:
    if not resamples:
        return {}
    if law.starts is not None:
        drawn = resample(model, target, best.theta, resamples=resamples, seed=seed, delta=delta)
    else:
        n = len(target)
        weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
        x = model(np.zeros((1, 2)))[1][0, :, 0]
        # A draw of points of one size has no slope.
        drawn_x = np.where(weights > 0, x, np.nan)
        spread = np.nanmax(drawn_x, -1) - np.nanmin(drawn_x, -1)
        drawn = _least_squares(model, target, weights[spread > _SAME].astype(float))
    return percentiles(law.constants(drawn))


def percentiles(draws: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """The interval of each constant that holds 95 % of its draws [R].

    Example:
      >>> low, high = percentiles({"a": np.arange(401.0)})["a"]
      >>> round(low), round(high)
      (10, 390)
    """
    ends = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
    finite = {name: values[np.isfinite(values)] for name, values in draws.items()}
    return {
        name: (float(low), float(high))
        for name, values in finite.items()
        if values.size
        for low, high in [np.quantile(values, ends)]
    }


def _r_squared(residual: np.ndarray, target: np.ndarray) -> float:
    centred = target - target.mean()
    return float(1 - residual @ residual / max(centred @ centred, 1e-300))


def _held_out(
    law: Law, axes: list[np.ndarray], target: np.ndarray, theta: np.ndarray, delta: float
) -> float | None:
    """Largest relative error of the loss where the first axis is largest, fitted without that."""
    largest = axes[0] > axes[0].max() - _SAME
    kept = [x[~largest] for x in axes]
    if (~largest).sum() < len(theta) or min(map(_levels, kept), default=0) < law.levels:
        return None
    model = law.model(*kept)
    if law.starts is None:
        fitted = _least_squares(model, target[~largest], np.ones((1, len(kept[0]))))
    else:
        fitted, _ = descend(model, target[~largest], theta[None], _HELD_OUT_STEPS, delta=delta)
    predicted = law.model(*(x[largest] for x in axes))(fitted)[0][0]
    return float(np.abs(np.expm1(predicted - target[largest])).max())
