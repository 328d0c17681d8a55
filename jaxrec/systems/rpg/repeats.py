"""A learned bias of the items that were read, in RPG's scores.

    ln P(item) = sum_j ln P(c_j) + b [item was read]        up to a constant of the history

RPG predicts codes, and codes hardly tell an item that was read from those that resemble it, so its
lists hold items that the user has bought. One number b is therefore learned for whole items, by the
likelihood of the next item among the catalogue. The network has no gradient of this likelihood: b
is fitted to whatever it predicts. Where nobody comes back to an item b falls until such items are
last, and where people buy things again it rises.

Shapes: `B` users, `I` items, `L` places, `C` codes a place, `T` items read, `K` items of a list.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode import code_scores, own_scores

# An optimizer that moves each parameter by its learning rate moves b by ten of them, because
# sums of log-probabilities are tens apart.
_SCALE = 10.0
# Rows of a batch whose last prediction teaches b.
REPEAT_ROWS = 8
# Items of the catalogue that they are compared with. Of a larger one as many are drawn. Draws miss
# most of what a user may well choose, so that b falls further than it would by the whole catalogue.
_ITEMS = 16384


def repeat_bias(params: Any, levels: int) -> jax.Array:
    """Return what is added to the mean log-probability of an item that was read: a scalar.

    Example:
      >>> float(repeat_bias({"repeat": jnp.float32(-0.5)}, levels=2))
      -2.5
    """
    return _SCALE * params["repeat"] / levels


def repeat_loss(
    bias: jax.Array,
    table: jax.Array,
    codes: jax.Array,
    read: jax.Array,
    target: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Return minus the log-likelihood of the next item of some users, of which only `bias` learns.

    Args:
      bias: what is added to the mean log-probability of an item that was read.
      table: `[B, L, C]` log-probabilities of codes.
      codes: `[I, L]`.
      read: `[B, T]` int32 items, -1 for none.
      target: `[B]` int32 items, -1 for none.
      key: draws the items of a large catalogue.

    Returns:
      The sum over the users that have a target.

    Example:
      >>> table = jnp.log(jnp.array([[[0.5, 0.25, 0.25]]]))
      >>> given = table, jnp.array([[0], [1], [2]]), jnp.array([[0]]), jnp.array([1])
      >>> loss = repeat_loss(jnp.log(2.0), *given, jax.random.key(0))
      >>> round(float(jnp.exp(-loss)), 5)  # 1/4 of 2 * 1/2 + 1/4 + 1/4
      0.16667
    """
    table, (count, levels) = jax.lax.stop_gradient(table), codes.shape
    drawn, log_weight = jnp.arange(count, dtype=jnp.int32), jnp.float32(0)
    if count > _ITEMS:
        drawn = jax.random.randint(key, (_ITEMS,), 0, count, jnp.int32)
        log_weight = jnp.log(jnp.float32(count / _ITEMS))
    own = jnp.concatenate([target[:, None], read], axis=1)
    wanted = own_scores(table, jnp.take(codes, jnp.maximum(own, 0), axis=0, mode="clip")) * levels
    repeats = (read == target[:, None]).any(1)
    positive = wanted[:, 0] + jnp.where(repeats, levels * bias, 0.0)
    counts = last_of_equal(read) & (read >= 0) & (read != target[:, None])
    history = jnp.where(counts, wanted[:, 1:] + levels * bias, -jnp.inf)
    among = jnp.take(codes, drawn, axis=0)
    others = code_scores(table, among) * levels + log_weight
    known = (own[:, :, None] == drawn[None, None]).any(1)
    others = jnp.where(known, -jnp.inf, others)
    total = jax.nn.logsumexp(jnp.concatenate([positive[:, None], history, others], axis=1), axis=1)
    return jnp.where(target >= 0, total - positive, 0.0).sum()


def last_of_equal(items: jax.Array) -> jax.Array:
    """Mark the last of equal items in each row: `[B, T]` to `[B, T]` bool.

    Example:
      >>> last_of_equal(jnp.array([[4, 7, 4]])).tolist()
      [[False, True, True]]
    """
    place = jnp.arange(items.shape[1], dtype=jnp.int32)
    later = (items[:, :, None] == items[:, None]) & (place[:, None] < place[None])[None]
    return ~later.any(-1)


def own_with_bias(
    table: jax.Array, codes: jax.Array, items: jax.Array, read: jax.Array, bias: jax.Array
) -> jax.Array:
    """Score items of each user's own, `[B, n]`, some of which may have been read: `[B, n]`.

    Example:
      >>> table, codes = jnp.zeros((1, 1, 2)), jnp.array([[0], [1]])
      >>> own_with_bias(table, codes, jnp.array([[0, 1]]), jnp.array([[1]]), -2.0).tolist()
      [[0.0, -2.0]]
    """
    of_items = jnp.take(codes, jnp.maximum(items, 0), axis=0, mode="clip")
    was = (items[:, :, None] == read[:, None]).any(-1) & (items >= 0)
    return own_scores(table, of_items) + jnp.where(was, bias, 0.0)


def with_read(
    found: tuple[jax.Array, jax.Array],
    read: jax.Array,
    scores: jax.Array,
    excluded: jax.Array | None,
    allowed: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Put the items that were read into lists that were made without them.

    Args:
      found: `[B, K]` items and scores, best first, none of them read.
      read: `[B, T]` int32 items, -1 for none.
      scores: `[B, T]` theirs.
      excluded: `[B, X]` int32 items that are left out, -1 for none; or None.
      allowed: `[B, I]` bool, the only items that are ranked; or None.

    Returns:
      `[B, K]` items and scores, equal scores in the order of the item numbers.

    Example:
      >>> found = jnp.array([[5, 1]]), jnp.array([[3.0, 1.0]])
      >>> lists = with_read(found, jnp.array([[0, 4, 0]]), jnp.array([[2.0, 0, 2]]), None, None)
      >>> [x.tolist() for x in lists]
      [[[5, 0]], [[3.0, 2.0]]]
    """
    counts = (read >= 0) & last_of_equal(read)
    if excluded is not None:
        counts &= ~(read[:, :, None] == excluded[:, None]).any(-1)
    if allowed is not None:
        counts &= jnp.take_along_axis(allowed, jnp.maximum(read, 0), axis=1)
    items = jnp.concatenate([found[0], jnp.where(counts, read, -1)], axis=1)
    values = jnp.concatenate([found[1], jnp.where(counts, scores, -jnp.inf)], axis=1)
    order = jnp.lexsort((items, -values), axis=-1)[:, : found[0].shape[1]]
    return jnp.take_along_axis(items, order, axis=1), jnp.take_along_axis(values, order, axis=1)
