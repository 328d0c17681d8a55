"""Prefix language modeling: the model reads the beginning of a text and writes the rest.

The prefix is drawn as in T5's `random_prefix_noise_mask`: uniformly, such that the rest is a given
share of the text on average.
"""

import numpy as np

from jaxrec.core import ConfigError


def prefix_length(length: int, rate: float, rng: np.random.Generator) -> int:
    """Draw the number of tokens of the prefix: at least 1 and at most `length` - 1.

    Args:
      length: n, number of tokens; at least 2.
      rate: mean share of the text after the prefix; 0.5 makes all prefixes equally likely.
      rng: random generator.

    Raises:
      ConfigError: a text of fewer than 2 tokens, which has no prefix and rest.

    Example:
      >>> lengths = [prefix_length(9, 0.25, np.random.default_rng(seed)) for seed in range(50)]
      >>> min(lengths), max(lengths)
      (4, 8)
    """
    if length < 2:
        raise ConfigError(f"a prefix and a rest need texts of at least 2 tokens, got {length}")
    low = max(1, round((1 - 2 * rate) * (length - 1)))
    high = min(length - 1, max(1, round(2 * (1 - rate) * (length - 1))))
    return int(rng.integers(low, high + 1))
