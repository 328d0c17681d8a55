"""The cache of text generation: keys and values of all tokens so far, in slots filled one by one.

`prefill` reads the prompt, and `step` reads one more token or several. Both give what a full
forward pass over the row without its padding gives. Positions are stored with the keys, so padding
may stand on either side of the prompt, and a row may hold several packed sequences.

Shapes: `B` rows, `T` tokens that are read at once, `S` slots, `M` tokens that an encoder reads.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.cache_contexts import CacheContext, PrefixContext, SharedPrefix
from jaxrec.decode.prompts import Prompts
from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.nn import Context, KeyValue, SelfContext, attention_mask, positions_of
from jaxrec.peft import Virtual

LanguageModel = CausalLM | EncoderDecoder


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class KVCache:
    """Keys and values of the whole stack of layers.

    Attributes:
      key, value: `[depth, B, S, G, H]`.
      valid: `[B, S]` bool, False for padding and for slots not yet used.
      positions: `[B, S]` int32, positions of the tokens in their sequences.
      length: int32 scalar, number of slots used, the same for all rows.
      segments: `[B, S]` int32, which of a row's packed sequences a token belongs to; None for one
        sequence a row.
      memory: keys and values of an encoder's states, `[depth, B, M, G, H]` each; None without an
        encoder.
      memory_valid: `[B, M]` bool.
      shared: tokens that all rows begin with, stored once; None for none.
    """

    key: jax.Array
    value: jax.Array
    valid: jax.Array
    positions: jax.Array
    length: jax.Array
    segments: jax.Array | None = None
    memory: KeyValue | None = None
    memory_valid: jax.Array | None = None
    shared: SharedPrefix | None = None

    @property
    def capacity(self) -> int:
        """S, the number of slots."""
        return self.key.shape[2]

    @property
    def read_memory(self) -> tuple[KeyValue, jax.Array] | None:
        """The encoder's keys and values, and which are valid; None without an encoder."""
        if self.memory is None or self.memory_valid is None:
            return None
        return self.memory, self.memory_valid

    def repeat(self, times: int) -> "KVCache":
        """Return the cache of a batch that has each row so many times, next to one another."""

        def rows(x: jax.Array, axis: int) -> jax.Array:
            return jnp.repeat(x, times, axis=axis)

        return dataclasses.replace(
            self,
            key=rows(self.key, 1),
            value=rows(self.value, 1),
            valid=rows(self.valid, 0),
            positions=rows(self.positions, 0),
            segments=None if self.segments is None else rows(self.segments, 0),
            memory=None
            if self.memory is None
            else (rows(self.memory[0], 1), rows(self.memory[1], 1)),
            memory_valid=None if self.memory_valid is None else rows(self.memory_valid, 0),
        )

    def last_segments(self) -> jax.Array | None:
        """Return the segment of each row's last token, `[B, 1]`; None for one sequence a row."""
        if self.segments is None:
            return None
        slots = jnp.arange(self.capacity, dtype=jnp.int32)[None]
        last = jnp.max(jnp.where(self.valid, slots, 0), axis=1, keepdims=True)
        return jnp.take_along_axis(self.segments, last, axis=1)

    def seen(self, segments: jax.Array | None) -> jax.Array:
        """Return the slots that tokens of segments `[B, T]` may see: `[B, T or 1, S]` bool."""
        if segments is None or self.segments is None:
            return self.valid[:, None, :]
        return self.valid[:, None, :] & (segments[:, :, None] == self.segments[:, None, :])


