"""Generation in chunks: the host reads a few tokens at a time, and the state stays on the device.

`generate` returns when all rows have ended. A service that streams wants tokens earlier, and it
wants to end a row whose client has gone. `start_rows` reads the prompts and writes one token;
`advance_rows` then writes up to `chunk` tokens a call. All settings of rows are arrays, see
`RowSettings`, so that the number of programs is that of the shapes.

Shapes: `B` rows, `T` tokens of a prompt, `C` tokens of a chunk, `A` reported alternatives, `V`
tokens of the vocabulary.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode.continuations import score_blocks
from jaxrec.decode.generation import start_state
from jaxrec.decode.kv_cache import KVCache, LanguageModel, last_states, prefill, step
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.row_settings import RowSettings, choose_tokens
from jaxrec.peft import virtual_of

# Most alternatives that are reported for a token, as in OpenAI's chats.
MOST_ALTERNATIVES = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What all rows of all requests share; a static argument.

    Attributes:
      capacity: most tokens that a row can write.
      chunk: C, most tokens of a call of `advance_rows`.
      ends: tokens that end a text.
      start: first token of an encoder-decoder's decoder.
    """

    capacity: int
    chunk: int = 8
    ends: tuple[int, ...] = ()
    start: int = 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class StepState:
    """A batch that is being continued.

    Attributes:
      number: int32 scalar, tokens written so far.
      last: `[B, 1]` int32, newest tokens, not yet read.
      done: `[B]` bool, rows that have ended.
      counts: `[B, V]` int32, how often each continuation has each token.
      cache: keys and values of the tokens that were read.
      settings: of the rows.
    """

    number: jax.Array
    last: jax.Array
    done: jax.Array
    counts: jax.Array
    cache: KVCache
    settings: RowSettings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class WrittenChunk:
    """What a call has written.

    Attributes:
      tokens: `[B, C]` int32.
      logprobs: `[B, C]` float32 log-probabilities under the model itself (temperature 1).
      best: `[B, C, A]` int32, likeliest tokens at each place, best first; zeros in calls in which
        no row asks for alternatives.
      best_logprobs: `[B, C, A]` float32.
      lengths: `[B]` int32, number of tokens of this call that count.
      done: `[B]` bool, rows that have ended with an end token or at their limit.
    """

    tokens: jax.Array
    logprobs: jax.Array
    best: jax.Array
    best_logprobs: jax.Array
    lengths: jax.Array
    done: jax.Array


@functools.partial(jax.jit, static_argnames=("model", "options"))
def start_rows(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    settings: RowSettings,
    *,
    options: StepOptions,
) -> tuple[StepState, WrittenChunk]:
    """Read prompts and write the first token of each.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the prompts (static).
      params: its parameters, virtual tokens among them.
      prompts: `[B, T]` tokens; rows without a valid token write nothing.
      settings: of each row.
      options: of the batch (static).

    Returns:
      The state, and a chunk of one token.

    Cost: one pass over the prompts.

    Example:
      >>> from jaxrec.decode import RowSetting
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> settings = RowSettings.build([RowSetting(limit=4)] * 3, 3)
      >>> options = StepOptions(capacity=4, chunk=2)
      >>> model, params, nobody = case.model, case.params, jnp.zeros(3, bool)
      >>> state, first = start_rows(model, params, case.prompts, settings, options=options)
      >>> state, chunk = advance_rows(model, params, state, nobody, options=options)
      >>> first.lengths.tolist(), chunk.lengths.tolist()
      ([1, 1, 1], [2, 2, 2])
    """
    batch, size = prompts.tokens.shape[0], model.config.vocab_size
    hidden, cache = start_state(model, params, prompts, options.capacity, options.start)
    state = StepState(
        number=jnp.int32(0),
        last=jnp.zeros((batch, 1), jnp.int32),
        done=~jnp.any(prompts.mask, axis=1) | (settings.limit < 1),
        counts=jnp.zeros((batch, size), jnp.int32),
        cache=cache,
        settings=settings,
    )
    return _extend(model, params, state, hidden, _empty(batch, 1, size), jnp.int32(0), options)


@functools.partial(jax.jit, static_argnames=("model", "options"), donate_argnames=("state",))
def advance_rows(
    model: LanguageModel,
    params: Any,
    state: StepState,
    ended: jax.Array,
    *,
    options: StepOptions,
) -> tuple[StepState, WrittenChunk]:
    """Write up to `options.chunk` further tokens of each row.

    Args:
      model: see `start_rows` (static).
      params: its parameters.
      state: of the last call; it is used up.
      ended: `[B]` bool, rows that the caller has ended, such as at a stop string.
      options: those of `start_rows` (static).

    Returns:
      The state, and what was written.

    Cost: one step of one token a row for each token; the call ends when all rows have ended.
    """
    batch, size = state.counts.shape
    state = dataclasses.replace(state, done=state.done | ended)

    def body(carry: tuple[StepState, WrittenChunk, jax.Array]) -> Any:
        state, chunk, place = carry
        hidden, cache = step(model, params, state.last, state.cache)
        state = dataclasses.replace(state, cache=cache)
        return *_extend(model, params, state, hidden, chunk, place, options), place + 1

    def unfinished(carry: tuple[StepState, WrittenChunk, jax.Array]) -> jax.Array:
        state, _, place = carry
        room = (place < options.chunk) & (state.number < options.capacity)
        return room & ~jnp.all(state.done)

    carry = state, _empty(batch, options.chunk, size), jnp.int32(0)
    state, chunk, _ = jax.lax.while_loop(unfinished, body, carry)
    return state, dataclasses.replace(chunk, done=state.done)


