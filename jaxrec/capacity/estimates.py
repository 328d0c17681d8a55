"""From the values of documents to one figure, with its standard error and interval.

Every figure is a function of sums over documents: a mean, a perplexity, which divides two sums, or
a BLEU, which reads the sums of its counts. Resampling documents therefore resamples rows of a
matrix, whatever the figure (percentile bootstrap: Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 13).

Shapes: `N` documents, `K` sums, `R` resamples.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import bits_per_byte, perplexity

# A figure of the sums [K] over a number of documents.
OfSums = Callable[[np.ndarray, int], float]
Better = Literal["higher", "lower", "neither"]

# Largest number of resampled counts in memory.
_CHUNK = 2**22


def mean_of(sums: np.ndarray, count: int) -> float:
    """Mean over documents: the first sum divided by their number.

    Example:
      >>> mean_of(np.array([3.0]), 4)
      0.75
    """
    return float(sums[0]) / count


def ratio_of(sums: np.ndarray, count: int) -> float:
    """The first sum divided by the second; nan where that is 0.

    Example:
      >>> ratio_of(np.array([3.0, 6.0]), 2)
      0.5
    """
    return float(sums[0] / sums[1]) if sums[1] else math.nan


def perplexity_of(sums: np.ndarray, count: int) -> float:
    """Perplexity of the sums of log-probabilities in nats and of tokens, words or bytes.

    Example:
      >>> round(perplexity_of(np.array([-4 * np.log(50), 4.0]), 1))
      50
    """
    return perplexity(sums[0], sums[1])


def bits_of(sums: np.ndarray, count: int) -> float:
    """Bits per byte of the sums of log-probabilities in nats and of bytes.

    Example:
      >>> bits_of(np.array([-8 * np.log(2), 4.0]), 1)
      2.0
    """
    return bits_per_byte(sums[0], sums[1])


@dataclasses.dataclass(frozen=True)
class Metric:
    """How the values of documents become one figure.

    Attributes:
      of: figure of the sums of the documents' values.
      better: whether a model with a higher or a lower figure is better; "neither" for a bias.

    Raises:
      ConfigError: `of` is no function, or `better` is none of the three words.

    Example:
      >>> Metric(perplexity_of, "lower").of(np.array([-2.0, 2.0]), 1) == np.e
      True
    """

    of: OfSums = mean_of
    better: Better = "higher"

    def __post_init__(self) -> None:
        if not callable(self.of):
            raise ConfigError(
                f"the figure of a Metric must be a function of sums and of the number of documents "
                f"such as mean_of, got {self.of!r:.60}; leave it out for a mean, and give the "
                'direction by its name: Metric(better="lower")'
            )
        if self.better not in get_args(Better):
            raise ConfigError(
                f"better must be one of {', '.join(get_args(Better))}, got {self.better!r:.60}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
      value: the figure.
      stderr: its standard error; nan for one document.
      low, high: ends of its 95 % interval.
      count: number of documents.
    """

    value: float
    stderr: float
    low: float
    high: float
    count: int


def estimate(
    metric: Metric, values: Sequence[Any], *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Return the figure of documents' values with its standard error and its 95 % interval.

    The standard error of a mean is s / √N with s the standard deviation that divides by N - 1; that
    of other figures is the standard deviation of the figure over resamples.

    Args:
      metric: what to make of the values.
      values: N numbers, or N rows of K numbers.
      resamples: R, number of bootstrap resamples.
      seed: seed of the resamples.

    Raises:
      ConfigError: `resamples` is below 1.
      DataError: there are no values, or rows of different lengths.

    Example:
      >>> found = estimate(Metric(), [1.0] * 30 + [0.0] * 70)
      >>> found.value, round(found.stderr, 3), round(found.low, 1), round(found.high, 1)
      (0.3, 0.046, 0.2, 0.4)
    """
    if resamples < 1:
        raise ConfigError(f"resamples must be at least 1, got {resamples}")
    rows = _matrix(values)
    count = len(rows)
    value = metric.of(_sums(rows), count)
    replicates = _replicates(metric.of, rows, resamples, seed)
    finite = replicates[np.isfinite(replicates)]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (math.nan, math.nan)
    if count < 2:
        stderr = math.nan
    elif metric.of is mean_of:
        stderr = float(rows[:, 0].std(ddof=1)) / math.sqrt(count)
    else:
        stderr = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
    return Estimate(value=value, stderr=stderr, low=float(low), high=float(high), count=count)


def _matrix(values: Sequence[Any]) -> np.ndarray:
    """The values as [N, K] float64."""
    if not len(values):
        raise DataError("no document has a value of this metric; give the task more documents")
    rows = [np.atleast_1d(np.asarray(value, np.float64)) for value in values]
    if len({row.shape for row in rows}) > 1:
        raise DataError(
            "the values of a metric must have one length, got "
            f"{sorted({len(row) for row in rows})}; return as many numbers for each document"
        )
    return np.stack(rows)


def _sums(rows: np.ndarray) -> np.ndarray:
    """Sums over documents, exact to rounding once."""
    return np.array([math.fsum(column) for column in rows.T])


def _replicates(of: OfSums, rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The figure of each resample [R]; a resample is a number of times for each document."""
    rng = np.random.default_rng(seed)
    count = len(rows)
    even = np.full(count, 1 / count)
    figures: list[float] = []
    while len(figures) < resamples:
        height = min(resamples - len(figures), max(1, _CHUNK // count))
        times = rng.multinomial(count, even, size=height)
        figures += [of(sums, count) for sums in times @ rows]
    return np.array(figures)