def prefill(
    model: LanguageModel,
    params: Any,
    prompts: Prompts,
    capacity: int,
    source: Prompts | None = None,
    shared: SharedPrefix | None = None,
) -> tuple[jax.Array, KVCache]:
    """Read the prompts and make a cache of them.

    Args:
      model: a decoder, or an encoder-decoder.
      params: its parameters.
      prompts: `[B, T]` tokens that the decoder reads.
      capacity: S >= T, number of slots: T, and one for each token to come.
      source: `[B, M]` tokens that the encoder of an encoder-decoder reads.
      shared: tokens before every prompt, from `read_prefix`; None for none.

    Returns:
      `[B, T, D]` states of the last layer, and the cache.

    Raises:
      ConfigError: fewer slots than tokens, an encoder without a source, a source without an
        encoder, or a shared prefix before packed prompts or prompts of a prefix decoder.

    Cost: one pass over T tokens; keys and values are written once.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> def read(params):
      ...     return prefill(case.model, params, case.prompts, capacity=8)
      >>> hidden, cache = jax.eval_shape(read, case.params)
      >>> hidden.shape, cache.capacity
      ((3, 5, 16), 8)
    """
    length = prompts.tokens.shape[1]
    if capacity < length:
        raise ConfigError(
            f"capacity must be at least the prompt's {length} tokens, got {capacity}; "
            "give one slot for each token of the prompt and each to generate"
        )
    tokens, valid = prompts.tokens, prompts.mask
    prefix, segments = prompts.prefix, prompts.segments
    memory = memory_of(model, params, source)
    positions = positions_of(valid, segments)
    mask = attention_mask(valid, True, prefix, segments)
    context: Context = SelfContext(mask, causal=prefix is None)
    layers = None
    if shared is not None:
        if prefix is not None or segments is not None:
            raise ConfigError(
                "a shared prefix stands before one causal prompt a row; drop prefix and segments, "
                "or read each prompt as a whole"
            )
        positions = positions + shared.length
        context = PrefixContext(shared.valid, CacheContext(None, None, mask))
        layers = (shared.key, shared.value), None
    hidden, key_value = read_tokens(model, params, tokens, positions, context, layers, memory)
    free = capacity - length

    def widen(x: jax.Array, axis: int) -> jax.Array:
        return jnp.pad(x, [(0, free if a == axis else 0) for a in range(x.ndim)])

    cache = KVCache(
        key=widen(key_value[0], 2),
        value=widen(key_value[1], 2),
        valid=widen(valid, 1),
        positions=widen(positions, 1),
        length=jnp.asarray(length, jnp.int32),
        segments=None if segments is None else widen(segments, 1),
        memory=None if memory is None else memory[0],
        memory_valid=None if memory is None else memory[1],
        shared=shared,
    )
    return hidden, cache


def step(
    model: LanguageModel,
    params: Any,
    tokens: jax.Array,
    cache: KVCache,
    segments: jax.Array | None = None,
    valid: jax.Array | None = None,
) -> tuple[jax.Array, KVCache]:
    """Read further tokens and write them to the cache.

    Args:
      model: the model that made the cache.
      params: its parameters.
      tokens: `[B, T]` int32; T is 1 in generation.
      cache: a cache with T free slots. Under `jit` nothing can check that they are free: the last
        slots would be overwritten.
      segments: `[B, T]` int32; None to continue each row's last segment.
      valid: `[B, T]` bool, False for padding; None if there is no padding.

    Returns:
      `[B, T, D]` states of the last layer, and the cache.

    Raises:
      ConfigError: no room for T tokens (outside `jit`), or segments for a cache without them.

    Cost: one pass over T tokens, which reads all slots once a layer; the new keys and values are
    written in place, in one update for all layers, if the old cache is donated or a loop's state.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> def read(params):
      ...     _, cache = prefill(case.model, params, case.prompts, capacity=8)
      ...     return step(case.model, params, case.tokens[:, :1], cache)
      >>> hidden, cache = jax.eval_shape(read, case.params)
      >>> hidden.shape
      (3, 1, 16)
    """
    length = tokens.shape[1]
    _check_room(cache, length)
    if segments is not None and cache.segments is None:
        raise ConfigError("step got segments for a cache without; give segments to prefill too")
    if segments is None and (last := cache.last_segments()) is not None:
        segments = jnp.broadcast_to(last, tokens.shape)
    valid = jnp.ones(tokens.shape, bool) if valid is None else valid
    past, own = cache.seen(segments), attention_mask(valid, True, None, segments)
    # A token's position follows those of its sequence, in the cache and in this call.
    before = jnp.max(jnp.where(past, cache.positions[:, None, :] + 1, 0), axis=2)
    if cache.shared is not None:
        before = jnp.maximum(before, cache.shared.length)
    earlier = own & valid[:, None, :] & ~jnp.eye(length, dtype=bool)[None]
    positions = before + jnp.sum(earlier, axis=2, dtype=jnp.int32)
    mine = CacheContext(past, cache.positions, own)
    context: Context = mine
    layers: Any = (cache.key, cache.value)
    if cache.shared is not None:
        context = PrefixContext(cache.shared.valid, mine)
        layers = (cache.shared.key, cache.shared.value), layers
    hidden, (key, value) = read_tokens(
        model, params, tokens, positions, context, layers, cache.read_memory
    )

    first = cache.length

    def write(slots: jax.Array, new: jax.Array, axis: int) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(slots, new, first, axis)

    if cache.segments is not None and segments is not None:
        cache = dataclasses.replace(cache, segments=write(cache.segments, segments, 1))
    cache = dataclasses.replace(
        cache,
        key=write(cache.key, key, 2),
        value=write(cache.value, value, 2),
        valid=write(cache.valid, valid, 1),
        positions=write(cache.positions, positions, 1),
        length=first + length,
    )
    return hidden, cache