@functools.partial(jax.jit, static_argnames=("model", "options"))
def score_prompts(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    settings: RowSettings,
    *,
    options: StepOptions,
) -> tuple[WrittenChunk, WrittenChunk]:
    """Score all tokens of prompts, and choose the token after each prompt, in one pass.

    Args:
      model: a decoder (static).
      params: its parameters.
      prompts: `[B, T]` tokens, padded on the left.
      settings: of each row.
      options: those of `start_rows` (static).

    Returns:
      A chunk of `[B, T]` whose place t holds the token t of the prompt with its scores; the first
      token of a prompt has none, and its numbers have no meaning. Then a chunk of one new token.

    Cost: one pass over the prompts; the logits are computed in blocks of bounded size.

    Example:
      >>> from jaxrec.decode import RowSetting
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> settings = RowSettings.build([RowSetting()] * 3, 3)
      >>> read, new = score_prompts(
      ...     case.model, case.params, case.prompts, settings, options=StepOptions(capacity=1)
      ... )
      >>> read.logprobs.shape, new.tokens.shape
      ((3, 5), (3, 1))
    """
    batch, width = prompts.tokens.shape
    size = model.config.vocab_size
    tokens, lengths = prompts.tokens, jnp.sum(prompts.mask, axis=1, dtype=jnp.int32)
    prompts = prompts.with_virtual(size, virtual_of(params).read)
    hidden, _ = prefill(model, params, prompts, prompts.tokens.shape[1])
    after = last_states(hidden, prompts.mask)
    wanted = jnp.any(settings.alternatives > 0)

    def score(block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        states, targets = block
        logits = model.apply(params, states, method="logits")
        return _scores(logits, targets, wanted)

    # The state of a token scores the next one.
    states = hidden[:, -width:-1].reshape(batch * (width - 1), -1)
    found = score_blocks(score, (states, tokens[:, 1:].reshape(-1)), size)
    logprobs, best, best_logprobs = (
        jnp.pad(
            x.reshape(batch, width - 1, *x.shape[1:]),
            ((0, 0), (1, 0), *((0, 0),) * (x.ndim - 1)),
        )
        for x in found
    )
    read = WrittenChunk(
        tokens=tokens,
        logprobs=logprobs,
        best=best,
        best_logprobs=best_logprobs,
        lengths=lengths,
        done=jnp.zeros(batch, bool),
    )
    counts = jnp.zeros((batch, size), jnp.int32)
    logits = model.apply(params, after, method="logits")[:, 0]
    token = choose_tokens(logits, counts, jnp.int32(0), settings)
    logprob, top, top_logprobs = _scores(logits, token, wanted)
    new = WrittenChunk(
        tokens=token[:, None],
        logprobs=logprob[:, None],
        best=top[:, None],
        best_logprobs=top_logprobs[:, None],
        lengths=jnp.minimum(settings.limit, 1),
        done=jnp.ones(batch, bool),
    )
    return read, new


def _extend(
    model: LanguageModel,
    params: Any,
    state: StepState,
    hidden: jax.Array,
    chunk: WrittenChunk,
    place: jax.Array,
    options: StepOptions,
) -> tuple[StepState, WrittenChunk]:
    """Choose the tokens that follow the states `[B, 1, D]`, and write them at a place."""
    logits = model.apply(params, hidden, method="logits")[:, 0]
    settings = state.settings
    token = choose_tokens(logits, state.counts, state.number, settings)
    scores = _scores(logits, token, jnp.any(settings.alternatives > 0))
    logprob, best, best_logprobs = scores
    live = ~state.done
    ended = state.done | (state.number + 1 >= settings.limit)
    for end in options.ends:
        ended = ended | (token == end)
    rows = jnp.arange(token.shape[0])

    def write(rows: jax.Array, new: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(rows, new[:, None], place, 1)

    chunk = WrittenChunk(
        tokens=write(chunk.tokens, token),
        logprobs=write(chunk.logprobs, logprob),
        best=write(chunk.best, best),
        best_logprobs=write(chunk.best_logprobs, best_logprobs),
        lengths=chunk.lengths + live.astype(jnp.int32),
        done=ended,
    )
    state = dataclasses.replace(
        state,
        number=state.number + 1,
        last=token[:, None],
        done=ended,
        counts=state.counts.at[rows, token].add(1),
    )
    return state, chunk


def _scores(
    logits: jax.Array, tokens: jax.Array, wanted: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Score tokens `[B]` by logits `[B, V]`, and find the best tokens if they are wanted."""
    logprobs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    count = min(MOST_ALTERNATIVES, logits.shape[-1])

    def find(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        values, places = jax.lax.top_k(rows, count)
        return places.astype(jnp.int32), values

    def skip(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        shape = rows.shape[0], count
        return jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32)

    best, best_logprobs = jax.lax.cond(wanted, find, skip, logprobs)
    return jnp.take_along_axis(logprobs, tokens[:, None], axis=1)[:, 0], best, best_logprobs


def _empty(batch: int, chunk: int, size: int) -> WrittenChunk:
    shape = batch, chunk
    count = min(MOST_ALTERNATIVES, size)
    return WrittenChunk(
        tokens=jnp.zeros(shape, jnp.int32),
        logprobs=jnp.zeros(shape, jnp.float32),
        best=jnp.zeros((*shape, count), jnp.int32),
        best_logprobs=jnp.zeros((*shape, count), jnp.float32),
        lengths=jnp.zeros(batch, jnp.int32),
        done=jnp.zeros(batch, bool),
    )
