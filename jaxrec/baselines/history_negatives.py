"""Items of the history in a score and in sampled softmax.

Two things are here: a bias of the items that were read, and these items as certain negatives.

    sum over the catalogue = target + items of the history + other items, estimated from draws

A model gives high scores to the items that it has just read, until it learns not to repeat them.
Draws teach that slowly. If a thousand of ten thousand items are drawn, only one batch in ten has a
given item, and the gradient of a softmax is at most 1 however large the weight of the item. So here
the sum counts the items of the history exactly, and draws of them are left out, which keeps the
estimate unbiased. It costs one product within each row.

Shapes: `B` batch, `T` tokens, `n` drawn items, `I` items, `D` model width.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.baselines.item_table import FIRST

# An optimizer that moves each parameter by its learning rate moves the bias by ten of them, so that
# it goes as far within a training as products of vectors do.
_SCALE = 10.0


def repeat_bias(params: Any) -> jax.Array:
    """Return what is added to the score of each item that was read: a scalar, 0 if none is learned.

    Example:
      >>> float(repeat_bias({"items": {"repeat": jnp.float32(-0.5)}})), float(repeat_bias({}))
      (-5.0, 0.0)
    """
    return _SCALE * params.get("items", {}).get("repeat", jnp.float32(0))


def add_to_read(scores: jax.Array, read: jax.Array, bias: jax.Array) -> jax.Array:
    """Add a number to the scores `[B, I]` of the items among the tokens `[B, T]`, once to each.

    Example:
      >>> read = FIRST + jnp.array([[1, 1, 2]])
      >>> add_to_read(jnp.zeros((1, 4)), read, jnp.float32(-1)).tolist()
      [[0.0, -1.0, -1.0, 0.0]]
    """
    items, real = _items(read, scores.shape[1])
    rows = jnp.arange(len(scores), dtype=jnp.int32)[:, None]
    # What lies beyond the end is dropped.
    at = jnp.where(real, items, scores.shape[1])
    was = jnp.zeros(scores.shape, bool).at[rows, at].set(True, mode="drop")
    return jnp.where(was, scores + bias, scores)


def history_scores(
    states: jax.Array, table: jax.Array, bias: jax.Array, read: jax.Array, target: jax.Array
) -> jax.Array:
    """Score the items that each state has read, each item once and without the target.

    Args:
      states: `[B, T, D]`.
      table: `[I, D]`.
      bias: `[I]`.
      read: `[B, T]` int32 tokens; the state at t has read those up to t.
      target: `[B, T]` int32 items.

    Returns:
      `[B, T, T]` float32, -inf where there is no item or not the last occurrence of one.

    Example:
      >>> table, read = jnp.array([[1.0], [2.0], [3.0]]), FIRST + jnp.array([[0, 1, 0]])
      >>> scores = history_scores(
      ...     jnp.ones((1, 3, 1)), table, jnp.zeros(3), read, jnp.array([[1, 2, 2]])
      ... )
      >>> scores[0].tolist()
      [[1.0, -inf, -inf], [1.0, 2.0, -inf], [-inf, 2.0, 1.0]]
    """
    items, real = _items(read, len(table))
    rows = jnp.take(table, items, axis=0, mode="clip")
    scores = jnp.einsum("btd,bsd->bts", states, rows, preferred_element_type=jnp.float32)
    scores = scores + jnp.take(bias, items, mode="clip")[:, None]
    place = jnp.arange(read.shape[1], dtype=jnp.int32)
    again = (items[:, :, None] == items[:, None]) & (place[:, None] < place[None])[None]
    # Where the item occurs next, so that of several occurrences only the last one counts.
    later = jnp.where(again, place[None, None], read.shape[1]).min(-1)
    counts = (place[None, None] <= place[None, :, None]) & (later[:, None] > place[None, :, None])
    counts = counts & real[:, None] & (items[:, None] != target[:, :, None])
    return jnp.where(counts, scores, -jnp.inf)


def was_read(drawn: jax.Array, read: jax.Array, num_items: int) -> jax.Array:
    """Whether each state has read a drawn item: `[n]` and tokens `[B, T]` to `[B, T, n]` bool.

    Example:
      >>> was_read(jnp.array([1, 4]), FIRST + jnp.array([[0, 1, 0]]), 5).tolist()
      [[[False, False], [True, False], [True, False]]]
    """
    items, real = _items(read, num_items)
    place = jnp.arange(read.shape[1], dtype=jnp.int32)
    same = (items[:, :, None] == drawn[None, None]) & real[:, :, None]
    first = jnp.where(same, place[None, :, None], read.shape[1]).min(1)
    return first[:, None] <= place[None, :, None]


def is_repeat(target: jax.Array, read: jax.Array, num_items: int) -> jax.Array:
    """Whether each target is among the items that were read: `[B, T]` twice to `[B, T]` bool.

    Example:
      >>> is_repeat(jnp.array([[1, 0, 2]]), FIRST + jnp.array([[0, 1, 0]]), 5).tolist()
      [[False, True, False]]
    """
    items, real = _items(read, num_items)
    place = jnp.arange(read.shape[1], dtype=jnp.int32)
    same = (items[:, None] == target[:, :, None]) & real[:, None]
    return (same & (place[None, None] <= place[None, :, None])).any(-1)


def _items(read: jax.Array, num_items: int) -> tuple[jax.Array, jax.Array]:
    """Items of tokens, and which tokens are items."""
    items = read - FIRST
    real = (items >= 0) & (items < num_items)
    return jnp.where(real, items, 0), real
