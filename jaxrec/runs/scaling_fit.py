"""Robust fits of scaling laws in log space: steps from many starts at once, and resampling.

A law predicts f(θ) = ln L of each point. Its constants θ minimize the sum of Huber losses of the
residuals ln L - f(θ), as Hoffmann et al. (arXiv:2203.15556, section 3.3) do. Everything is float64,
because a Huber loss with δ = 1e-3 is not resolved by float32.

The loss is minimized by iteratively reweighted least squares with Levenberg-Marquardt damping:
min(1, δ / |r|) as the weight of a squared residual makes a bound on the Huber loss that touches it
at the present θ. All starts take a step together. The best of them are finished by L-BFGS.

Shapes: `S` starts, `P` parameters, `n` points.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Maps θ [S, P] to f [S, n] and its derivatives [S, n, P].
LogModel = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

DELTA = 1e-3
_CELLS = 2**23  # largest array of derivatives in memory
# Steps of all starts, and how many of the best go on. The last ones are finished by L-BFGS.
_STAGES = ((3, 900), (8, 200), (30, 20), (60, 4))
_RESAMPLED_STEPS = 40
_FARTHEST = 300.0  # constants are logarithms and exponents; beyond this their powers overflow


class Minimum(NamedTuple):
    """Constants θ [P] of a law, and the sum of Huber losses that they reach."""

    theta: np.ndarray
    objective: float


def huber(r: np.ndarray, delta: float = DELTA) -> np.ndarray:
    """Huber loss of each residual: r²/2 within δ of 0, and δ (|r| - δ/2) beyond.

    Example:
      >>> huber(np.array([0.5, -3.0]), delta=1.0).tolist()
      [0.125, 2.5]
    """
    size = np.abs(r)
    return np.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))


def additive(x: np.ndarray, y: np.ndarray, *, irreducible: bool) -> LogModel:
    """The law ln L = logsumexp(a - α x, b - β y[, e]), with θ = (a, b, α, β[, e]).

    Args:
      x: logarithm of the first quantity, such as ln N, [n].
      y: logarithm of the second one, such as ln D, [n].
      irreducible: whether the law has a constant term E = exp(e).

    Example:
      >>> law = additive(np.zeros(1), np.zeros(1), irreducible=True)
      >>> round(float(np.exp(law(np.zeros((1, 5)))[0][0, 0])), 6)
      3.0
    """

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # [S, n] for each term
        terms = [theta[:, [0]] - theta[:, [2]] * x, theta[:, [1]] - theta[:, [3]] * y]
        if irreducible:
            terms.append(np.broadcast_to(theta[:, [4]], terms[0].shape))
        f = functools.reduce(np.logaddexp, terms)
        shares = [np.exp(term - f) for term in terms]
        parts = [shares[0], shares[1], -shares[0] * x, -shares[1] * y, *shares[2:]]
        return f, np.stack(parts, -1)

    return model


def joint(log_n: np.ndarray, log_d: np.ndarray) -> LogModel:
    """Kaplan's law ln L = α_D logsumexp((α_N / α_D) (n - ln N), d - ln D).

    Both exponents are positive, so θ = (ln α_N, ln α_D, n, d) with n = ln N_c and d = ln D_c.

    Args:
      log_n: ln N, [n].
      log_d: ln D, [n].

    Example:
      >>> law = joint(np.log([6.4e13]), np.log([1.8e13]))
      >>> theta = np.array([[np.log(0.076), np.log(0.103), np.log(6.4e13), np.log(1.8e13)]])
      >>> round(float(law(theta)[0][0, 0] / np.log(2)), 6)  # both terms are 1, so L = 2^α_D
      0.103
    """

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        alpha_n, alpha_d = np.exp(theta[:, [0]]), np.exp(theta[:, [1]])
        size = alpha_n * (theta[:, [2]] - log_n)  # [S, n]
        total = np.logaddexp(size / alpha_d, theta[:, [3]] - log_d)
        share = np.exp(size / alpha_d - total)
        parts = [
            share * size,
            alpha_d * total - share * size,
            share * alpha_n,
            alpha_d * (1 - share),
        ]
        return alpha_d * total, np.stack(np.broadcast_arrays(*parts), -1)

    return model


def descend(
    model: LogModel,
    target: np.ndarray,
    starts: np.ndarray,
    steps: int,
    *,
    weights: np.ndarray | None = None,
    delta: float = DELTA,
) -> tuple[np.ndarray, np.ndarray]:
    """Take damped steps from each start; no step makes its objective larger.

    Args:
      model: predicts ln L.
      target: ln L, [n].
      starts: θ, [S, P].
      steps: number of steps.
      weights: of the points, for each start: [S, n]; None for equal ones.
      delta: where the Huber loss turns linear.

    Returns:
      θ [S, P] and the objectives [S].

    Example:
      >>> x = np.arange(8.0)
      >>> law = additive(x, x[::-1], irreducible=False)
      >>> target = law(np.array([[1.0, 2.0, 0.3, 0.5]]))[0][0]
      >>> theta, objective = descend(law, target, np.array([[0.5, 2.0, 0.2, 0.4]]), 40)
      >>> theta.round(4).tolist(), bool(objective[0] < 1e-12)
      ([[1.0, 2.0, 0.3, 0.5]], True)
    """
    size = max(1, _CELLS // (len(target) * starts.shape[1]))
    parts = [
        _descend(
            model,
            target,
            starts[low : low + size],
            steps,
            np.ones(1) if weights is None else weights[low : low + size],
            delta,
        )
        for low in range(0, len(starts), size)
    ]
    theta, objective = zip(*parts, strict=True)
    return np.concatenate(theta), np.concatenate(objective)


def _descend(
    model: LogModel,
    target: np.ndarray,
    theta: np.ndarray,
    steps: int,
    weights: np.ndarray,
    delta: float,
) -> tuple[np.ndarray, np.ndarray]:
    damping = np.full(len(theta), 1e-3)
    f, slopes = model(theta)
    r = target - f
    objective = (weights * huber(r, delta)).sum(-1)
    unit = np.eye(theta.shape[1])
    for _ in range(steps):
        w = weights * np.minimum(1.0, delta / np.maximum(np.abs(r), 1e-300))
        gradient = np.einsum("snp,sn->sp", slopes, w * r)
        curvature = np.matmul(np.swapaxes(slopes * w[..., None], 1, 2), slopes)  # [S, P, P]
        scale = np.einsum("spp->sp", curvature)
        # A direction without any curvature is damped too, or the matrix would be singular.
        scale = scale + 1e-9 * scale.max(-1, keepdims=True) + 1e-12
        damped = curvature + (damping[:, None] * scale)[..., None] * unit
        tried = theta + np.linalg.solve(damped, gradient[..., None])[..., 0]
        # A step may be so long that a power overflows; its objective is then not smaller.
        with np.errstate(all="ignore"):
            f, new_slopes = model(tried)
            residual = target - f
            value = (weights * huber(residual, delta)).sum(-1)
        better = (value < objective) & (np.abs(tried).max(-1) < _FARTHEST)
        theta = np.where(better[:, None], tried, theta)
        objective = np.where(better, value, objective)
        r = np.where(better[:, None], residual, r)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-12, 1e12)
    return theta, objective


def minimize(
    model: LogModel, target: np.ndarray, starts: np.ndarray, *, delta: float = DELTA
) -> Minimum:
    """The smallest objective that is reached from any of the starts.

    Args:
      model: predicts ln L.
      target: ln L, [n].
      starts: θ, [S, P].
      delta: where the Huber loss turns linear.

    Example:
      >>> x = np.linspace(0, 5, 9)
      >>> law = additive(x, x**2, irreducible=False)
      >>> target = law(np.array([[1.0, 2.0, 0.3, 0.5]]))[0][0]
      >>> best = minimize(law, target, grid([0, 3], [0, 3], [0.1, 1.0], [0.1, 1.0]))
      >>> best.theta.round(4).tolist()
      [1.0, 2.0, 0.3, 0.5]
    """
    theta, objective = starts, np.zeros(len(starts))
    for steps, kept in _STAGES:
        theta, objective = descend(model, target, theta, steps, delta=delta)
        best = np.argsort(objective, kind="stable")[:kept]
        theta, objective = theta[best], objective[best]
    found = [_finish(model, target, one, delta) for one in theta]
    return min(found, key=lambda one: one.objective)


def _finish(model: LogModel, target: np.ndarray, theta: np.ndarray, delta: float) -> Minimum:
    """Polish θ [P] by L-BFGS with tight tolerances."""
    from scipy.optimize import minimize as lbfgs

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        f, slopes = model(theta[None])
        r = target - f[0]
        return float(huber(r, delta).sum()), -np.clip(r, -delta, delta) @ slopes[0]

    options = {"ftol": 1e-14, "gtol": 1e-11, "maxiter": 2000}
    # A line search may try a step whose powers overflow, and then takes a shorter one.
    with np.errstate(all="ignore"):
        result = lbfgs(objective, theta, jac=True, method="L-BFGS-B", options=options)
    before = objective(theta)[0]
    if result.fun < before:
        return Minimum(result.x, float(result.fun))
    return Minimum(theta, before)


def resample(
    model: LogModel,
    target: np.ndarray,
    best: np.ndarray,
    *,
    resamples: int,
    seed: int = 0,
    delta: float = DELTA,
) -> np.ndarray:
    """Fit the law to points drawn with replacement, many times; each fit starts from the best one.

    Args:
      model: predicts ln L.
      target: ln L, [n].
      best: θ of all points, [P].
      resamples: number of fits.
      seed: of the draws.
      delta: where the Huber loss turns linear.

    Returns:
      θ of each resample, [resamples, P].

    Example:
      >>> x = np.linspace(0, 5, 9)
      >>> law = additive(x, x**2, irreducible=False)
      >>> theta = np.array([1.0, 2.0, 0.3, 0.5])
      >>> resample(law, law(theta[None])[0][0], theta, resamples=7).shape
      (7, 4)
    """
    n = len(target)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    starts = np.tile(best, (resamples, 1))
    steps = _RESAMPLED_STEPS
    return descend(model, target, starts, steps, weights=weights.astype(float), delta=delta)[0]


def grid(*axes: npt.ArrayLike) -> np.ndarray:
    """All combinations of values: [S, P], the last one changes fastest.

    Example:
      >>> grid([0, 1], [5]).tolist()
      [[0.0, 5.0], [1.0, 5.0]]
    """
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], -1).astype(float)
