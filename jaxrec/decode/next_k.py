"""A list of items, generated one after the other: each item depends on those before it.

The Next-K strategy of GPTRec (Petrov and Macdonald 2023, arXiv:2306.11114, section 4.3). Top-K, in
contrast, scores every item by itself. An item that was recommended is appended to the history and
cannot be recommended again.

    history --search--> item 1 --extend, search--> item 2 --extend, search--> ...

Shapes: `B` users, `S` tokens, `L` levels, `K` places of the list, `E` excluded items.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.beam import search_items
from jaxrec.decode.history import History, ReadOptions, extend_histories, read_histories
from jaxrec.decode.options import ANY_ITEM, Catalogue, Request, SearchOptions
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.search import Recommendations
from jaxrec.models import CausalLM


@functools.partial(jax.jit, static_argnames=("model", "options", "places"))
def next_items(
    model: CausalLM,
    params: Any,
    catalogue: Catalogue,
    prompts: Prompts,
    options: SearchOptions,
    request: Request = ANY_ITEM,
    *,
    places: int,
) -> Recommendations:
    """Generate `places` items after each history, each in the context of those before it.

    Args:
      model: a decoder (static).
      params: its parameters.
      catalogue: what can be generated.
      prompts: `[B, S]` histories as tokens.
      options: the search for each item (static). A width of 1 walks down the trie greedily; with as
        many beams as items the best item is found for certain. IDs of one level need a width of 1.
      request: which items each user may get.
      places: K, length of the list (static).

    Returns:
      `Recommendations` of `[B, K]` in the order of generation, no item twice; scores are
      log-probabilities given the history and the items before.

    Raises:
      ConfigError: a strategy that does not keep the best beams.

    Cost: one pass over S tokens, then K searches and K passes over L tokens, all in one loop on the
    device: the history is read once.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> def recommend(params):
      ...     given = (case.model, params, case.catalogue, case.prompts)
      ...     return next_items(*given, SearchOptions(beams=1), places=5)
      >>> jax.eval_shape(recommend, case.params).items.shape
      (3, 5)
    """
    if options.strategy.kind != "best":
        raise ConfigError(
            f"next_items takes the best item for each place, got strategy "
            f"{options.strategy.kind!r}; set strategy 'best', or use beam_search"
        )
    index, users = catalogue.index, prompts.tokens.shape[0]
    history = read_histories(model, params, prompts, ReadOptions(room=places * index.levels))
    # The first K places of the excluded items are for those of the list.
    barred = jnp.full((users, places), -1, jnp.int32)
    if request.excluded is not None:
        barred = jnp.concatenate([barred, request.excluded], axis=1)

    def recommend(
        state: tuple[History, jax.Array], place: jax.Array
    ) -> tuple[tuple[History, jax.Array], tuple[jax.Array, jax.Array]]:
        history, barred = state
        left = dataclasses.replace(request, excluded=barred)
        best = search_items(model, params, catalogue, history, options, left)
        item, score = best.items[:, 0], best.scores[:, 0]
        # [B, L]; where nothing was left to recommend, nothing is appended.
        new = catalogue.vocabulary.tokens(jnp.maximum(index.codes_of(item), 0))
        there = jnp.broadcast_to((item >= 0)[:, None], new.shape)
        history = extend_histories(model, params, history, new, there)
        barred = jax.lax.dynamic_update_slice_in_dim(barred, item[:, None], place, 1)
        return (history, barred), (item, score)

    steps = jnp.arange(places, dtype=jnp.int32)
    _, (items, scores) = jax.lax.scan(recommend, (history, barred), steps)
    return Recommendations(items.T, scores.T)
