"""Rule rewards: what a response is scored by without a model of preferences.

Shapes: `V` tokens of the vocabulary, `R` tokens of a response.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align import Episodes, Reward, device_reward, token_share
from jaxrec.core import ConfigError
from jaxrec.systems.ppo.config import Rule

_SCALE = 10.0


def make_reward(rule: Rule, tokenizer: Any, vocab_size: int) -> Reward:
    """Make the reward of a rule: 10 for a response of nothing but what it counts.

    Args:
      rule: its name.
      tokenizer: whose single-character tokens are digits.
      vocab_size: V of the model.

    Raises:
      ConfigError: a tokenizer without tokens that are single digits.
    """
    digits = np.zeros((10, vocab_size), bool)
    for token, number in tokenizer.get_vocab().items():
        if token in "0123456789" and number < vocab_size and len(token) == 1:
            digits[int(token), number] = True
    if not digits.any():
        raise ConfigError(
            f"reward {rule} counts digits, and no token of the tokenizer is a single digit; give "
            "a tokenizer with them"
        )
    if rule == "digits":
        return token_share(np.any(digits, axis=0), _SCALE, rule)
    return device_reward(_different, rule, jnp.asarray(digits))


def _different(digits: jax.Array, episodes: Episodes) -> jax.Array:
    """10 times the number of different digits over the length of the response."""
    hits = jnp.take(digits, episodes.responses, axis=1) & episodes.mask[None]  # [10, B, R]
    length = jnp.maximum(episodes.mask.sum(axis=1, dtype=jnp.float32), 1.0)
    return _SCALE * hits.any(axis=2).sum(axis=0, dtype=jnp.float32) / length
