"""Beam search over text: the K best continuations of each prompt, in one jitted loop.

A prompt is read once and its keys are stored once, for all of its beams. The tokens of a beam are
found through *ancestor indices*, so no beam's cache is ever moved. The search is that of Hugging
Face's `generate(num_beams=K, early_stopping=False)`: it looks at more than K candidates, so that K
unfinished beams always remain, keeps a pool of finished beams, and normalizes scores by length.

Shapes: `B` prompts, `K` beams, `S` tokens of a prompt, `J` tokens of a beam that are read, `V`
tokens of the vocabulary.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.generation import TextOptions, check_prompts, start_state
from jaxrec.decode.kv_cache import KVCache, LanguageModel, read_tokens
from jaxrec.decode.level import pick
from jaxrec.decode.prompts import Prompts
from jaxrec.kernels import SharedHistory, beam_attention
from jaxrec.nn import KeyValue, ScoreTerms

# What stands for "impossible" in Hugging Face's scores; finite, so that sums stay defined.
_NEVER = -1.0e9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TextBeams:
    """The best continuations of each prompt, best first.

    Attributes:
      tokens: `[B, K, max_tokens]` int32, `pad` after the end.
      lengths: `[B, K]` int32, number of tokens, the eos included; 0 where there are fewer than K
        continuations.
      scores: `[B, K]` float32, sum of log-probabilities / length ** length_penalty; -inf where
        `lengths` is 0.
    """

    tokens: jax.Array
    lengths: jax.Array
    scores: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TextBeamContext:
    """Beams attend to their prompt, to their ancestors and to themselves.

    The beams of a prompt stand on the axis that is time elsewhere.

    Attributes:
      prompt: `[B, S]` bool, valid tokens of the prompt.
      prompt_positions: `[B, S]` int32.
      ancestors: `[B, K, J]` int32: which beam of each step a beam descends from.
      count: int32 scalar, number of tokens of a beam before the current one.
    """

    prompt: jax.Array
    prompt_positions: jax.Array
    ancestors: jax.Array
    count: jax.Array

    def distance(self, positions: jax.Array) -> jax.Array:
        """Return distances to the prompt and to the J tokens of the beam: `[B, K, S + J]`."""
        past = positions[:, :, None] - self.prompt_positions[:, None, :]
        own = self.count - jnp.arange(self.ancestors.shape[2], dtype=jnp.int32)
        own = jnp.broadcast_to(own[None, None], self.ancestors.shape)
        return jnp.concatenate([past, own], axis=2)

    def attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        terms: ScoreTerms,
        layer: tuple[KeyValue, KeyValue],
    ) -> jax.Array:
        """Attend to the keys of one layer.

        Args:
          query: `[B, K, N, H]`.
          key: `[B, K, G, H]`, keys of the new tokens.
          value: `[B, K, G, H]`.
          terms: bias, cap and mask of the scores.
          layer: keys and values of the prompts `[B, G, S, H]` and of the beams `[B, K, J, G, H]`.

        Cost: O(B K N H (S + J)) products; the prompt's keys are read once, whatever K.
        """
        (prompt_key, prompt_value), (beam_key, beam_value) = layer
        slots = self.ancestors.shape[2]
        written = jnp.arange(slots, dtype=jnp.int32) <= self.count
        prompt = jnp.ones(prompt_key.shape[2], bool)
        allowed = jnp.concatenate([prompt, written])[None, None]
        if terms.allowed is not None:
            allowed = allowed & terms.allowed
        return beam_attention(
            query,
            SharedHistory(key=prompt_key, value=prompt_value, valid=self.prompt),
            (self._path(beam_key, key), self._path(beam_value, value)),
            dataclasses.replace(terms, allowed=allowed),
        )

    def _path(self, slots: jax.Array, new: jax.Array) -> jax.Array:
        """Gather the tokens of each beam's path, and its new one: `[B, K, J, G, H]`."""
        ancestors = self.ancestors[:, :, :, None, None]
        path = jnp.take_along_axis(slots, ancestors, axis=1, mode="promise_in_bounds")
        return jax.lax.dynamic_update_slice_in_dim(path, new[:, :, None], self.count, 2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Search:
    """Loop state.

    Attributes:
      count: int32 scalar, number of tokens written by every running beam.
      tokens: `[B, K, max_tokens]` int32, tokens of the running beams.
      scores: `[B, K]` float32, sums of their log-probabilities.
      ancestors: `[B, K, J]` int32: which beam of each step a beam descends from.
      best: the pool of finished beams; `scores` is `_NEVER` where a place is still free.
      full: `[B, K]` bool, places of the pool that are taken.
      open: `[B, 1]` bool, prompts whose pool may still change.
      key, value: `[depth, B, K, J, G, H]` of the running beams.
    """

    count: jax.Array
    tokens: jax.Array
    scores: jax.Array
    ancestors: jax.Array
    best: TextBeams
    full: jax.Array
    open: jax.Array
    key: jax.Array
    value: jax.Array


def beam_generate(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    options: TextOptions,
    *,
    beams: int,
    length_penalty: float = 1.0,
) -> TextBeams:
    """Find the `beams` best continuations of each prompt, up to an eos or `max_tokens`.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the prompt (static).
      params: its parameters; the virtual tokens of a tuned prefix or prompt among them are put in
        front of the prompts.
      prompts: `[B, T]` tokens; a row without a valid token has no continuation.
      options: where a text begins and ends (static).
      beams: K (static).
      length_penalty: p; a score is the sum of log-probabilities divided by length ** p.

    Returns:
      `TextBeams` of `[B, K]`.

    Raises:
      ConfigError: `beams` below 1, a vocabulary too small for the candidates, a prefix for an
        encoder-decoder, or more tokens than a learned position table has.

    Cost: one pass over the prompt, then at most `max_tokens` - 1 steps of K tokens a row. A step
    reads all parameters and the prompt's keys once, gathers the beams' own O(K max_tokens) keys,
    and takes the top (1 + number of eos) K of K V scores.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> options = TextOptions(max_tokens=2)
      >>> def write(params):
      ...     return beam_generate(case.model, params, case.prompts, options, beams=4)
      >>> jax.eval_shape(write, case.params).tokens.shape
      (3, 4, 2)
    """
    if beams < 1:
        raise ConfigError(f"beams must be at least 1, got {beams}")
    size, eos = model.config.vocab_size, options.ends
    if _candidates(1, eos) > size:
        raise ConfigError(f"{len(eos)} eos tokens leave no other in a vocabulary of {size}")
    check_prompts(model, params, prompts, options.max_tokens)
    if options.presence_penalty:
        raise ConfigError(
            f"beam search has no presence penalty, got {options.presence_penalty}; set it to 0"
        )
    return _beam_generate(model, params, prompts, length_penalty, options=options, beams=beams)


def _candidates(beams: int, eos: tuple[int, ...]) -> int:
    """How many candidates to look at so that `beams` of them do not end with an eos."""
    return max(2, 1 + len(eos)) * beams


@functools.partial(jax.jit, static_argnames=("model", "options", "beams"))
def _beam_generate(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    length_penalty: jax.Array,
    *,
    options: TextOptions,
    beams: int,
) -> TextBeams:
    max_tokens = options.max_tokens
    # The cache has slots only for the prompts: the beams' tokens have slots of their own.
    hidden, cache = start_state(model, params, prompts, 1, options.start or 0)
    first = jnp.max(jnp.where(cache.valid, cache.positions + 1, 0), axis=1, keepdims=True)
    penalty = jnp.asarray(length_penalty, jnp.float32)
    # Transposed once, so that every step reads each head's tokens in one run.
    prompt = tuple(jnp.swapaxes(x, 2, 3) for x in (cache.key, cache.value))

    def extend(search: _Search, hidden: jax.Array) -> _Search:
        """Choose the tokens that follow the states `[B, K or 1, D]`."""
        logits = model.apply(params, hidden, method="logits")
        scores = jax.nn.log_softmax(logits, axis=-1) + search.scores[:, :, None]
        return _advance(search, scores, penalty, options)

    def body(search: _Search) -> _Search:
        newest = jax.lax.dynamic_index_in_dim(search.tokens, search.count - 1, 2, keepdims=False)
        slot = search.count - 1
        positions = jnp.broadcast_to(first + slot, newest.shape)
        context = TextBeamContext(
            prompt=cache.valid,
            prompt_positions=cache.positions,
            ancestors=search.ancestors,
            count=slot,
        )
        layers = prompt, (search.key, search.value)
        hidden, (key, value) = read_tokens(
            model, params, newest, positions, context, layers, cache.read_memory
        )

        def write(slots: jax.Array, new: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(slots, new[:, :, :, None], slot, 3)

        search = dataclasses.replace(
            search, key=write(search.key, key), value=write(search.value, value)
        )
        return extend(search, hidden)

    def unfinished(search: _Search) -> jax.Array:
        return (search.count < max_tokens) & jnp.any(search.open)

    search = extend(_begin(cache, jnp.any(prompts.mask, axis=1), beams, options), hidden)
    search = jax.lax.while_loop(unfinished, body, search)
    best, there = search.best, search.full
    return TextBeams(
        tokens=jnp.where(there[:, :, None], best.tokens, options.pad),
        lengths=jnp.where(there, best.lengths, 0),
        scores=jnp.where(there, best.scores, -jnp.inf),
    )


def _begin(cache: KVCache, there: jax.Array, beams: int, options: TextOptions) -> _Search:
    """The state before any token: one beam; the others are impossible, as they would repeat it."""
    max_tokens = options.max_tokens
    depth, batch, _, heads, size = cache.key.shape
    # The last token is never read. There is at least one slot, which may stay unused.
    slots = max(max_tokens - 1, 1)
    own = jnp.zeros((depth, batch, beams, slots, heads, size), cache.key.dtype)
    shape = batch, beams
    tokens = jnp.full((*shape, max_tokens), options.pad, jnp.int32)
    return _Search(
        count=jnp.int32(0),
        tokens=tokens,
        scores=jnp.full(shape, _NEVER, jnp.float32).at[:, 0].set(0.0),
        ancestors=jnp.zeros((*shape, slots), jnp.int32),
        best=TextBeams(tokens, jnp.zeros(shape, jnp.int32), jnp.full(shape, _NEVER, jnp.float32)),
        full=jnp.zeros(shape, bool),
        open=there[:, None],
        key=own,
        value=own,
    )


def _advance(
    search: _Search, scores: jax.Array, penalty: jax.Array, options: TextOptions
) -> _Search:
    """Write one more token: from `[B, K, V]` scores of all continuations to the next state."""
    eos, max_tokens = options.ends, options.max_tokens
    batch, beams, size = scores.shape
    kept = min(_candidates(beams, eos), beams * size)
    top, chosen = jax.lax.top_k(scores.reshape(batch, beams * size), kept)
    parent, token = (chosen // size).astype(jnp.int32), (chosen % size).astype(jnp.int32)
    rows = jnp.take_along_axis(search.tokens, parent[:, :, None], axis=1)
    rows = jax.lax.dynamic_update_slice_in_dim(rows, token[:, :, None], search.count, 2)
    count = search.count + 1
    ended = jnp.broadcast_to(count >= max_tokens, token.shape)
    for number in eos:
        ended = ended | (token == number)

    # The pool takes only continuations that ended and are among the best K. Those of impossible
    # beams repeat others and are left out.
    power = count.astype(jnp.float32) ** penalty
    fresh = ended & (jnp.arange(kept) < beams)[None] & (top > 0.5 * _NEVER) & search.open
    value = jnp.where(fresh, top / power, _NEVER)
    best = search.best
    pool, place = jax.lax.top_k(jnp.concatenate([best.scores, value], axis=1), beams)
    lengths = jnp.broadcast_to(count, value.shape)
    best = TextBeams(
        tokens=pick(jnp.concatenate([best.tokens, rows], axis=1), place),
        lengths=pick(jnp.concatenate([best.lengths, lengths], axis=1), place),
        scores=pool,
    )
    full = pick(jnp.concatenate([search.full, fresh], axis=1), place)

    running, place = jax.lax.top_k(top + jnp.where(ended, _NEVER, 0.0), beams)
    parent = pick(parent, place)
    ancestors = pick(search.ancestors, parent)
    # Each beam is the ancestor of what follows it: the slot of its newest token is its own.
    own = jnp.broadcast_to(jnp.arange(beams, dtype=jnp.int32)[None, :, None], (batch, beams, 1))
    ancestors = jax.lax.dynamic_update_slice_in_dim(ancestors, own, count - 1, 2)
    # The best running beam at its present length, against the worst of a full pool.
    worst = jnp.where(full, jnp.min(pool, axis=1, keepdims=True), _NEVER)
    hope = jnp.any(running[:, :1] / power > worst, axis=1, keepdims=True)
    return dataclasses.replace(
        search,
        count=count,
        tokens=pick(rows, place),
        scores=running,
        ancestors=ancestors,
        best=best,
        full=full,
        open=search.open & hope,
    )
