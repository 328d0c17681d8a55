"""A list of items by sampling: draw IDs from the model, drop invalid ones, merge repeated ones.

As published for GPTRec (Petrov and Macdonald 2023, arXiv:2306.11114, section 4.2): fifty draws from
the fifty best tokens and 0.95 of the probability at each level, without any knowledge of which IDs
exist. A search (`beam_search`) finds the best items for certain; a list by sampling may be short.

Shapes: `B` users, `D` draws, `K` places of the list, `E` excluded items.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.core import Count, PositiveShare, Seed, check_ranges
from jaxrec.decode.beam import beam_search
from jaxrec.decode.kv_cache import LanguageModel
from jaxrec.decode.level import pick
from jaxrec.decode.options import Catalogue, Request, SearchOptions
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.search import Recommendations
from jaxrec.decode.strategies import Strategy
from jaxrec.kernels import flat_top_k

Merge = Literal["logprob", "probability"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draws:
    """How items are drawn.

    Attributes:
      count: D, draws for each user.
      top_k: number of codes of a level that are drawn from.
      top_p: share of their probability that is drawn from.
      merge: what is summed over the draws of one item. "logprob", as published, sums
        log-probabilities, and so ranks an item lower the more often it was drawn. "probability"
        sums probabilities.
      seed: seed of the draws of a `Recommender`.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> Draws(count=20).strategy.top_k
      50
    """

    count: Count = 50
    top_k: Count = 50
    top_p: PositiveShare = 0.95
    merge: Merge = "logprob"
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self, "--decode.draws.")
        _ = self.strategy

    @property
    def strategy(self) -> Strategy:
        """The strategy of a search that draws so."""
        return Strategy(kind="sample", top_k=self.top_k, top_p=self.top_p, free=True)


@functools.partial(jax.jit, static_argnames=("model", "places", "draws"))
def sample_items(
    model: LanguageModel,
    params: Any,
    catalogue: Catalogue,
    prompts: Prompts,
    request: Request,
    *,
    places: int,
    draws: Draws = Draws(),
) -> Recommendations:
    """Draw items after each history.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the history (static).
      params: its parameters.
      catalogue: which IDs are items.
      prompts: `[B, S]` histories as tokens.
      request: a random key, and which items each user may get; other items are dropped after they
        were drawn.
      places: K, length of the list (static).
      draws: how items are drawn (static).

    Returns:
      `Recommendations` of `[B, K]`, no item twice; fewer than K where the draws gave fewer.

    Raises:
      ConfigError: the request has no key.

    Cost a user: D paths of L levels, and D^2 + D E comparisons.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> def recommend(params, key):
      ...     given = (case.model, params, case.catalogue, case.prompts)
      ...     return sample_items(*given, Request(key=key), places=4)
      >>> jax.eval_shape(recommend, case.params, jax.random.key(0)).items.shape
      (3, 4)
    """
    request.check(catalogue.index.num_items, prompts.tokens.shape[0])
    options = SearchOptions(beams=draws.count, strategy=draws.strategy)
    drawn = beam_search(model, params, catalogue, prompts, options, Request(key=request.key))
    return merge(drawn, request, places, draws.merge)


def merge(drawn: Recommendations, request: Request, places: int, how: Merge) -> Recommendations:
    """Return the best `[B, K]` different items of `[B, D]` draws that the request allows.

    Args:
      drawn: items of the draws, -1 for no item; all draws of one item have the same score.
      request: which items each user may get.
      places: K.
      how: see `Draws.merge`; the scores are sums of log-probabilities, or logarithms of sums.
    """
    items = drawn.items
    same = items[:, :, None] == items[:, None, :]
    earlier = jnp.tril(jnp.ones(same.shape[1:], bool), -1)[None]
    kept = (items >= 0) & ~jnp.any(same & earlier, axis=2)
    if request.excluded is not None:
        kept = kept & ~jnp.any(items[:, :, None] == request.excluded[:, None, :], axis=2)
    if request.allowed is not None:
        kept = kept & pick(request.allowed, jnp.maximum(items, 0))
    times = same.sum(axis=2).astype(jnp.float32)
    score = jnp.where(kept, drawn.scores, 0.0)
    score = score * times if how == "logprob" else score + jnp.log(times)
    best, place = flat_top_k(jnp.where(kept, score, -jnp.inf), min(places, items.shape[1]))
    free = ((0, 0), (0, places - best.shape[1]))
    chosen = jnp.where(jnp.isfinite(best), pick(items, place), -1)
    return Recommendations(
        jnp.pad(chosen, free, constant_values=-1), jnp.pad(best, free, constant_values=-jnp.inf)
    )
