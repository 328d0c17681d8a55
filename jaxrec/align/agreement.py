"""Measures of agreement.

Percent agreement, Cohen's kappa (1960) and Kendall's tau-b compare two labelers; Krippendorff's
alpha compares any number of them, who may each have left out some units (Krippendorff 2011,
Computing Krippendorff's Alpha-Reliability).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.core import ConfigError, DataError

Level = Literal["nominal", "ordinal", "interval"]


def percent_agreement(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Return the share of the units that two labelers label alike.

    Raises:
      DataError: no units, or different numbers of them.

    Example:
      >>> percent_agreement([1, 2, 2, 1], [1, 2, 1, 1])
      0.75
    """
    _check_units(a, b)
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


def cohen_kappa(a: Sequence[Any], b: Sequence[Any]) -> float:
    """(p_o - p_e) / (1 - p_e): observed agreement p_o beyond that of chance, p_e.

    Args:
      a: labels of one labeler.
      b: labels of the other, for the same units.

    Returns:
      1 for labelers who agree on everything; NaN if both use one and the same label alone, where
      chance explains everything.

    Raises:
      DataError: no units, or different numbers of them.

    Example:
      >>> cohen_kappa([1, 2, 2, 1], [1, 2, 1, 1])
      0.5
    """
    _check_units(a, b)
    labels = {label: number for number, label in enumerate(dict.fromkeys([*a, *b]))}
    x, y = (np.bincount([labels[v] for v in side], minlength=len(labels)) for side in (a, b))
    observed = percent_agreement(a, b)
    chance = float(x @ y) / len(a) ** 2
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings, which allows ties; NaN if one ranks all units alike.

    Raises:
      DataError: no units, different numbers of them, or NaN.

    Example:
      >>> round(kendall_tau([1, 2, 3], [1, 3, 2]), 3)
      0.333
    """
    from scipy.stats import kendalltau

    _check_units(a, b)
    ranks = np.array([a, b], np.float64)
    if np.isnan(ranks).any():
        raise DataError("a ranking holds NaN; leave the unit out")
    if (ranks == ranks[:, :1]).all(axis=1).any():
        return float("nan")
    return float(kendalltau(*ranks).statistic)


def _check_units(a: Sequence[Any], b: Sequence[Any]) -> None:
    if not len(a) or len(a) != len(b):
        raise DataError(
            f"two labelers are compared on the same units, got {len(a)} and {len(b)} of them"
        )


def krippendorff_alpha(ratings: Any, level: Level = "nominal") -> float:
    """α = 1 - D_o / D_e: observed over expected disagreement of any number of labelers.

    With o_ck the coincidences of the values c and k, n_c = Σ_k o_ck and n = Σ_c n_c::

        α = 1 - (n - 1) Σ_ck o_ck δ²_ck / Σ_ck n_c n_k δ²_ck

    δ²_ck is 1 for c ≠ k if nominal, (Σ_{g=c..k} n_g - (n_c + n_k) / 2)² if ordinal, and (c - k)² if
    interval. A unit counts if at least two labelers rated it.

    Args:
      ratings: `[labelers, units]` numbers; NaN for a missing rating.
      level: of the values.

    Raises:
      ConfigError: an unknown level.
      DataError: not a table of numbers, no unit with two ratings, or one and the same value
        everywhere, for which alpha is not defined.

    Example:
      >>> krippendorff_alpha([[1, 2, 3], [1, 2, 3]])
      1.0
    """
    if level not in ("nominal", "ordinal", "interval"):
        raise ConfigError(f"no level {level!r}; levels: nominal, ordinal and interval")
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2 or np.isinf(table).any():
        raise DataError(
            f"ratings must be finite numbers or NaN, [labelers, units]; got shape {table.shape}"
        )
    rated = ~np.isnan(table)
    table = table[:, rated.sum(axis=0) >= 2]
    if not table.size:
        raise DataError("no unit has ratings of two labelers, so there is nothing to agree on")
    values, codes = np.unique(table[~np.isnan(table)], return_inverse=True)
    if len(values) < 2:
        raise DataError(f"all ratings are {values[0]:g}, so agreement beyond chance is not defined")
    there = ~np.isnan(table)
    number = np.zeros(table.shape, int)
    number[there] = codes
    units = there.shape[1]
    # How often each value was given to each unit: [units, values]
    times = np.zeros((units, len(values)))
    np.add.at(times, (np.nonzero(there)[1], number[there]), 1)
    m = times.sum(axis=1)
    # A pair of ratings of a unit with m ratings weighs 1 / (m - 1).
    o = np.einsum("uc,uk,u->ck", times, times, 1 / (m - 1)) - np.diag(
        (times / (m - 1)[:, None]).sum(axis=0)
    )
    n_c = o.sum(axis=1)
    n = n_c.sum()
    delta = _squared_difference(values, n_c, level)
    return float(1 - (n - 1) * (o * delta).sum() / (np.outer(n_c, n_c) * delta).sum())


def _squared_difference(values: np.ndarray, n_c: np.ndarray, level: Level) -> np.ndarray:
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        return (values[:, None] - values[None]) ** 2
    ends = np.cumsum(n_c)
    # The sum from c to k is symmetric: it is taken from the smaller to the larger value.
    low = np.minimum.outer(np.arange(len(values)), np.arange(len(values)))
    high = np.maximum.outer(np.arange(len(values)), np.arange(len(values)))
    between = ends[high] - ends[low] + n_c[low]
    return (between - (n_c[low] + n_c[high]) / 2) ** 2 * (low != high)
