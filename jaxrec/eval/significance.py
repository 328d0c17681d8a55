"""Uncertainty of metrics and their differences: bootstrap over users, and multiple comparisons.

The percentile bootstrap follows Efron and Tibshirani, An Introduction to the Bootstrap (1993),
chapters 13 (interval) and 16 (test); the correction follows Holm, A Simple Sequentially Rejective
Multiple Test Procedure (1979).

Training runs vary with their seed, as users vary in their taste. `crossed_interval` resamples both
independently, because every seed meets the same users (the "pigeonhole bootstrap" of Owen, The
Pigeonhole Bootstrap, Annals of Applied Statistics, 2007).

Shapes: `U` users, `R` resamples, `M` comparisons, `S` seeds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrec.core import ConfigError, DataError

# Largest number of resampled indices in memory; it does not change the draws.
_CHUNK = 2**22


class Interval(NamedTuple):
    """A mean over users and its confidence interval."""

    mean: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """Mean difference of two systems on the same users, its interval, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of one metric over users.

    With θ* the mean of U users drawn with replacement, R times, the interval consists of the
    (1 - level) / 2 and (1 + level) / 2 quantiles of θ*.

    Args:
      values: [U], one value per user.
      level: confidence level, between 0 and 1.
      resamples: R.
      seed: seed of the resamples; the same seed gives the same interval.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: `values` is empty, not one-dimensional, or holds NaN or infinity.

    Example:
      >>> import numpy as np
      >>> hits = np.array([1.0] * 30 + [0.0] * 70)
      >>> interval = bootstrap_interval(hits)
      >>> interval.mean, round(interval.low, 1), round(interval.high, 1)
      (0.3, 0.2, 0.4)
    """
    values = _checked(values, "values", level, resamples)
    means = _resampled_means(values, resamples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedTest:
    """Test whether system `a` differs from system `b` on the same users.

    With d = mean(a - b) and d* its bootstrap replicates, the replicates under the null hypothesis
    of no difference are d* - d, so p = (1 + #{|d* - d| >= |d|}) / (1 + R), which is never 0. The
    interval is the percentile interval of d*.

    Args:
      a: [U], one value per user.
      b: [U], the same users in the same order.
      level: confidence level of the interval.
      resamples: R; p cannot be below 1 / (1 + R).
      seed: seed of the resamples.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: the numbers of users differ, or a value is not finite.

    Example:
      >>> import numpy as np
      >>> a = np.random.default_rng(0).random(200)
      >>> test = paired_bootstrap(a + 0.1, a, resamples=99)
      >>> round(test.difference, 3), test.p
      (0.1, 0.01)
    """
    a = _checked(a, "a", level, resamples)
    b = _checked(b, "b", level, resamples)
    if a.shape != b.shape:
        raise DataError(
            f"a paired test needs the same users in both systems; a has {len(a)} users, b has "
            f"{len(b)}"
        )
    d = a - b
    means = _resampled_means(d, resamples, seed)
    return _tested(float(d.mean()), means, float(np.abs(d).max()), level)


def _tested(difference: float, replicates: np.ndarray, largest: float, level: float) -> PairedTest:
    """The test of a difference by its replicates `[R]`; rounding slack scales with `largest`."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    # The slack keeps rounding from excluding a replicate that equals the difference.
    slack = 1e-12 * largest
    extreme = np.count_nonzero(np.abs(replicates - difference) >= abs(difference) - slack)
    p = (1 + extreme) / (1 + len(replicates))
    return PairedTest(difference, float(low), float(high), float(p))


def crossed_interval(
    values: np.ndarray,
    minus: np.ndarray | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a mean over users and training seeds.

    A replicate draws U users and, independently, S seeds, both with replacement, and takes the mean
    over all drawn pairs. It therefore accounts for other users *and* other training runs. With few
    seeds the interval is slightly too narrow, because S draws show only (S - 1) / S of the variance
    between seeds.

    Args:
      values: [S, U], one value per seed and user.
      minus: [S', U] of another system on the same users. The interval is then that of the
        difference of the means; a replicate draws the same users for both systems, and seeds for
        each system.
      level: confidence level, between 0 and 1.
      resamples: R.
      seed: seed of the resamples; the same seed gives the same interval.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: a table is not a matrix of finite numbers, or the numbers of users differ.

    Example:
      >>> import numpy as np
      >>> values = np.random.default_rng(0).normal(5.0, 1.0, (3, 100))
      >>> interval = crossed_interval(values)
      >>> interval.low < 5.0 < interval.high
      True
    """
    mean, replicates = _crossed(values, minus, level, resamples, seed)
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def crossed_test(
    a: np.ndarray,
    b: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedTest:
    """Test whether system `a` differs from system `b` over users and training seeds.

    The test is that of `paired_bootstrap` with the replicates of `crossed_interval`, so a
    difference that other seeds would not reproduce counts for less.

    Args:
      a: [S, U], one value per seed and user.
      b: [S', U], the same users in the same order.
      level: confidence level of the interval.
      resamples: R; p cannot be below 1 / (1 + R).
      seed: seed of the resamples.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: a table is not a matrix of finite numbers, or the numbers of users differ.

    Example:
      >>> import numpy as np
      >>> b = np.random.default_rng(0).random((2, 200))
      >>> test = crossed_test(b + 1.0, b, resamples=99)
      >>> round(test.difference, 3), test.p
      (1.0, 0.01)
    """
    difference, replicates = _crossed(a, b, level, resamples, seed)
    largest = float(max(np.abs(a).max(), np.abs(b).max()))
    return _tested(difference, replicates, largest, level)


def _crossed(
    values: np.ndarray, minus: np.ndarray | None, level: float, resamples: int, seed: int
) -> tuple[float, np.ndarray]:
    """The mean and its replicates `[R]` over users and seeds: see `crossed_interval`."""
    tables = [np.asarray(table, np.float64) for table in (values, minus) if table is not None]
    for table in tables:
        if table.ndim != 2 or table.shape[1:] != tables[0].shape[1:]:
            shapes = " and ".join(str(table.shape) for table in tables)
            raise DataError(
                f"values must have shape [seeds, users] with the same users, got {shapes}"
            )
        _checked(table.ravel(), "values", level, resamples)
    rng = np.random.default_rng(seed)
    users = tables[0].shape[1]
    # Share of each user in a resample: [R, U]
    drawn = rng.multinomial(users, np.full(users, 1 / users), resamples) / users
    replicates, mean = np.zeros(resamples), 0.0
    for sign, table in zip((1, -1), tables, strict=False):
        # [R, U] x [S, U] -> [R, S]
        by_seed = np.einsum("ru,su->rs", drawn, table, optimize=True)
        chosen = rng.integers(0, len(table), by_seed.shape)
        replicates += sign * np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1)
        mean += sign * float(table.mean())
    return mean, replicates


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, float64 [M] in the given order.

    With p(1) <= ... <= p(M): adjusted p(i) = max over j <= i of min(1, (M - j + 1) p(j)). Rejecting
    every hypothesis whose adjusted p-value is at most α keeps the probability of any false
    rejection at most α.

    Raises:
      DataError: a value is not in [0, 1].

    Example:
      >>> holm([0.01, 0.04, 0.03]).tolist()
      [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise DataError(f"p-values must be a list of numbers in [0, 1], got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def _checked(values: np.ndarray, name: str, level: float, resamples: int) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, got {level}")
    if resamples < 1:
        raise ConfigError(f"resamples must be at least 1, got {resamples}")
    if values.ndim != 1 or not len(values):
        raise DataError(
            f"{name} must hold one number per user, and at least one; got shape {values.shape}"
        )
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise DataError(f"{name} holds {values[row]} at user row {row}; expected a finite number")
    return values


def _resampled_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of U users drawn with replacement, `resamples` times: float64 [R]."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(values))
    means = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        means.append(values[rng.integers(0, len(values), (rows, len(values)))].mean(axis=1))
    return np.concatenate(means)
