"""Keys and values of many users' histories in one array, from which a batch takes its rows.

A *pool* holds a row for each user who may return. Slot p of a row holds the token at position p, so
what was read at once and what was read in pieces look the same. A batch of returning users takes
the rows that they have, reads only the tokens that are new, and writes these back::

    pool --extend_from_pool--> History, new keys and values --store_in_pool--> pool
               B rows              search_items reads it           in place

Shapes: `N` rows of the pool, `B` rows of a batch, `S` slots of a row, `W` slots that a call reads,
`T` new tokens.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode.cache_contexts import CacheContext
from jaxrec.decode.history import History, read_histories
from jaxrec.decode.kv_cache import KVCache, LanguageModel, read_tokens
from jaxrec.decode.prompts import Prompts
from jaxrec.nn import KeyValue, attention_mask


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class HistoryPool:
    """Keys and values of histories.

    Attributes:
      key: `[N, S, depth, G, H]`, so that a token is one run of memory.
      value: `[N, S, depth, G, H]`.

    Example:
      >>> zeros = jnp.zeros((8, 21, 2, 1, 4))
      >>> len(jax.tree.leaves(HistoryPool(zeros, zeros)))
      2
    """

    key: jax.Array
    value: jax.Array

    @classmethod
    def empty(cls, model: LanguageModel, params: Any, rows: int, slots: int) -> "HistoryPool":
        """Return a pool for a causal decoder, without anything in it."""
        shape, dtype = cls._row(model, params, slots)
        return cls(jnp.zeros((rows, *shape), dtype), jnp.zeros((rows, *shape), dtype))

    @classmethod
    def bytes_of_row(cls, model: LanguageModel, params: Any, slots: int) -> int:
        """Return the bytes of a row before there is a pool."""
        shape, dtype = cls._row(model, params, slots)
        return 2 * math.prod(shape) * dtype.itemsize

    @staticmethod
    def _row(model: LanguageModel, params: Any, slots: int) -> tuple[tuple[int, ...], Any]:
        def read(params: Any) -> History:
            return read_histories(model, params, Prompts(tokens=jnp.ones((1, 1), jnp.int32)))

        one = jax.eval_shape(read, params).cache.key
        depth, _, _, groups, size = one.shape
        return (slots, depth, groups, size), one.dtype


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class PoolReading:
    """Histories that were read, and what a pool can keep of them.

    Attributes:
      history: for `search_items`.
      new: keys and values of the tokens that were read now, `[depth, B, T, G, H]` each.
      slots: `[B, T]` int32, the slots of these tokens; S or more for padding.
    """

    history: History
    new: KeyValue
    slots: jax.Array


@functools.partial(jax.jit, static_argnames=("model",))
def read_for_pool(model: LanguageModel, params: Any, tokens: jax.Array) -> PoolReading:
    """Read histories from the start.

    Args:
      model: a causal decoder without virtual tokens (static).
      params: its parameters.
      tokens: `[B, T]` int32, padded with 0 on the left.
    """
    history = read_histories(model, params, Prompts(tokens=tokens))
    cache = history.cache
    # Padding lies beyond all slots.
    slots = jnp.where(cache.valid, cache.positions, jnp.iinfo(jnp.int32).max)
    return PoolReading(history, (cache.key, cache.value), slots)


@functools.partial(jax.jit, static_argnames=("model", "width"))
def extend_from_pool(
    model: LanguageModel,
    params: Any,
    pool: HistoryPool,
    rows: jax.Array,
    have: jax.Array,
    tokens: jax.Array,
    width: int,
) -> PoolReading:
    """Take histories out of a pool and read the tokens that follow them.

    Args:
      model: the decoder that read what is in the pool (static).
      params: its parameters.
      pool: keys and values.
      rows: `[B]` int32 numbers of rows of the pool; a row may be taken several times.
      have: `[B]` int32, how many slots of the row are read; the others are ignored.
      tokens: `[B, T]` int32 tokens that follow, at least one a row, padded with 0 on the right.
      width: W, at least `have` and the number of new tokens together (static).

    Returns:
      The longer histories, equal to what reading them as a whole gives.

    Cost: one pass over T tokens, which attend to W slots; W slots are copied.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> pool = HistoryPool.empty(case.model, case.params, rows=4, slots=6)
      >>> zeros = jnp.zeros(2, jnp.int32)
      >>> def read(params):
      ...     new = jnp.array([[1, 3], [1, 0]])
      ...     return extend_from_pool(case.model, params, pool, zeros, zeros, new, width=6)
      >>> jax.eval_shape(read, case.params).history.state.shape
      (2, 1, 16)
    """
    batch, length = tokens.shape
    key, value = (jnp.moveaxis(x[rows, :width], 2, 0) for x in (pool.key, pool.value))
    valid, slots = tokens != 0, jnp.arange(width, dtype=jnp.int32)[None]
    count = valid.sum(axis=1, dtype=jnp.int32)
    places = jnp.broadcast_to(slots, (batch, width))
    positions = have[:, None] + jnp.arange(length, dtype=jnp.int32)[None]
    past = (slots < have[:, None])[:, None]
    context = CacheContext(past, places, attention_mask(valid))
    hidden, new = read_tokens(model, params, tokens, positions, context, (key, value), None)
    at = jnp.where(valid, positions, jnp.iinfo(jnp.int32).max)
    own = jnp.arange(batch, dtype=jnp.int32)[:, None]
    key, value = (
        old.at[:, own, at].set(more, mode="drop")
        for old, more in zip((key, value), new, strict=True)
    )
    total = (have + count)[:, None]
    seen = slots < total
    history = History(
        state=jnp.take_along_axis(hidden, (count - 1)[:, None, None], axis=1),
        position=total,
        seen=seen,
        cache=KVCache(key=key, value=value, valid=seen, positions=places, length=jnp.int32(width)),
    )
    return PoolReading(history, new, at)


@functools.partial(jax.jit, donate_argnames=("pool",))
def store_in_pool(
    pool: HistoryPool, rows: jax.Array, slots: jax.Array, new: KeyValue
) -> HistoryPool:
    """Write keys and values into a pool, in place.

    Args:
      pool: is used up.
      rows: `[B]` int32 numbers of rows of the pool.
      slots: `[B, T]` int32, see `PoolReading`; what lies beyond the slots is dropped.
      new: keys and values, `[depth, B, T, G, H]` each.
    """

    def write(old: jax.Array, more: jax.Array) -> jax.Array:
        return old.at[rows[:, None], slots].set(jnp.moveaxis(more, 0, 2), mode="drop")

    return HistoryPool(write(pool.key, new[0]), write(pool.value, new[1]))
