"""Perplexity and bits per byte of texts, from the log-probabilities of a language model."""

import math

import numpy as np
from numpy.typing import ArrayLike

from jaxrec.core import DataError


def perplexity(logprobs: ArrayLike, units: ArrayLike) -> float:
    """exp(-Σ log p / Σ units).

    The sums run over all texts, so a text counts as often as it has units; a mean of the texts'
    perplexities would be another figure.

    Args:
      logprobs: log-probability of each text in nats, `[N]` or one number.
      units: number of tokens, words or bytes of each text, of the same shape.

    Returns:
      The perplexity; infinity where it exceeds the largest float64.

    Raises:
      DataError: other shapes, no units, or a log-probability that is no number.

    Example:
      >>> round(perplexity([-2 * np.log(10), -4 * np.log(10)], [2, 4]), 6)
      10.0
    """
    nats = _nats(logprobs, units)
    return math.exp(nats) if nats < math.log(np.finfo(np.float64).max) else math.inf


def bits_per_byte(logprobs: ArrayLike, sizes: ArrayLike) -> float:
    """-Σ log2 p / Σ bytes: the size of the compressed texts divided by that of the texts.

    Args:
      logprobs: log-probability of each text in nats, `[N]` or one number.
      sizes: number of UTF-8 bytes of each text, of the same shape.

    Raises:
      DataError: other shapes, no bytes, or a log-probability that is no number.

    Example:
      >>> bits_per_byte(-8 * np.log(2), 4)
      2.0
    """
    return _nats(logprobs, sizes) / math.log(2)


def _nats(logprobs: ArrayLike, units: ArrayLike) -> float:
    """-Σ log p / Σ units."""
    values = np.atleast_1d(np.asarray(logprobs, np.float64))
    sizes = np.atleast_1d(np.asarray(units, np.float64))
    if values.shape != sizes.shape or values.ndim != 1:
        raise DataError(
            f"{values.shape} log-probabilities need as many numbers of units, got {sizes.shape}"
        )
    if np.isnan(values).any():
        raise DataError("a log-probability is nan; the model's logits are not finite")
    total = math.fsum(sizes)
    if not total > 0 or (sizes < 0).any():
        raise DataError(f"the texts must have units, got {total:g} in all; leave out empty texts")
    return -math.fsum(values) / total
