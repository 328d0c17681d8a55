"""Rating prediction: root mean squared and mean absolute error, and ratings read out of texts.

A text that holds no rating counts with a declared default, never not at all: a system that leaves
out what it cannot answer would look better than one that guesses.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrec.core import DataError

_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*(?:stars?)?\s*\.?\s*", re.ASCII)


class ParsedRatings(NamedTuple):
    """Ratings read out of texts.

    Attributes:
      values: [n] float64, the default where there was none.
      parsed: [n] bool, where there was one.
    """

    values: np.ndarray
    parsed: np.ndarray


def parse_ratings(
    texts: Sequence[str], default: float, low: float = 1.0, high: float = 5.0
) -> ParsedRatings:
    """Read a rating out of each text: a number alone, or with "stars" behind it.

    Args:
      texts: n answers.
      default: what counts where a text is no number, or one outside the scale; such as the mean
        rating of the training.
      low: least of the scale.
      high: greatest of the scale, which counts like any other.
    """
    found = np.full(len(texts), np.nan)
    for place, text in enumerate(texts):
        match = _NUMBER.fullmatch(text)
        if match and low <= float(match[1]) <= high:
            found[place] = float(match[1])
    parsed = ~np.isnan(found)
    return ParsedRatings(np.where(parsed, found, default), parsed)


def rating_errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """{"rmse", "mae"} over all pairs: two arrays [n].

    Raises:
      DataError: no pairs, arrays of other lengths, or values that are no numbers.
    """
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape or not len(truth):
        raise DataError(f"{predicted.shape} predicted ratings for {truth.shape} true ones")
    error = predicted - truth
    if not np.isfinite(error).all():
        raise DataError(f"{(~np.isfinite(error)).sum()} rating errors are no numbers")
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