def last_states(hidden: jax.Array, valid: jax.Array) -> jax.Array:
    """Return the state of each row's last valid token, `[B, 1, D]`.

    Args:
      hidden: `[B, T, D]` states.
      valid: `[B, T]` bool.

    Example:
      >>> hidden = jnp.arange(3.0).reshape(1, 3, 1)
      >>> last_states(hidden, jnp.array([[True, True, False]])).item()
      1.0
    """
    slots = jnp.arange(valid.shape[1], dtype=jnp.int32)[None]
    last = jnp.max(jnp.where(valid, slots, 0), axis=1)
    return jnp.take_along_axis(hidden, last[:, None, None], axis=1)


def written_tokens(model: EncoderDecoder, virtual: Virtual, start: int) -> jax.Array:
    """Return what a decoder reads before it writes: virtual tokens and the start, `[W]` int32."""
    first = model.config.vocab_size
    return jnp.array([*range(first, first + virtual.written), start], jnp.int32)


def read_tokens(
    model: LanguageModel,
    params: Any,
    tokens: jax.Array,
    positions: jax.Array,
    context: Context,
    layers: Any,
    memory: tuple[KeyValue, jax.Array] | None,
) -> tuple[jax.Array, KeyValue]:
    """Call `model.hidden` of either kind of model, with the encoder's memory if there is one."""
    read = () if memory is None else memory
    return model.apply(params, tokens, positions, context, *read, cache=layers, method="hidden")


def memory_of(
    model: LanguageModel, params: Any, source: Prompts | None
) -> tuple[KeyValue, jax.Array] | None:
    """Keys and values of what the encoder reads; None for a model without an encoder."""
    if not isinstance(model, EncoderDecoder):
        if source is not None:
            raise ConfigError(f"{type(model).__name__} has no encoder to read a source; drop it")
        return None
    if source is None:
        raise ConfigError("EncoderDecoder needs a source: the tokens that its encoder reads")
    states = model.apply(params, source.tokens, source.mask, method="encode")
    valid = model.apply(params, source.tokens, source.mask, method="readable")
    return model.apply(params, states, method="memory"), valid


def _check_room(cache: KVCache, length: int) -> None:
    if isinstance(cache.length, jax.core.Tracer):
        return
    used = int(cache.length)
    if used + length > cache.capacity:
        raise ConfigError(
            f"the cache has {cache.capacity} slots, {used} of them used: no room for {length} "
            "more; raise the capacity given to prefill"
        )
