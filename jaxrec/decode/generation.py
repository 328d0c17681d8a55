"""Text generation: a prompt is read once, then one token a step, all in one jitted loop.

Shapes: `B` prompts, `T` tokens of a prompt, `V` tokens of the vocabulary.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode.cache_contexts import SharedPrefix
from jaxrec.decode.kv_cache import (
    KVCache,
    LanguageModel,
    last_states,
    prefill,
    step,
    written_tokens,
)
from jaxrec.decode.prompts import Prompts
from jaxrec.decode.sampling import GREEDY, Sampling, check_key, sample
from jaxrec.models import EncoderDecoder
from jaxrec.peft import virtual_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Where a text begins and ends. Hashable, so that it is a static argument under `jax.jit`.

    Attributes:
      max_tokens: most tokens to write.
      eos: tokens that end a text; None for the tokenizer's end token in `complete`, and for no such
        token in functions without a tokenizer.
      start: first token of an encoder-decoder's decoder; None for the tokenizer's padding token in
        `complete` (T5), and for token 0 in functions without a tokenizer.
      pad: token that follows the end of a row.
      presence_penalty: what the logits of tokens that the continuation already has are lowered by,
        against repetition.
      banned: tokens that are never written.

    Raises:
      ConfigError: `max_tokens` below 1, or a penalty that is not a finite number.

    Example:
      >>> TextOptions(max_tokens=20, eos=(2,)).start is None
      True
    """

    max_tokens: int
    eos: tuple[int, ...] | None = None
    start: int | None = None
    pad: int = 0
    presence_penalty: float = 0.0
    banned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, got {self.max_tokens}")
        if not np.isfinite(self.presence_penalty):
            raise ConfigError(
                f"presence_penalty must be a finite number, got {self.presence_penalty}"
            )
        if self.eos is not None:
            object.__setattr__(self, "eos", tuple(self.eos))

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text; none if they are not set."""
        return () if self.eos is None else self.eos


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Generated:
    """The continuations of a batch of prompts.

    Attributes:
      tokens: `[B, max_tokens]` int32, `pad` after the end.
      lengths: `[B]` int32, number of tokens written, including the one that ended the row: an eos,
        or the token that completed a stop string.
      logprobs: `[B, max_tokens]` float32 log-probabilities of the tokens under the model itself
        (temperature 1, all tokens); 0 after the end.
    """

    tokens: jax.Array
    lengths: jax.Array
    logprobs: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Loop:
    """Loop state.

    Attributes:
      count: int32 scalar, number of tokens written.
      last: `[B, 1]` int32, newest tokens, not yet read.
      done: `[B]` bool, rows that have ended.
      stop: `[B]` int32, states of the stop strings' automaton.
      key: random key for the draws to come, or `[B]` keys of the rows; None when greedy.
      seen: `[B, V]` bool, tokens that the continuations have; None without a presence penalty.
      cache: keys and values of the tokens that were read.
      written: the continuations so far.
    """

    count: jax.Array
    last: jax.Array
    done: jax.Array
    stop: jax.Array
    key: jax.Array | None
    seen: jax.Array | None
    cache: KVCache
    written: Generated


def generate(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    options: TextOptions,
    *,
    sampling: Sampling = GREEDY,
    key: jax.Array | None = None,
    stop: jax.Array | None = None,
    shared: SharedPrefix | None = None,
    samples: int = 1,
    limit: int | None = None,
) -> Generated:
    """Continue each prompt until an eos, a stop string or `max_tokens`.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the prompt (static).
      params: its parameters; the virtual tokens of a tuned prefix or prompt among them are put in
        front of the prompts.
      prompts: `[B, T]` tokens; a row without a valid token is left empty.
      options: where a text begins and ends (static).
      sampling: how tokens are drawn (static).
      key: typed random key, or `[B * samples]` keys, so that the draws of a row do not depend on
        the other rows; None when greedy.
      stop: `[states, V]`, the table of `StopStrings`.
      shared: tokens before every prompt, from `read_prefix`, the virtual tokens among them; None
        for none.
      samples: number of continuations of each prompt, which is read once for all of them (static).
      limit: most tokens to write, at most `max_tokens`; not static, so that many limits share one
        compiled program. None for `max_tokens`.

    Returns:
      `Generated` of `[B * samples, max_tokens]`; those of one prompt stand next to one another.

    Raises:
      ConfigError: a table for another vocabulary, a prefix for an encoder-decoder, no key to sample
        with, keys of another number, a limit out of range, or more tokens than a learned position
        table has.

    Cost: one pass over the prompt, then at most `max_tokens` - 1 steps of one token a row, each
    reading all parameters and T + `max_tokens` cached slots once. The loop ends when all rows have
    ended; rows that end earlier are carried along.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> options = TextOptions(max_tokens=2)
      >>> generate(case.model, case.params, case.prompts, options).lengths.tolist()
      [2, 2, 2]
    """
    check_key(key, sampling)
    limit = options.max_tokens if limit is None else limit
    if not 1 <= limit <= options.max_tokens:
        raise ConfigError(f"limit must lie between 1 and max_tokens {options.max_tokens}: {limit}")
    if samples < 1:
        raise ConfigError(f"samples must be at least 1, got {samples}")
    rows = prompts.tokens.shape[0] * samples
    if key is not None and key.ndim and key.shape != (rows,):
        raise ConfigError(f"one key, or {rows} keys for as many continuations, got {key.shape}")
    check_prompts(model, params, prompts, limit, shared)
    if stop is not None and stop.shape[1] != model.config.vocab_size:
        raise ConfigError(
            f"the table of stop strings has {stop.shape[1]} tokens, the model "
            f"{model.config.vocab_size}; give StopStrings.build the model's vocab_size"
        )
    if not all(0 <= token < model.config.vocab_size for token in options.banned):
        raise ConfigError(
            f"banned tokens {options.banned} must be among the model's {model.config.vocab_size}"
        )
    key = None if sampling.greedy else key
    given = prompts, shared, key, stop, jnp.int32(limit)
    static = {"options": options, "sampling": sampling, "samples": samples}
    return _generate(model, params, *given, **static)


@functools.partial(jax.jit, static_argnames=("model", "options", "sampling", "samples"))
def _generate(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    shared: SharedPrefix | None,
    key: jax.Array | None,
    table: jax.Array | None,
    limit: jax.Array,
    *,
    options: TextOptions,
    sampling: Sampling,
    samples: int,
) -> Generated:
    max_tokens, pad = options.max_tokens, options.pad
    batch = prompts.tokens.shape[0] * samples

    def extend(loop: _Loop, hidden: jax.Array, cache: KVCache) -> _Loop:
        """Choose the tokens that follow the states `[B, 1, D]`."""
        logits = model.apply(params, hidden, method="logits")[:, 0]
        key, draw = _next_key(loop.key, loop.count)
        seen, chances = loop.seen, logits
        if seen is not None:
            chances = logits - options.presence_penalty * seen.astype(logits.dtype)
        if options.banned:
            least = jnp.finfo(chances.dtype).min
            chances = chances.at[:, jnp.asarray(options.banned)].set(least)
        token = sample(draw, chances, sampling)
        if seen is not None:
            seen = seen.at[jnp.arange(batch), token].set(True)
        score = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), token[:, None], axis=1)
        token = jnp.where(loop.done, jnp.int32(pad), token)[:, None]
        score = jnp.where(loop.done[:, None], jnp.float32(0), score)
        ended, state = loop.done, loop.stop
        for number in options.ends:
            ended = ended | (token[:, 0] == number)
        if table is not None:
            # The padding of a row that is done also changes its state, which is not read again.
            state = table[state, token[:, 0]].astype(jnp.int32)
            ended = ended | (state == table.shape[0] - 1)
        written = loop.written

        def write(rows: jax.Array, new: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(rows, new, loop.count, 1)

        return _Loop(
            count=loop.count + 1,
            last=token,
            done=ended,
            stop=state,
            key=key,
            seen=seen,
            cache=cache,
            written=Generated(
                tokens=write(written.tokens, token),
                lengths=written.lengths + (~loop.done).astype(jnp.int32),
                logprobs=write(written.logprobs, score),
            ),
        )

    def body(loop: _Loop) -> _Loop:
        return extend(loop, *step(model, params, loop.last, loop.cache))

    def unfinished(loop: _Loop) -> jax.Array:
        return (loop.count < limit) & ~jnp.all(loop.done)

    start = options.start or 0
    hidden, cache = start_state(model, params, prompts, max_tokens, start, shared)
    done = ~jnp.any(prompts.mask, axis=1)
    if samples > 1:
        hidden, done = (jnp.repeat(x, samples, axis=0) for x in (hidden, done))
        cache = cache.repeat(samples)
    loop = _Loop(
        count=jnp.int32(0),
        last=jnp.full((batch, 1), pad, jnp.int32),
        done=done,
        stop=jnp.zeros(batch, jnp.int32),
        key=key,
        seen=jnp.zeros((batch, model.config.vocab_size), bool)
        if options.presence_penalty
        else None,
        cache=cache,
        written=Generated(
            tokens=jnp.full((batch, max_tokens), pad, jnp.int32),
            lengths=jnp.zeros(batch, jnp.int32),
            logprobs=jnp.zeros((batch, max_tokens), jnp.float32),
        ),
    )
    # The first token comes from the prompt's states, so that no step is wasted.
    return jax.lax.while_loop(unfinished, body, extend(loop, hidden, cache)).written


def _next_key(key: jax.Array | None, count: jax.Array) -> tuple[jax.Array | None, jax.Array | None]:
    """Return the key of later draws, and the key or keys of this one, the draw number `count`."""
    if key is None:
        return None, None
    if key.ndim:
        return key, jax.vmap(jax.random.fold_in, (0, None))(key, count)
    key, draw = jax.random.split(key)
    return key, draw


def start_state(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    max_tokens: int,
    start: int,
    shared: SharedPrefix | None = None,
) -> tuple[jax.Array, KVCache]:
    """Read the prompts: the states that the first tokens follow from, `[B, 1, D]`, and the cache.

    The cache has `max_tokens` - 1 free slots, since the last token is never read.
    """
    virtual = virtual_of(params)
    if shared is not None:
        hidden, cache = prefill(
            model, params, prompts, prompts.tokens.shape[1] + max_tokens - 1, shared=shared
        )
        return last_states(hidden, prompts.mask), cache
    prompts = prompts.with_virtual(model.config.vocab_size, virtual.read)
    if isinstance(model, EncoderDecoder):
        written = written_tokens(model, virtual, start)
        first = jnp.broadcast_to(written[None], (prompts.tokens.shape[0], written.shape[0]))
        there = jnp.ones(first.shape, bool)
        capacity = first.shape[1] + max_tokens - 1
        hidden, cache = prefill(
            model, params, Prompts(tokens=first, valid=there), capacity, prompts
        )
        return hidden[:, -1:], cache
    capacity = prompts.tokens.shape[1] + max_tokens - 1
    hidden, cache = prefill(model, params, prompts, capacity)
    return last_states(hidden, prompts.mask), cache


def check_prompts(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    max_tokens: int,
    shared: SharedPrefix | None = None,
) -> None:
    """Check that a model can continue prompts by so many tokens.

    Raises:
      ConfigError: arrays of different shapes, packed sequences, a prefix for an encoder-decoder, or
        more tokens than the model's positions or distances.
    """
    prompts.check_shapes()
    if prompts.segments is not None:
        raise ConfigError("text generation continues one prompt a row; drop the segments")
    if prompts.prefix is not None and isinstance(model, EncoderDecoder):
        raise ConfigError("EncoderDecoder reads the whole prompt in both directions; drop prefix")
    if shared is not None and isinstance(model, EncoderDecoder):
        raise ConfigError("EncoderDecoder reads whole prompts in both directions; drop shared")
    if not model.config.is_bounded:
        return
    longest = prompts.tokens.shape[1]
    if not isinstance(prompts.mask, jax.core.Tracer):
        longest = int(np.asarray(prompts.mask).sum(axis=1).max(initial=0))
    fix = "shorten the prompt or lower max_tokens"
    virtual = virtual_of(params)
    longest += virtual.read if shared is None else _tokens_of(shared)
    if isinstance(model, EncoderDecoder):
        model.config.check_length(longest, "the prompt", fix)
        longest = 1 + virtual.written
    model.config.check_length(longest + max_tokens - 1, "the longest prompt and max_tokens", fix)


def _tokens_of(shared: SharedPrefix) -> int:
    """Number of tokens of a prefix; under `jit`, where that is unknown, number of its slots."""
    length = shared.length
    return shared.capacity if isinstance(length, jax.core.Tracer) else int(length)
