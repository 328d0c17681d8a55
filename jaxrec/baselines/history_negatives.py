"""Items of the history as certain negatives of sampled softmax.

    sum over the catalogue = target + items of the history + other items, estimated from draws

A model scores the items that it has just read high until it learns not to repeat them. Among a
thousand of ten thousand drawn items a given one occurs once in ten batches, and when it does, its
weight lets it dominate the sum: that bounds its gradient, so its score stays too high. Counting the
history exactly removes that, at the cost of a product within each row, and the estimate of the sum
stays unbiased because draws of such items are left out.

Shapes: `B` batch, `T` tokens, `n` drawn items, `D` model width.
"""

import jax
import jax.numpy as jnp

from jaxrec.baselines.item_table import FIRST


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


def _items(read: jax.Array, num_items: int) -> tuple[jax.Array, jax.Array]:
    """Items of tokens, and which tokens are items."""
    items = read - FIRST
    real = (items >= 0) & (items < num_items)
    return jnp.where(real, items, 0), real
