"""Rating prediction: root mean squared and mean absolute error, and ratings parsed from texts.

A text that holds no rating counts with a declared default, and is never left out: otherwise a
system that skips what it cannot answer would look better than one that guesses.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrec.core import DataError

_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*(?:stars?)?\s*\.?\s*", re.ASCII)


class ParsedRatings(NamedTuple):
    """Ratings parsed from texts.

    Attributes:
      values: [n] float64, the default where the text holds no rating.
      parsed: [n] bool, whether the text holds a rating.
    """

    values: np.ndarray
    parsed: np.ndarray


def parse_ratings(
    texts: Sequence[str], default: float, low: float = 1.0, high: float = 5.0
) -> ParsedRatings:
    """Parse a rating from each text: a number alone, or followed by "stars".

    Args:
      texts: n answers.
      default: the value of a text that is not a number or lies outside the scale, for instance the
        mean training rating.
      low: lowest rating of the scale.
      high: highest rating of the scale; it belongs to the scale.

    Example:
      >>> parsed = parse_ratings(["4 stars", "no idea"], default=3.5)
      >>> parsed.values.tolist(), parsed.parsed.tolist()
      ([4.0, 3.5], [True, False])
    """
    values = np.full(len(texts), np.nan)
    for place, text in enumerate(texts):
        match = _NUMBER.fullmatch(text)
        if match and low <= float(match[1]) <= high:
            values[place] = float(match[1])
    parsed = ~np.isnan(values)
    return ParsedRatings(np.where(parsed, values, default), parsed)


def rating_errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """{"rmse", "mae"} over all pairs of two arrays [n].

    Raises:
      DataError: there are no pairs, the shapes differ, or a value is not finite.

    Example:
      >>> import numpy as np
      >>> rating_errors(np.array([4.0, 2.0]), np.array([5.0, 2.0]))["mae"]
      0.5
    """
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape or not len(truth):
        raise DataError(
            f"predicted ratings of shape {predicted.shape} for true ones of shape {truth.shape}; "
            "expected the same shape and at least one rating"
        )
    error = predicted - truth
    if not np.isfinite(error).all():
        raise DataError(
            f"{(~np.isfinite(error)).sum()} rating errors are not finite; expected finite "
            "predicted and true ratings"
        )
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
