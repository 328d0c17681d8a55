"""From logits to tokens: greedy, or sampled at a temperature from the top k or the nucleus.

Shapes: `V` tokens of the vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
      temperature: what the logits are divided by; 0 takes the best token (greedy).
      top_k: draw only from the k best tokens; None for all tokens.
      top_p: draw only from the fewest best tokens that have this probability together (Holtzman et
        al. 2020, section 3.1), after `top_k`; None for all tokens.

    Raises:
      ConfigError: a value out of range, or one that greedy decoding would ignore.

    Example:
      >>> Sampling(temperature=0.8, top_p=0.95).greedy
      False
      >>> GREEDY.greedy
      True
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise ConfigError(
                f"sampling.temperature must be 0 (greedy) or positive, got {self.temperature}"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(
                f"sampling.top_k must be at least 1, or None for all tokens, got {self.top_k}"
            )
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ConfigError(
                f"sampling.top_p must lie in (0, 1], or be None for all tokens, got {self.top_p}"
            )
        if self.greedy and (self.top_k, self.top_p) != (None, None):
            raise ConfigError(
                "sampling.temperature 0 is greedy and ignores "
                f"top_k {self.top_k} and top_p {self.top_p}; drop them or raise the temperature"
            )

    @property
    def greedy(self) -> bool:
        """Whether the best token is taken, which needs no random key."""
        return self.temperature == 0.0


GREEDY = Sampling(temperature=0.0)


def filter_logits(logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Return the logits of the distribution that is drawn from, -inf where a token is left out.

    A token that ties with the last one kept is kept too. The settings apply in the order of Hugging
    Face's warpers of the same names: temperature, top k, top p.

    Args:
      logits: `[..., V]`.
      sampling: temperature above 0, top k and top p.

    Returns:
      `[..., V]` float32.

    Raises:
      ConfigError: the temperature is 0: greedy decoding draws from no distribution.

    Cost: O(V) a row; `top_k` needs a selection of k, and `top_p` without it a sort of V.

    Example:
      >>> filter_logits(jnp.array([1.0, 3.0, 2.0]), Sampling(top_k=2)).tolist()
      [-inf, 3.0, 2.0]
    """
    if sampling.greedy:
        raise ConfigError("sampling.temperature is 0: greedy decoding has no logits to filter")
    logits = logits.astype(jnp.float32) / sampling.temperature
    size = logits.shape[-1]
    best = None
    if sampling.top_k is not None and sampling.top_k < size:
        best = jax.lax.top_k(logits, sampling.top_k)[0]
        logits = jnp.where(logits >= best[..., -1:], logits, -jnp.inf)
    if sampling.top_p is not None and sampling.top_p < 1.0:
        if best is None:
            best = -jnp.sort(-logits, axis=-1)
        # The normalizer counts all ties of the k-th token; `best` holds only some of them.
        share = jnp.exp(best - jax.nn.logsumexp(logits, axis=-1, keepdims=True))
        before = jnp.cumsum(share, axis=-1) - share
        # Keep at least the best token: rounding in float32 must not empty the nucleus.
        kept = jnp.maximum(jnp.sum(before < sampling.top_p, axis=-1, keepdims=True), 1)
        least = jnp.take_along_axis(best, kept - 1, axis=-1)
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    return logits


def sample(key: jax.Array | None, logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Draw one token for each row.

    Args:
      key: typed random key for all rows, or `[B]` keys, one for each row of logits `[B, V]`; None
        when greedy.
      logits: `[..., V]`.
      sampling: how tokens are drawn.

    Returns:
      `[...]` int32.

    Raises:
      ConfigError: sampling without a key, or with an untyped one.

    Example:
      >>> sample(None, jnp.array([[1.0, 3.0, 2.0]]), GREEDY).tolist()
      [1]
    """
    check_key(key, sampling)
    if sampling.greedy or key is None:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    logits = filter_logits(logits, sampling)
    draw = jax.vmap(jax.random.categorical) if key.ndim else jax.random.categorical
    return draw(key, logits).astype(jnp.int32)


def check_key(key: jax.Array | None, sampling: Sampling) -> None:
    """Check that sampling has a typed random key; greedy decoding needs none.

    Raises:
      ConfigError: the key is missing or untyped.
    """
    if sampling.greedy:
        return
    if key is None:
        raise ConfigError(
            f"sampling at temperature {sampling.temperature} needs a random key: jax.random.key(0)"
        )
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ConfigError(
            f"the random key must be a typed one of jax.random.key, got an array of {key.dtype}"
        )
