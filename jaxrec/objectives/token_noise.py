"""BART's noise (Lewis et al. 2020, arXiv:1910.13461): the model writes the whole text again.

    text      a b c d e f
    masking   a _ c d _ f       single tokens become the mask
    deletion  a c d f           single tokens are gone, and the model has to find where
    infilling a _ e _ f         a span becomes one mask

Lengths of spans are drawn from a Poisson distribution. A span of length 0 inserts a mask where
nothing is missing.
"""

import numpy as np


def noise_count(length: int, rate: float) -> int:
    """Return the number of tokens that noise changes: a share, rounded, at least 1.

    Example:
      >>> noise_count(20, 0.15), noise_count(2, 0.15)
      (3, 1)
    """
    return min(max(round(length * rate), 1), length)


def mask_tokens(tokens: np.ndarray, rate: float, mask: int, rng: np.random.Generator) -> np.ndarray:
    """Replace a share of the tokens by the mask.

    Args:
      tokens: `[n]` int32.
      rate: share of masked tokens.
      mask: number of the mask token.
      rng: random generator.

    Returns:
      `[n]` int32.

    Example:
      >>> mask_tokens(np.arange(10, 20), 0.3, 0, np.random.default_rng(0)).tolist().count(0)
      3
    """
    chosen = rng.choice(len(tokens), noise_count(len(tokens), rate), replace=False)
    masked = np.array(tokens, np.int32)
    masked[chosen] = mask
    return masked


def delete_tokens(tokens: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Delete a share of the tokens.

    Args:
      tokens: `[n]` int32.
      rate: share of deleted tokens.
      rng: random generator.

    Returns:
      int32, the tokens that stay, in their order.

    Example:
      >>> len(delete_tokens(np.arange(10), 0.3, np.random.default_rng(0)))
      7
    """
    kept = np.ones(len(tokens), bool)
    kept[rng.choice(len(tokens), noise_count(len(tokens), rate), replace=False)] = False
    return np.asarray(tokens, np.int32)[kept]


def infill_tokens(
    tokens: np.ndarray, rate: float, mean: float, mask: int, rng: np.random.Generator
) -> np.ndarray:
    """Replace spans by one mask each; spans of length 0 insert a mask.

    Lengths are drawn from Poisson(mean) until they add up to the share of the text, and the last
    one is cut. Where the spans lie is uniform over all ways to place them without overlap.

    Args:
      tokens: `[n]` int32.
      rate: share of removed tokens.
      mean: mean length of a span.
      mask: number of the mask token.
      rng: random generator.

    Returns:
      int32, at most n tokens plus one for each inserted mask.

    Example:
      >>> infill_tokens(np.arange(1, 5), 1.0, 50.0, 0, np.random.default_rng(0)).tolist()
      [0]
    """
    lengths = poisson_spans(noise_count(len(tokens), rate), mean, rng)
    spans, inserted = lengths[lengths > 0], int((lengths == 0).sum())
    kept = len(tokens) - int(spans.sum())
    # Spans are markers among the tokens that stay.
    at = np.sort(rng.choice(kept + len(spans), len(spans), replace=False))
    sizes = np.ones(kept + len(spans), np.int64)
    sizes[at] = spans
    first = np.cumsum(sizes) - sizes
    result = np.asarray(tokens, np.int32)[first]
    result[at] = mask
    return np.insert(result, rng.integers(0, len(result) + 1, inserted), np.int32(mask))


def poisson_spans(budget: int, mean: float, rng: np.random.Generator) -> np.ndarray:
    """Draw lengths of spans that add up to `budget`: int64, with zeros among them.

    Args:
      budget: number of tokens to remove.
      mean: mean length of a span.
      rng: random generator.

    Example:
      >>> int(poisson_spans(30, 3.0, np.random.default_rng(0)).sum())
      30
    """
    lengths = np.zeros(0, np.int64)
    while lengths.sum() < budget:
        lengths = np.append(lengths, rng.poisson(mean, 1 + int(budget / mean)))
    ends = np.cumsum(lengths)
    count = int(np.searchsorted(ends, budget)) + 1
    lengths = lengths[:count]
    lengths[-1] -= ends[count - 1] - budget
    return lengths
