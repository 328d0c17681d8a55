"""A list of items one after the other: each is generated as what follows those before it.

The Next-K strategy of GPTRec (Petrov and Macdonald 2023, arXiv:2306.11114, section 4.3): a list
whose items depend on one another, where Top-K takes the best items each by itself. An item that was
recommended is appended to the history and can not come again.

    history --search--> item 1 --extend, search--> item 2 --extend, search--> ...

Shapes: `B` users, `S` tokens, `L` levels, `K` places of the list, `E` excluded items.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode.beam import search_items
from jaxrec.decode.history import History, extend_histories, read_histories
from jaxrec.decode.levels import Recommendations
from jaxrec.decode.search import Normalize
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.models import CausalLM


@functools.partial(jax.jit, static_argnames=("model", "vocabulary", "places", "beams", "normalize"))
def next_items(
    model: CausalLM,
    params: Any,
    index: ItemIndex,
    tokens: jax.Array,
    excluded: jax.Array | None = None,
    *,
    vocabulary: IdVocabulary,
    places: int,
    beams: int = 1,
    normalize: Normalize = "codes",
) -> Recommendations:
    """Generate `places` items after each history, each in the context of those before it.

    Args:
      model: a decoder (static).
      params: its parameters.
      index: all valid IDs.
      tokens: `[B, S]` int32 histories, padded with PAD on either side.
      excluded: `[B, E]` int32 items not to recommend, padded with -1; None for none.
      vocabulary: token numbers of the codes (static).
      places: K, length of the list (static).
      beams: width of the search for each item: 1 goes down the trie greedily, as many as items
        finds the best one for certain (static). IDs of one level need only 1.
      normalize: as of `search_items` (static).

    Returns:
      `Recommendations` of `[B, K]` in the order of generation, no item twice; scores are
      log-probabilities given the history and the items before.

    Cost: one pass over S tokens, then K searches and K passes over L tokens, all in one loop on the
    device: the history is read once.
    """
    history = read_histories(model, params, tokens, room=places * index.levels)
    free = jnp.full((tokens.shape[0], places), -1, jnp.int32)
    barred = free if excluded is None else jnp.concatenate([free, excluded], axis=1)

    def recommend(
        state: tuple[History, jax.Array], place: jax.Array
    ) -> tuple[tuple[History, jax.Array], tuple[jax.Array, jax.Array]]:
        history, barred = state
        found = search_items(
            model,
            params,
            index,
            history,
            None,
            barred,
            vocabulary=vocabulary,
            beams=beams,
            normalize=normalize,
        )
        item, score = found.items[:, 0], found.scores[:, 0]
        # [B, L]; where nothing was left to recommend, nothing is appended.
        new = vocabulary.tokens(jnp.maximum(index.codes_of(item), 0))
        there = jnp.broadcast_to((item >= 0)[:, None], new.shape)
        history = extend_histories(model, params, history, new, there)
        barred = jax.lax.dynamic_update_slice_in_dim(barred, item[:, None], place, 1)
        return (history, barred), (item, score)

    steps = jnp.arange(places, dtype=jnp.int32)
    _, (items, scores) = jax.lax.scan(recommend, (history, barred), steps)
    return Recommendations(items.T, scores.T)
