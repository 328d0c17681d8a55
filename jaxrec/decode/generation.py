"""Text generation: a prompt is read once, then one token a step, all in one jitted loop."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode.kv_cache import (
    KVCache,
    LanguageModel,
    last_states,
    prefill,
    step,
    written_tokens,
)
from jaxrec.decode.recommend import bucket
from jaxrec.decode.sampling import GREEDY, Sampling, check_key, sample
from jaxrec.decode.stop import StopStrings, drop_first_space, text_of
from jaxrec.models import EncoderDecoder
from jaxrec.peft import prepend, virtual_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Generated:
    """What a batch of prompts was continued with.

    Attributes:
      tokens: `[B, max_tokens]` int32, `pad` after the end.
      lengths: `[B]` int32 tokens written, with the one that ended the row: an eos, or the token
        that completed a stop string.
      logprobs: `[B, max_tokens]` float32, of the tokens under the model as it is (temperature 1,
        no token left out); 0 after the end.
    """

    tokens: jax.Array
    lengths: jax.Array
    logprobs: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Loop:
    """Loop state.

    Attributes:
      count: int32 scalar, tokens written.
      last: `[B, 1]` int32, newest tokens, not yet read.
      done: `[B]` bool.
      stop: `[B]` int32, states of the stop strings' automaton.
      key: for the draws to come; None when greedy.
    """

    count: jax.Array
    last: jax.Array
    done: jax.Array
    stop: jax.Array
    key: jax.Array | None
    cache: KVCache
    written: Generated


def generate(
    model: LanguageModel,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    key: jax.Array | None = None,
    *,
    max_tokens: int,
    sampling: Sampling = GREEDY,
    eos: tuple[int, ...] = (),
    stop: jax.Array | None = None,
    prefix: jax.Array | None = None,
    start: int = 0,
    pad: int = 0,
) -> Generated:
    """Continue each prompt until an eos, a stop string or `max_tokens`.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the prompt (static).
      params: its parameters; the virtual tokens of a prefix or prompt among them are put in front.
      tokens: `[B, T]` int32 prompts; a row without a valid token is left empty.
      valid: `[B, T]` bool, False for padding, on the left or on the right.
      key: typed random key; None when greedy.
      max_tokens: most tokens to write (static).
      sampling: how tokens are drawn (static).
      eos: tokens that end a row (static).
      stop: `[states, V]`, table of `StopStrings`.
      prefix: `[B, T]` bool, tokens of the prompt that see one another in both directions.
      start: first token of an encoder-decoder's decoder (static).
      pad: what follows the end of a row (static).

    Returns:
      `Generated` of `[B, max_tokens]`.

    Raises:
      ConfigError: `max_tokens` below 1, a table of another vocabulary, a prefix for an
        encoder-decoder, no key to sample with, or more tokens than a learned position table has.

    Cost: one pass over the prompt, then at most `max_tokens` - 1 steps of one token a row, each
    reading all parameters and T + `max_tokens` cached slots once. The loop ends when all rows have;
    rows that end earlier are carried along.
    """
    if max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1, got {max_tokens}")
    check_key(key, sampling)
    check_prompt(model, params, tokens, valid, max_tokens)
    if stop is not None and stop.shape[1] != model.config.vocab_size:
        raise ConfigError(
            f"the table of stop strings has {stop.shape[1]} tokens, the model "
            f"{model.config.vocab_size}; give StopStrings.build the model's vocab_size"
        )
    if prefix is not None and isinstance(model, EncoderDecoder):
        raise ConfigError("EncoderDecoder reads the whole prompt in both directions; drop prefix")
    return _generate(
        model,
        params,
        tokens,
        valid,
        None if sampling.greedy else key,
        stop,
        prefix,
        max_tokens=max_tokens,
        sampling=sampling,
        eos=tuple(eos),
        start=start,
        pad=pad,
    )


@functools.partial(
    jax.jit, static_argnames=("model", "max_tokens", "sampling", "eos", "start", "pad")
)
def _generate(
    model: LanguageModel,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    key: jax.Array | None,
    table: jax.Array | None,
    prefix: jax.Array | None,
    *,
    max_tokens: int,
    sampling: Sampling,
    eos: tuple[int, ...],
    start: int,
    pad: int,
) -> Generated:
    batch = tokens.shape[0]

    def extend(loop: _Loop, hidden: jax.Array, cache: KVCache) -> _Loop:
        """Choose the tokens that follow the states `[B, 1, D]`."""
        logits = model.apply(params, hidden, method="logits")[:, 0]
        key, draw = (None, None) if loop.key is None else jax.random.split(loop.key)
        token = sample(draw, logits, sampling)
        score = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), token[:, None], axis=1)
        token = jnp.where(loop.done, jnp.int32(pad), token)[:, None]
        score = jnp.where(loop.done[:, None], jnp.float32(0), score)
        ended, state = loop.done, loop.stop
        for number in eos:
            ended = ended | (token[:, 0] == number)
        if table is not None:
            # A row that is done may run on through its padding; its state is read no more.
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
            cache=cache,
            written=Generated(
                tokens=write(written.tokens, token),
                lengths=written.lengths + (~loop.done).astype(jnp.int32),
                logprobs=write(written.logprobs, score),
            ),
        )

    def body(loop: _Loop) -> _Loop:
        return extend(loop, *step(model, params, loop.last, loop.cache))

    def going(loop: _Loop) -> jax.Array:
        return (loop.count < max_tokens) & ~jnp.all(loop.done)

    hidden, cache = start_state(model, params, tokens, valid, max_tokens, prefix, start)
    loop = _Loop(
        count=jnp.int32(0),
        last=jnp.full((batch, 1), pad, jnp.int32),
        done=~jnp.any(valid, axis=1),
        stop=jnp.zeros(batch, jnp.int32),
        key=key,
        cache=cache,
        written=Generated(
            tokens=jnp.full((batch, max_tokens), pad, jnp.int32),
            lengths=jnp.zeros(batch, jnp.int32),
            logprobs=jnp.zeros((batch, max_tokens), jnp.float32),
        ),
    )
    # The first token comes from the prompt's states, so that no step is run for nothing.
    return jax.lax.while_loop(going, body, extend(loop, hidden, cache)).written


def start_state(
    model: LanguageModel,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    max_tokens: int,
    prefix: jax.Array | None,
    start: int,
) -> tuple[jax.Array, KVCache]:
    """Read the prompts: the states that the first tokens follow from, `[B, 1, D]`, and the cache.

    The cache has `max_tokens` - 1 free slots, as the last token is never read.
    """
    virtual = virtual_of(params)
    read = prepend(tokens, valid, model.config.vocab_size, virtual.read)
    tokens, valid = read.tokens, read.valid
    if isinstance(model, EncoderDecoder):
        written = written_tokens(model, virtual, start)
        first = jnp.broadcast_to(written[None], (tokens.shape[0], written.shape[0]))
        there = jnp.ones(first.shape, bool)
        capacity = first.shape[1] + max_tokens - 1
        hidden, cache = prefill(
            model, params, first, there, capacity, source=tokens, source_valid=valid
        )
        return hidden[:, -1:], cache
    capacity = tokens.shape[1] + max_tokens - 1
    prefix = None if prefix is None else read.widen(prefix)
    hidden, cache = prefill(model, params, tokens, valid, capacity, prefix=prefix)
    return last_states(hidden, valid), cache


def check_prompt(
    model: LanguageModel, params: Any, tokens: jax.Array, valid: jax.Array, max_tokens: int
) -> None:
    """Reject prompts of other shapes than their mask, or too long for learned positions.

    Raises:
      ConfigError: either.
    """
    if tokens.ndim != 2 or tokens.shape != valid.shape:
        raise ConfigError(
            f"tokens and valid must both be [B, T], got {tokens.shape} and {valid.shape}"
        )
    if model.config.positions != "learned":
        return
    longest = tokens.shape[1]
    if not isinstance(valid, jax.core.Tracer):
        longest = int(np.asarray(valid).sum(axis=1).max(initial=0))
    fix = "shorten the prompt or lower max_tokens"
    virtual = virtual_of(params)
    longest += virtual.read
    if isinstance(model, EncoderDecoder):
        model.config.check_length(longest, "the prompt", fix)
        longest = 1 + virtual.written
    model.config.check_length(longest + max_tokens - 1, "the longest prompt and max_tokens", fix)


def complete(
    model: LanguageModel,
    params: Any,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str],
    key: jax.Array | None = None,
    *,
    max_tokens: int,
    sampling: Sampling = GREEDY,
    stop: StopStrings | Sequence[str] | None = None,
    eos: tuple[int, ...] | None = None,
    start: int | None = None,
    batch_size: int = 32,
) -> list[str]:
    """Continue texts.

    Prompts go in batches of like length, padded on the left to a power of two; so is the number of
    rows. Each pair of such sizes compiles once.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the prompts.
      params: its parameters.
      tokenizer: fast, byte-level BPE or with SentencePiece's pieces.
      prompts: texts, empty ones only if the tokenizer begins each with a token of its own.
      key: typed random key; None when greedy.
      max_tokens: most tokens to write.
      sampling: how tokens are drawn.
      stop: strings that end a text, none of them part of it. `StopStrings.build` makes their table
        once for many calls.
      eos: tokens that end a text; None for the tokenizer's.
      start: first token of an encoder-decoder's decoder; None for the tokenizer's padding (T5).
      batch_size: most rows a call.

    Returns:
      One continuation a prompt. It begins with a space where the text goes on with a new word (a
      decoder's), and has no special tokens.

    Raises:
      ConfigError: as `generate`, a prompt without tokens, or an unknown kind of tokenizer.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(prompts, str):
        raise ConfigError(f"prompts must be a list of texts, got one: [{prompts[:20]!r}]")
    check_key(key, sampling)
    if stop is not None and not isinstance(stop, StopStrings):
        stop = StopStrings.build(tokenizer, stop, model.config.vocab_size)
    if eos is None:
        eos = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    writes = isinstance(model, EncoderDecoder)
    if start is None:
        start = (tokenizer.pad_token_id or 0) if writes else 0
    rows = _tokenize(tokenizer, prompts, keep_eos=writes)
    texts = [""] * len(rows)
    for number, (chosen, tokens, valid) in enumerate(_batches(rows, batch_size)):
        found = generate(
            model,
            params,
            jnp.asarray(tokens),
            jnp.asarray(valid),
            None if key is None else jax.random.fold_in(key, number),
            max_tokens=max_tokens,
            sampling=sampling,
            eos=tuple(eos),
            stop=None if stop is None else stop.table,
            start=start,
        )
        written, lengths = np.asarray(found.tokens), np.asarray(found.lengths)
        for row, prompt in enumerate(chosen):
            ids = written[row, : lengths[row]].tolist()
            # An eos may have a text of its own, such as a newline that the caller ends at.
            text = text_of(tokenizer, ids[:-1] if ids[-1] in eos else ids)
            text = text if stop is None else stop.cut(text)
            texts[prompt] = drop_first_space(tokenizer, text) if writes else text
    return texts


def _tokenize(
    tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[str], keep_eos: bool
) -> list[list[int]]:
    """Token numbers of the prompts; an eos that the tokenizer adds would end a decoder's text."""
    if not prompts:
        return []
    encoded = tokenizer(list(prompts), return_special_tokens_mask=True)
    rows: list[list[int]] = []
    for prompt, ids, added in zip(
        prompts, encoded["input_ids"], encoded["special_tokens_mask"], strict=True
    ):
        ids = list(ids)
        if not keep_eos and ids and added[-1] and ids[-1] == tokenizer.eos_token_id:
            ids.pop()
        if not ids:
            raise ConfigError(
                f"prompt {len(rows)} ({prompt!r}) has no tokens and the tokenizer begins a text "
                "with none; give it some text"
            )
        rows.append(ids)
    return rows


def _batches(
    rows: Sequence[Sequence[int]], batch_size: int
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Yield numbers of rows of like length, with tokens and validity `[B, T]` padded to buckets."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for first in range(0, len(rows), batch_size):
        chosen = order[first : first + batch_size]
        # Rows that fill the bucket have no valid token, and so never keep the loop going.
        height = min(bucket(len(chosen), 1), batch_size)
        tokens = np.zeros((height, bucket(len(rows[chosen[-1]]))), np.int32)
        valid = np.zeros(tokens.shape, bool)
        for place, row in enumerate(chosen):
            tokens[place, -len(rows[row]) :] = rows[row]
            valid[place, -len(rows[row]) :] = True
        yield chosen, tokens, valid
