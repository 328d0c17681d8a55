"""How sure a difference is: bootstrap over users, and many comparisons at once.

The percentile bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters
13 (interval) and 16 (test); the correction of Holm, A Simple Sequentially Rejective Multiple Test
Procedure (1979).

Trainings differ by their seed as users do by their taste: `crossed_interval` draws both anew, each
by itself, as every seed meets the same users (the "pigeonhole bootstrap" of Owen, The Pigeonhole
Bootstrap, Annals of Applied Statistics, 2007).

Shapes: `U` users, `R` resamples, `M` comparisons, `S` seeds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrec.core import ConfigError, DataError

# Resampled indices held at once; the draws do not depend on it.
_CHUNK = 2**22


class Interval(NamedTuple):
    """A mean over users and its confidence interval."""

    mean: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """Mean difference of two systems on the same users, its interval, two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of one metric over users.

    With θ* the mean of U users drawn with replacement, R times, the interval is the
    [(1 - level) / 2, (1 + level) / 2] quantiles of θ*.

    Args:
      values: [U], one value a user.
      level: confidence, between 0 and 1.
      resamples: R.
      seed: of the draws; the same seed gives the same interval.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: `values` is empty, not one-dimensional, or holds NaN or infinity.
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

    With d = mean(a - b) and d* its bootstrap replicates, the replicates under "no difference" are
    d* - d, so p = (1 + #{|d* - d| >= |d|}) / (1 + R), never 0. The interval is the percentile one.

    Args:
      a: [U], one value a user.
      b: [U], the same users in the same order.
      level: confidence of the interval.
      resamples: R; p cannot fall below 1 / (1 + R).
      seed: of the draws.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: the systems have different numbers of users, or bad values.
    """
    a = _checked(a, "a", level, resamples)
    b = _checked(b, "b", level, resamples)
    if a.shape != b.shape:
        raise DataError(f"a paired test needs the same users; a has {len(a)}, b has {len(b)}")
    d = a - b
    means = _resampled_means(d, resamples, seed)
    return _tested(float(d.mean()), means, float(np.abs(d).max()), level)


def _tested(difference: float, replicates: np.ndarray, largest: float, level: float) -> PairedTest:
    """The test of a difference by its replicates `[R]`; rounding is to scale with `largest`."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    # Rounding must not make a replicate that equals the difference count as smaller.
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
    over all drawn pairs. So it covers other users *and* other trainings. With few seeds it is a
    little narrow: S draws show (S - 1) / S of the seeds' variance.

    Args:
      values: [S, U], one value a seed and user.
      minus: [S', U] of another system on the same users: the interval is that of the difference of
        the means; a replicate draws the same users for both and each one's own seeds.
      level: confidence, between 0 and 1.
      resamples: R.
      seed: of the draws; the same seed gives the same interval.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: not a matrix of finite numbers, or other users.
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

    As `paired_bootstrap`, with the replicates of `crossed_interval`: a difference that other
    trainings would not show counts for less.

    Args:
      a: [S, U], one value a seed and user.
      b: [S', U], the same users in the same order.
      level: confidence of the interval.
      resamples: R; p cannot fall below 1 / (1 + R).
      seed: of the draws.

    Raises:
      ConfigError, DataError: as of `crossed_interval`.
    """
    difference, replicates = _crossed(a, b, level, resamples, seed)
    largest = float(max(np.abs(a).max(), np.abs(b).max()))
    return _tested(difference, replicates, largest, level)


def _crossed(
    values: np.ndarray, minus: np.ndarray | None, level: float, resamples: int, seed: int
) -> tuple[float, np.ndarray]:
    """The mean, and its replicates `[R]` over users and seeds: see `crossed_interval`."""
    tables = [np.asarray(table, np.float64) for table in (values, minus) if table is not None]
    for table in tables:
        if table.ndim != 2 or table.shape[1:] != tables[0].shape[1:]:
            shapes = " and ".join(str(table.shape) for table in tables)
            raise DataError(f"values must be [seeds, users], the same users in all; got {shapes}")
        _checked(table.ravel(), "values", level, resamples)
    rng = np.random.default_rng(seed)
    users = tables[0].shape[1]
    # How often each user is drawn: [R, U]
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
    """Holm's adjusted p-values, float64 [M] in the order given.

    With p(1) <= ... <= p(M): adjusted p(i) = max over j <= i of min(1, (M - j + 1) p(j)). Rejecting
    where it is at most α keeps the chance of any false rejection at most α.

    Raises:
      DataError: a value is not in [0, 1].
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
        raise DataError(f"{name} must hold one number a user, got shape {values.shape}")
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise DataError(f"{name} holds {values[row]} at user row {row}")
    return values


def _resampled_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of `resamples` draws of U users with replacement, float64 [R]."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(values))
    means = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        means.append(values[rng.integers(0, len(values), (rows, len(values)))].mean(axis=1))
    return np.concatenate(means)
