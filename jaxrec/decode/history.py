"""Reading histories: one pass whose keys and values all beams of a user share.

A `History` is a pytree that outlives a request: `extend_histories` reads only what a returning user
has added since. Several users may share a row (`users` above 1): short histories packed behind one
another waste no padding.

Shapes: `B` rows, `P` users a row, `S` slots, `M` tokens that an encoder reads.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.cache import quantized
from jaxrec.decode.kv_cache import (
    KVCache,
    LanguageModel,
    prefill,
    read_tokens,
    step,
    written_tokens,
)
from jaxrec.models import EncoderDecoder
from jaxrec.nn import SelfContext
from jaxrec.peft import prepend, virtual_of

CacheDtype = Literal["model", "int8"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """Histories that were read, ready for a search.

    Attributes:
      state: `[B, P, D]`, the last state of each user's history: it predicts the next token.
      position: `[B, P]` int32, of the next token.
      seen: bool `[B, S]`, or `[B, P, S]` with several users a row: each user's slots.
      cache: keys and values of the decoder; int8 where there is a scale.
      scale: `[depth, B, S, G]` for keys and for values, of an int8 cache; else None.
      memory_seen: bool `[B, M]` or `[B, P, M]`, each user's tokens of the encoder; None without.
    """

    state: jax.Array
    position: jax.Array
    seen: jax.Array
    cache: KVCache
    scale: tuple[jax.Array, jax.Array] | None = None
    memory_seen: jax.Array | None = None

    @property
    def users(self) -> int:
        """P, users a row."""
        return self.state.shape[1]


@functools.partial(jax.jit, static_argnames=("model", "users", "room", "start", "cache_dtype"))
def read_histories(
    model: LanguageModel,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array | None = None,
    *,
    prefix: jax.Array | None = None,
    segments: jax.Array | None = None,
    users: int = 1,
    room: int = 0,
    start: int = 0,
    cache_dtype: CacheDtype = "model",
) -> History:
    """Read histories once.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the history (static).
      params: its parameters; the virtual tokens of a prefix or prompt among them are put in front
        of every user's history.
      tokens: `[B, S]` int32, padded on either side.
      valid: `[B, S]` bool; None for tokens other than 0.
      prefix: `[B, S]` bool, tokens that see one another in both directions (a prefix decoder);
        `valid` for the whole history.
      segments: `[B, S]` int32, which of the row's users a token belongs to; needed when `users` is
        above 1.
      users: P, users packed into a row (static).
      room: free slots for `extend_histories` (static).
      start: first token of an encoder-decoder's decoder (static).
      cache_dtype: "int8" halves or quarters what every step reads (static).

    Raises:
      ConfigError: several users without segments, or room where nothing can be added.

    Cost: one pass over S tokens a row, and over P virtual ones for each user.
    """
    if (users > 1) != (segments is not None):
        raise ConfigError(
            f"read_histories packs users = {users} a row and got "
            f"{'no ' if segments is None else ''}segments; give both, or neither"
        )
    valid = tokens != 0 if valid is None else valid
    virtual = virtual_of(params)
    if virtual.read:
        read = prepend(tokens, valid, model.config.vocab_size, virtual.read, segments, users)
        tokens, valid = read.tokens, read.valid
        prefix, segments = (None if x is None else read.widen(x) for x in (prefix, segments))
    if isinstance(model, EncoderDecoder):
        if room or prefix is not None:
            raise ConfigError(
                "an encoder reads a whole history in both directions: read_histories takes neither "
                "room nor prefix with EncoderDecoder"
            )
        if cache_dtype != "model":
            raise ConfigError(
                "an int8 cache needs a decoder: EncoderDecoder keeps a memory instead"
            )
        written = written_tokens(model, virtual, start)
        return _encoded(model, params, tokens, valid, segments, users, written)
    hidden, cache = prefill(
        model,
        params,
        tokens,
        valid,
        tokens.shape[1] + room,
        prefix=prefix,
        segments=segments,
    )
    mine = valid[:, None] if segments is None else _users_of(valid, segments, users)
    # [B, P, S]
    slots = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None, None]
    last = jnp.max(jnp.where(mine, slots, 0), axis=2)
    seen = jnp.pad(mine, ((0, 0), (0, 0), (0, room)))
    history = History(
        state=jnp.take_along_axis(hidden, last[:, :, None], axis=1),
        position=_next_position(seen, cache.positions),
        seen=seen[:, 0] if users == 1 else seen,
        cache=cache,
    )
    return _stored(history, cache_dtype)


def _encoded(
    model: EncoderDecoder,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    segments: jax.Array | None,
    users: int,
    written: jax.Array,
) -> History:
    """The encoder's memory, and a decoder that has read its first tokens `[W]` for each user.

    The mask of two users and two tokens each::

        1 0 0 0
        1 1 0 0
        0 0 1 0
        0 0 1 1
    """
    states = model.apply(params, tokens, valid, segments=segments, method="encode")
    memory = model.apply(params, states, method="memory")
    seen = model.apply(params, tokens, valid, method="readable")
    memory_seen = seen if segments is None else _users_of(seen, segments, users)
    batch, count = tokens.shape[0], written.shape[0]
    first = jnp.broadcast_to(jnp.tile(written, users)[None], (batch, users * count))
    slots = jnp.arange(users * count, dtype=jnp.int32)
    positions, there = jnp.broadcast_to(slots % count, first.shape), jnp.ones(first.shape, bool)
    mine = jnp.arange(users, dtype=jnp.int32)[:, None] == (slots // count)[None]
    own = jnp.repeat(mine, count, axis=0) & (slots[:, None] >= slots[None])
    read = memory_seen if users == 1 else jnp.repeat(memory_seen, count, axis=1)
    context = SelfContext(own[None], causal=True)
    hidden, (key, value) = read_tokens(
        model, params, first, positions, context, None, (memory, read)
    )
    return History(
        state=hidden[:, count - 1 :: count],
        position=jnp.full((batch, users), count, jnp.int32),
        seen=there if users == 1 else jnp.broadcast_to(mine[None], (batch, *mine.shape)),
        cache=KVCache(
            key=key,
            value=value,
            valid=there,
            positions=positions,
            length=jnp.int32(users * count),
            memory=memory,
        ),
        memory_seen=memory_seen,
    )


@functools.partial(jax.jit, static_argnames=("model",))
def extend_histories(
    model: LanguageModel,
    params: Any,
    history: History,
    tokens: jax.Array,
    valid: jax.Array | None = None,
) -> History:
    """Read what users have added since: only the new tokens pass through the model.

    Args:
      model: as in `read_histories` (static).
      params: its parameters.
      history: of one user a row, with T free slots; under `jit` nothing checks that there are.
      tokens: `[B, T]` int32 new tokens, padded on either side; a row may have none.
      valid: `[B, T]` bool; None for tokens other than 0.

    Returns:
      The longer histories: what reading them as a whole gives.

    Raises:
      ConfigError: an encoder-decoder, packed users, or an int8 cache, whose keys are rounded.

    Cost: one pass over T tokens, which attend to all slots.
    """
    if isinstance(model, EncoderDecoder):
        raise ConfigError("an encoder reads a whole history at once; use read_histories")
    if history.users > 1 or history.scale is not None:
        raise ConfigError(
            "extend_histories needs one user a row and a cache in the model's own dtype; use "
            "read_histories with users=1 and cache_dtype='model'"
        )
    valid = tokens != 0 if valid is None else valid
    hidden, cache = step(model, params, tokens, history.cache, valid=valid)
    slots = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    last = jnp.max(jnp.where(valid, slots, 0), axis=1)
    state = jnp.take_along_axis(hidden, last[:, None, None], axis=1)
    some = valid.any(axis=1)[:, None]
    return dataclasses.replace(
        history,
        state=jnp.where(some[:, :, None], state, history.state),
        position=_next_position(cache.valid[:, None], cache.positions),
        seen=cache.valid,
        cache=cache,
    )


def _users_of(valid: jax.Array, segments: jax.Array, users: int) -> jax.Array:
    """Valid tokens of each user of a row: `[B, P, S]`."""
    number = jnp.arange(users, dtype=segments.dtype)[None, :, None]
    return valid[:, None] & (segments[:, None] == number)


def _next_position(seen: jax.Array, positions: jax.Array) -> jax.Array:
    """`[B, P, S]` and `[B, S]` to `[B, P]`: one more than the last position, 0 without any."""
    return jnp.max(jnp.where(seen, positions[:, None] + 1, 0), axis=2)


def _stored(history: History, cache_dtype: CacheDtype) -> History:
    if cache_dtype == "model":
        return history
    (key, value), scale = quantized((history.cache.key, history.cache.value))
    cache = dataclasses.replace(history.cache, key=key, value=value)
    return dataclasses.replace(history, cache=cache, scale=scale)
