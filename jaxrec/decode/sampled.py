"""A list of items by sampling: draw IDs from the model, drop what is no item, merge what repeats.

As published for GPTRec (Petrov and Macdonald 2023, arXiv:2306.11114, section 4.2): fifty draws from
the fifty best tokens and .95 of the probability at each level, with no knowledge of which IDs
exist. A search (`beam_search`) finds the best items for certain; here a list may be short.

Shapes: `B` users, `D` draws, `K` places of the list, `E` excluded items.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.beam import beam_search
from jaxrec.decode.kv_cache import LanguageModel
from jaxrec.decode.levels import Recommendations
from jaxrec.decode.search import pick
from jaxrec.decode.strategies import Strategy
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.kernels import flat_top_k

Merge = Literal["logprob", "probability"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draws:
    """How items are drawn.

    Attributes:
      count: D, draws a user.
      top_k: codes of a level that are drawn from.
      top_p: share of their probability that is drawn from.
      merge: what is added up over draws of one item: "logprob", as published, which ranks an item
        lower the more often it was drawn, or "probability".
      seed: of the draws.

    Raises:
      ConfigError: a value out of range.
    """

    count: int = 50
    top_k: int = 50
    top_p: float = 0.95
    merge: Merge = "logprob"
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject draws of nothing."""
        if self.count < 1:
            raise ConfigError(f"draws.count must be at least 1, got {self.count}")
        _ = self.strategy

    @property
    def strategy(self) -> Strategy:
        """How a search takes its paths."""
        return Strategy(kind="sample", top_k=self.top_k, top_p=self.top_p, free=True)


@functools.partial(jax.jit, static_argnames=("model", "vocabulary", "places", "draws"))
def sample_items(
    model: LanguageModel,
    params: Any,
    index: ItemIndex,
    tokens: jax.Array,
    excluded: jax.Array | None = None,
    *,
    key: jax.Array,
    vocabulary: IdVocabulary,
    places: int,
    draws: Draws = Draws(),
    prefix: jax.Array | None = None,
) -> Recommendations:
    """Draw items after each history.

    Args:
      model: as of `beam_search` (static).
      params: its parameters.
      index: all valid IDs.
      tokens: `[B, S]` int32 histories, as of `beam_search`.
      excluded: `[B, E]` int32 items to drop once they were drawn, padded with -1; None for none.
      key: typed random key.
      vocabulary: token numbers of the codes (static).
      places: K, length of the list (static).
      draws: how (static).
      prefix: as of `beam_search`.

    Returns:
      `Recommendations` of `[B, K]`, different items, fewer where the draws gave fewer.

    Cost a user: D paths of L levels, D^2 + D E compares.
    """
    found = beam_search(
        model,
        params,
        index,
        tokens,
        vocabulary=vocabulary,
        beams=draws.count,
        strategy=draws.strategy,
        key=key,
        prefix=prefix,
    )
    return merge(found, excluded, places, draws.merge)


def merge(
    found: Recommendations, excluded: jax.Array | None, places: int, how: Merge
) -> Recommendations:
    """The different items of `[B, D]` draws, without excluded ones: the best `[B, K]`.

    Args:
      found: draws, -1 for no item; those of one item have one score.
      excluded: `[B, E]` int32; None for none.
      places: K.
      how: see `Draws.merge`. Scores are sums of log-probabilities, or logarithms of sums.
    """
    items = found.items
    same = items[:, :, None] == items[:, None, :]
    earlier = jnp.tril(jnp.ones(same.shape[1:], bool), -1)[None]
    kept = (items >= 0) & ~jnp.any(same & earlier, axis=2)
    if excluded is not None:
        kept = kept & ~jnp.any(items[:, :, None] == excluded[:, None, :], axis=2)
    times = same.sum(axis=2).astype(jnp.float32)
    score = jnp.where(kept, found.scores, 0.0)
    score = score * times if how == "logprob" else score + jnp.log(times)
    best, place = flat_top_k(jnp.where(kept, score, -jnp.inf), min(places, items.shape[1]))
    free = ((0, 0), (0, places - best.shape[1]))
    chosen = jnp.where(jnp.isfinite(best), pick(items, place), -1)
    return Recommendations(
        jnp.pad(chosen, free, constant_values=-1), jnp.pad(best, free, constant_values=-jnp.inf)
    )
