"""Measures of a reward model on pairs of answers: accuracy, AUC and calibration.

Shapes: `N` ordered pairs, each a better and a worse answer.
"""

from typing import NamedTuple

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.eval.clicks import pooled_auc


class CalibrationBin(NamedTuple):
    """Pairs whose rewards differ about equally, and how often their order is right.

    Attributes:
      low: least |r⁺ - r⁻| of the bin.
      high: largest.
      pairs: number of pairs.
      confidence: mean of σ(|r⁺ - r⁻|), the accuracy that the model expects.
      accuracy: share of the pairs whose better answer has the higher reward.
    """

    low: float
    high: float
    pairs: int
    confidence: float
    accuracy: float


def pair_hits(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """Return 1 for each pair whose better answer has the higher reward, and 0.5 for a tie: `[N]`.

    Args:
      better: `[N]` rewards of the better answers.
      worse: `[N]` rewards of the worse ones.

    Raises:
      DataError: no pairs, different numbers, or rewards that are not finite.

    Example:
      >>> pair_hits(np.array([2.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0])).tolist()
      [1.0, 0.5, 0.0]
    """
    better, worse = np.asarray(better, np.float64), np.asarray(worse, np.float64)
    if better.ndim != 1 or better.shape != worse.shape or not better.size:
        raise DataError(
            f"rewards of pairs must be two arrays [N] of at least one pair, got "
            f"{list(better.shape)} and {list(worse.shape)}"
        )
    bad = ~(np.isfinite(better) & np.isfinite(worse))
    if bad.any():
        raise DataError(
            f"{bad.sum()} of {len(bad)} pairs have rewards that are not finite, the first at "
            f"{int(np.argmax(bad))}; train again with a lower learning rate"
        )
    return (np.sign(better - worse) + 1) / 2


def pair_auc(better: np.ndarray, worse: np.ndarray) -> float:
    """Probability that any better answer has a higher reward than any worse one, of all prompts.

    Unlike the accuracy, it compares answers to different prompts.

    Args:
      better: `[N]` rewards of the better answers.
      worse: `[N]` rewards of the worse ones.

    Raises:
      DataError: see `pair_hits`.

    Example:
      >>> pair_auc(np.array([2.0, 1.0]), np.array([1.5, 0.0]))
      0.75
    """
    pair_hits(better, worse)
    labels = np.repeat([1, 0], [len(better), len(worse)])
    return pooled_auc(labels, np.concatenate([better, worse]))


def pair_calibration(better: np.ndarray, worse: np.ndarray, bins: int = 5) -> list[CalibrationBin]:
    """Sort pairs by |r⁺ - r⁻| into bins of about the same size, and measure each.

    A calibrated model of Bradley and Terry is right with probability σ(|r⁺ - r⁻|).

    Args:
      better: `[N]` rewards of the better answers.
      worse: `[N]` rewards of the worse ones.
      bins: number of bins; fewer if there are fewer pairs.

    Raises:
      ConfigError: no bins.
      DataError: see `pair_hits`.

    Example:
      >>> low, high = pair_calibration(np.array([1.0, 0, 9, 9]), np.array([0.0, 1, 0, 0]), bins=2)
      >>> low.accuracy, high.accuracy
      (0.5, 1.0)
    """
    if bins < 1:
        raise ConfigError(f"bins must be at least 1, got {bins}")
    hits = pair_hits(better, worse)
    gaps = np.abs(np.asarray(better, np.float64) - np.asarray(worse, np.float64))
    order = np.argsort(gaps, kind="stable")
    confidence = 1 / (1 + np.exp(-gaps))
    return [
        CalibrationBin(
            low=float(gaps[part[0]]),
            high=float(gaps[part[-1]]),
            pairs=len(part),
            confidence=float(confidence[part].mean()),
            accuracy=float(hits[part].mean()),
        )
        for part in np.array_split(order, min(bins, len(order)))
    ]


def calibration_error(bins: list[CalibrationBin]) -> float:
    """Mean over pairs of |accuracy - confidence| of their bin (Guo et al. 2017, equation 3).

    Example:
      >>> calibration_error([CalibrationBin(0.0, 1.0, 10, 0.6, 0.5)])
      0.09999999999999998
    """
    total = sum(part.pairs for part in bins)
    return sum(part.pairs * abs(part.accuracy - part.confidence) for part in bins) / total
