"""Beam search over valid item IDs only: from histories to items and scores in one jitted call.

The histories are read once. Then one wide step a level extends all beams, with logits of that
level's codes alone. Illegal codes are removed *before* the top-k, so the search is exact for its
beam width: with as many beams as items it ranks the whole catalogue.

    prompts --read_histories--> History --search_items--> Recommendations
               once a user                L - 1 wide steps

The walk down the trie itself is in `search`.

Shapes: `B` rows of histories, `P` users a row (1 unless packed), `U` = B P users, `K` beams, `L`
levels, `I` items.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode.beam_reader import BeamReader
from jaxrec.decode.history import PLAIN_READING, History, ReadOptions, read_histories
from jaxrec.decode.kv_cache import LanguageModel
from jaxrec.decode.level import pick
from jaxrec.decode.options import ANY_ITEM, Catalogue, Request, SearchOptions
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.search import Recommendations, Search, search_all_levels
from jaxrec.decode.strategies import BEST
from jaxrec.kernels import flat_top_k


@functools.partial(jax.jit, static_argnames=("model", "options", "reading"))
def beam_search(
    model: LanguageModel,
    params: Any,
    catalogue: Catalogue,
    prompts: Prompts,
    options: SearchOptions,
    request: Request = ANY_ITEM,
    reading: ReadOptions = PLAIN_READING,
) -> Recommendations:
    """Generate the best items after each history: `read_histories`, then `search_items`.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the history (static).
      params: its parameters.
      catalogue: what can be generated.
      prompts: `[B, S]` histories as tokens, see `ids.write_histories`.
      options: beam width, normalization and strategy (static).
      request: which items each user may get.
      reading: how the histories are read (static).

    Returns:
      `Recommendations` of `[U, min(K, I)]`.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      A random model of six items, and the histories of three users:

      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> options = SearchOptions(beams=6)
      >>> best = beam_search(case.model, case.params, case.catalogue, case.prompts, options)
      >>> sorted(best.items[0].tolist())
      [0, 1, 2, 3, 4, 5]
    """
    history = read_histories(model, params, prompts, reading)
    return search_items(model, params, catalogue, history, options, request)


@functools.partial(jax.jit, static_argnames=("model", "options"))
def search_items(
    model: LanguageModel,
    params: Any,
    catalogue: Catalogue,
    history: History,
    options: SearchOptions,
    request: Request = ANY_ITEM,
) -> Recommendations:
    """Generate items after histories that were read before.

    Args:
      model: the model that read the histories (static).
      params: its parameters.
      catalogue: what can be generated.
      history: B rows with P users each; users are counted row by row.
      options: beam width, normalization and strategy (static).
      request: which items each user may get.

    Returns:
      `Recommendations` of `[U, min(K, I)]`.

    Raises:
      ConfigError: settings that contradict one another.

    Cost a user: L - 1 steps of K tokens, each reading the history's keys and values once, and a
    search of O(K C_l) a level. The trace is unrolled over levels.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> request = Request.excluding([[4], [0, 1], []])
      >>> def recommend(params):
      ...     history = read_histories(case.model, params, case.prompts)
      ...     options = SearchOptions(beams=4)
      ...     return search_items(case.model, params, case.catalogue, history, options, request)
      >>> jax.eval_shape(recommend, case.params).items.shape
      (3, 4)
    """
    options.check_key(request.key)
    options.check_strength(request.strength)
    index = catalogue.index
    batch, packed, _ = history.state.shape
    request.check(index.num_items, batch * packed)
    reader = BeamReader(
        model=model,
        params=params,
        history=history,
        vocabulary=catalogue.vocabulary,
        widths=options.widths(index),
        options=options,
    )
    search = Search(
        reader=reader,
        index=index,
        alive=request.alive(index),
        keys=None if request.key is None else jax.random.split(request.key, index.levels),
        strength=request.strength,
    )
    best = search_all_levels(search)
    if options.strategy.kind != "diverse":
        return best
    plain = dataclasses.replace(options, strategy=BEST)
    alike = dataclasses.replace(request, strength=None)
    if options.strategy.in_turns:
        best = jax.tree.map(lambda x: _in_turns(x, options.strategy.groups), best)
    best = jax.lax.cond(
        jnp.all(best.items >= 0),
        lambda: best,
        lambda: _filled(best, search_items(model, params, catalogue, history, plain, alike)),
    )
    if options.strategy.in_turns:
        return best
    # Groups come one after the other; a list is sorted.
    scores, order = flat_top_k(best.scores, best.scores.shape[1])
    return Recommendations(pick(best.items, order), scores)


def _in_turns(rows: jax.Array, groups: int) -> jax.Array:
    """Order `[U, K]` beams, which come group by group, by their places in their groups."""
    return jnp.swapaxes(rows.reshape(len(rows), groups, -1), 1, 2).reshape(rows.shape)


def _filled(found: Recommendations, more: Recommendations) -> Recommendations:
    """Fill empty places `[U, K]` with the best items of another list that are not there yet.

    Groups that hold the same beams can run out of items. A plain search of the same width always
    finds enough others, if there are any.
    """
    known = (more.items[:, :, None] == found.items[:, None, :]).any(-1)
    new = jnp.where(known | (more.items < 0), -jnp.inf, more.scores)
    items = jnp.concatenate([found.items, more.items], axis=1)
    scores = jnp.concatenate([found.scores, new], axis=1)
    # What was found stays, whatever its score.
    first = jnp.concatenate([jnp.where(found.items >= 0, jnp.inf, -jnp.inf), new], axis=1)
    _, place = flat_top_k(first, found.items.shape[1])
    scores = pick(scores, place)
    return Recommendations(jnp.where(jnp.isfinite(scores), pick(items, place), -1), scores)
