"""Which tokens T5's span corruption removes, and how long its examples are (arXiv:1910.10683).

A text of n tokens loses a share r of them in spans of mean length mu. The spans are the parts of a
uniformly random segmentation, and they alternate with the parts that stay:

    kept  noise  kept    noise
    a b   [c d]  e f g   [h]       n = 8, r = 0.375, two spans

So the first token always stays and the last one never does, unless the mask is rolled.
"""

from typing import NamedTuple

import numpy as np

from jaxrec.core import ConfigError


class SpanCounts(NamedTuple):
    """How many tokens are removed from a text, and in how many spans."""

    noise: int
    spans: int


class SpanLengths(NamedTuple):
    """Lengths of a corrupted example: of the text, and of inputs and targets with their ends."""

    raw: int
    inputs: int
    targets: int


def span_counts(length: int, rate: float, mean: float) -> SpanCounts:
    """Count the removed tokens and the spans of a text, rounding halves to even as T5 does.

    Args:
      length: n, number of tokens; at least 2.
      rate: r, share of removed tokens.
      mean: mu, mean length of a span.

    Raises:
      ConfigError: a text of fewer than 2 tokens, from which nothing can be removed and kept.

    Example:
      >>> span_counts(568, 0.15, 3.0)
      SpanCounts(noise=85, spans=28)
    """
    if length < 2:
        raise ConfigError(f"span corruption needs texts of at least 2 tokens, got {length}")
    noise = min(max(round(length * rate), 1), length - 1)
    # Every span is followed or preceded by a token that stays.
    spans = min(max(round(noise / mean), 1), noise, length - noise)
    return SpanCounts(noise, spans)


def span_lengths(length: int, rate: float, mean: float, roll: bool = False) -> SpanLengths:
    """Return the largest lengths of inputs and targets that a text of `length` tokens gives.

    A rolled mask may cut a part in two, which adds one sentinel to inputs or targets.

    Args:
      length: n, number of tokens.
      rate: share of removed tokens.
      mean: mean length of a span.
      roll: whether the mask is rolled.

    Example:
      >>> span_lengths(568, 0.15, 3.0)
      SpanLengths(raw=568, inputs=512, targets=114)
    """
    noise, spans = span_counts(length, rate, mean)
    ends = spans + 1 + int(roll)
    return SpanLengths(length, length - noise + ends, noise + ends)


def fit_spans(inputs: int, rate: float, mean: float, roll: bool = False) -> SpanLengths:
    """Return the longest text whose inputs fit, as T5's `random_spans_helper` finds it.

    Args:
      inputs: L, largest length of the inputs with their end.
      rate: share of removed tokens.
      mean: mean length of a span.
      roll: whether the mask is rolled.

    Raises:
      ConfigError: not even two tokens fit.

    Example:
      >>> fit_spans(512, 0.5, 3.0)
      SpanLengths(raw=766, inputs=512, targets=512)
    """
    if inputs < span_lengths(2, rate, mean, roll).inputs:
        raise ConfigError(
            f"inputs of {inputs} tokens cannot hold a corrupted text of 2 tokens; raise the length"
        )
    length = 2
    while span_lengths(length + 1, rate, mean, roll).inputs <= inputs:
        length += 1
    found = span_lengths(length, rate, mean, roll)
    if rate == 0.5 and found.targets > found.inputs:
        found = span_lengths(length - 1, rate, mean, roll)
    return found


def random_segments(items: int, segments: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a number of items into positive parts; all ways to do so are equally likely.

    Args:
      items: number of items, at least `segments`.
      segments: number of parts.
      rng: random generator.

    Returns:
      `[segments]` int64, lengths of the parts.

    Example:
      >>> random_segments(5, 5, np.random.default_rng(0)).tolist()
      [1, 1, 1, 1, 1]
    """
    cuts = np.sort(rng.choice(items - 1, segments - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=items)


def span_mask(
    length: int, rate: float, mean: float, rng: np.random.Generator, roll: bool = False
) -> np.ndarray:
    """Draw which tokens of a text are removed: `[length]` bool.

    Args:
      length: n, number of tokens.
      rate: share of removed tokens.
      mean: mean length of a span.
      rng: random generator.
      roll: roll the mask by a random number of places, so that every token is as likely removed as
        every other (UL2R).

    Example:
      >>> mask = span_mask(20, 0.15, 3.0, np.random.default_rng(0))
      >>> int(mask.sum()), bool(mask[0]), bool(mask[-1])
      (3, False, True)
    """
    noise, spans = span_counts(length, rate, mean)
    removed = random_segments(noise, spans, rng)
    kept = random_segments(length - noise, spans, rng)
    mask = np.repeat(np.tile([False, True], spans), np.stack([kept, removed], axis=1).ravel())
    return np.roll(mask, rng.integers(length)) if roll else mask
