"""Reading histories: one pass whose keys and values all beams of a user share.

A `History` is a pytree that outlives a request: `extend_histories` reads only what a returning user
has added since. Several users may share a row (`ReadOptions.users` above 1): short histories that
are packed one after the other waste no padding.

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
from jaxrec.decode.prompts import Prompts
from jaxrec.models import EncoderDecoder
from jaxrec.nn import SelfContext
from jaxrec.peft import virtual_of

CacheDtype = Literal["model", "int8"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How histories are read. Hashable, so that it is a static argument under `jax.jit`.

    Attributes:
      users: P, users packed into a row; above 1, `Prompts.segments` says which tokens are whose.
      room: free slots for `extend_histories`.
      start: first token of an encoder-decoder's decoder.
      cache_dtype: "int8" stores keys and values rounded, which halves (bfloat16) or quarters
        (float32) what every step reads; "model" keeps the model's own type.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> ReadOptions(room=8).cache_dtype
      'model'
    """

    users: int = 1
    room: int = 0
    start: int = 0
    cache_dtype: CacheDtype = "model"

    def __post_init__(self) -> None:
        if self.users < 1:
            raise ConfigError(f"users must be at least 1 a row, got {self.users}")
        if self.room < 0:
            raise ConfigError(f"room must not be negative, got {self.room}")
        if self.cache_dtype not in ("model", "int8"):
            raise ConfigError(f"cache_dtype must be 'model' or 'int8', got {self.cache_dtype!r}")


# One user a row, without room for more tokens.
PLAIN_READING = ReadOptions()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class History:
    """Histories that were read, ready for a search.

    Attributes:
      state: `[B, P, D]`, the last state of each user's history, which predicts the next token.
      position: `[B, P]` int32, position of the next token.
      seen: `[B, S]` bool, each user's slots; `[B, P, S]` with several users a row.
      cache: keys and values of the decoder; int8 where there is a scale.
      scale: `[depth, B, S, G]` for keys and for values of an int8 cache; else None.
      memory_seen: `[B, M]` or `[B, P, M]` bool, each user's tokens of the encoder; None for a model
        without an encoder.
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


@functools.partial(jax.jit, static_argnames=("model", "options"))
def read_histories(
    model: LanguageModel, params: Any, prompts: Prompts, options: ReadOptions = PLAIN_READING
) -> History:
    """Read histories once.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the history (static).
      params: its parameters; the virtual tokens of a tuned prefix or prompt among them are put in
        front of every user's history.
      prompts: `[B, S]` histories. A prefix decoder needs their `prefix`: their `mask` to read the
        whole history in both directions. Several users a row need their `segments`.
      options: how they are read (static).

    Raises:
      ConfigError: several users without segments, or room where nothing can be added.

    Cost: one pass over S tokens a row, and over the virtual tokens of each user.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> def read(params):
      ...     return read_histories(case.model, params, case.prompts)
      >>> history = jax.eval_shape(read, case.params)
      >>> history.users, history.state.shape
      (1, (3, 1, 16))
    """
    users, room = options.users, options.room
    if (users > 1) != (prompts.segments is not None):
        raise ConfigError(
            f"read_histories packs users = {users} a row and got "
            f"{'no ' if prompts.segments is None else ''}segments; give both, or neither"
        )
    virtual = virtual_of(params)
    prompts = prompts.with_virtual(model.config.vocab_size, virtual.read, users)
    if isinstance(model, EncoderDecoder):
        if room or prompts.prefix is not None:
            raise ConfigError(
                "an encoder reads a whole history in both directions: read_histories takes neither "
                "room nor prefix with EncoderDecoder"
            )
        if options.cache_dtype != "model":
            raise ConfigError(
                "an int8 cache needs a decoder: EncoderDecoder keeps a memory instead; set "
                "cache_dtype='model'"
            )
        written = written_tokens(model, virtual, options.start)
        return _encoded(model, params, prompts, users, written)
    length, valid, segments = prompts.tokens.shape[1], prompts.mask, prompts.segments
    hidden, cache = prefill(model, params, prompts, length + room)
    mine = valid[:, None] if segments is None else _users_of(valid, segments, users)
    # [B, P, S]
    slots = jnp.arange(length, dtype=jnp.int32)[None, None]
    last = jnp.max(jnp.where(mine, slots, 0), axis=2)
    seen = jnp.pad(mine, ((0, 0), (0, 0), (0, room)))
    history = History(
        state=jnp.take_along_axis(hidden, last[:, :, None], axis=1),
        position=_next_position(seen, cache.positions),
        seen=seen[:, 0] if users == 1 else seen,
        cache=cache,
    )
    return _stored(history, options.cache_dtype)


def _encoded(
    model: EncoderDecoder, params: Any, prompts: Prompts, users: int, written: jax.Array
) -> History:
    """The encoder's memory, and a decoder that has read its first tokens `[W]` for each user.

    The mask of two users and two tokens each::

        1 0 0 0
        1 1 0 0
        0 0 1 0
        0 0 1 1
    """
    tokens, valid, segments = prompts.tokens, prompts.mask, prompts.segments
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
      model: the decoder that read the histories (static).
      params: its parameters.
      history: histories of one user a row with at least T free slots, see `ReadOptions.room`; under
        `jit` nothing checks that the slots are free.
      tokens: `[B, T]` int32 new tokens, padded on either side; a row may have none.
      valid: `[B, T]` bool, False for padding; None if token 0 is the padding.

    Returns:
      The longer histories, equal to what reading them as a whole gives.

    Raises:
      ConfigError: an encoder-decoder, packed users, or an int8 cache, whose keys are rounded.

    Cost: one pass over T tokens, which attend to all slots.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> new = jnp.array([[2], [3], [0]])  # one item, one item, none
      >>> def read(params):
      ...     history = read_histories(case.model, params, case.prompts, ReadOptions(room=1))
      ...     return extend_histories(case.model, params, history, new)
      >>> jax.eval_shape(read, case.params).position.shape
      (3, 1)
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
    """Return the valid tokens of each user of a row: `[B, P, S]`."""
    number = jnp.arange(users, dtype=segments.dtype)[None, :, None]
    return valid[:, None] & (segments[:, None] == number)


def _next_position(seen: jax.Array, positions: jax.Array) -> jax.Array:
    """Return one more than each user's last position, 0 for a user without tokens: `[B, P]`."""
    return jnp.max(jnp.where(seen, positions[:, None] + 1, 0), axis=2)


def _stored(history: History, cache_dtype: CacheDtype) -> History:
    if cache_dtype == "model":
        return history
    (key, value), scale = quantized((history.cache.key, history.cache.value))
    cache = dataclasses.replace(history.cache, key=key, value=value)
    return dataclasses.replace(history, cache=cache, scale=scale)
