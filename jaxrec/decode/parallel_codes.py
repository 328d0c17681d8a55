"""Exact ranking of items whose codes are predicted in parallel (Hou et al. 2025, "RPG").

The score of an item is the mean over the places of its ID of a number for the code there:

    score(b, i) = mean_l table[b, l, codes[i, l]]

where the table holds log-probabilities of codes, or similarities to the codes of another item. A
whole catalogue is ranked in chunks of items, and only the best of each user are kept, so that the
memory does not grow with users times items.

Shapes: `B` users, `I` items, `L` levels, `C` codes a level, `K` items of a list.
"""

import functools

import jax
import jax.numpy as jnp

from jaxrec.kernels import grouped_top_k

# Items scored at once by `exact_top`.
CHUNK = 8192


def code_scores(table: jax.Array, codes: jax.Array) -> jax.Array:
    """Score the same items for all users: `[B, L, C]` and `[n, L]` int to `[B, n]` float32.

    Example:
      >>> table = jnp.array([[[0.0, 1.0], [4.0, 2.0]]])
      >>> code_scores(table, jnp.array([[0, 0], [1, 1]])).tolist()
      [[2.0, 1.5]]
    """
    # Users stand last, so that a code takes one contiguous row with a number for each user.
    return _by_item(jnp.moveaxis(table, 0, -1), codes).T


def _by_item(table: jax.Array, codes: jax.Array) -> jax.Array:
    """Score items: `[L, C, B]` and `[n, L]` to `[n, B]`."""

    def add(total: jax.Array, place: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        rows, code = place
        return total + jnp.take(rows, code.astype(jnp.int32), axis=0, mode="clip"), None

    total = jnp.zeros((len(codes), table.shape[2]), jnp.float32)
    return jax.lax.scan(add, total, (table, codes.T))[0] / table.shape[0]


def own_scores(table: jax.Array, codes: jax.Array) -> jax.Array:
    """Score items of each user's own: `[B, L, C]` and `[B, n, L]` int to `[B, n]` float32.

    Example:
      >>> table = jnp.array([[[0.0, 1.0], [4.0, 2.0]]])
      >>> own_scores(table, jnp.array([[[0, 0], [1, 1]]])).tolist()
      [[2.0, 1.5]]
    """
    batch, levels, size = table.shape
    # One flat take a place: rows of users begin every C numbers.
    begins = jnp.arange(batch, dtype=jnp.int32)[:, None] * size

    def add(total: jax.Array, place: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        rows, code = place
        flat = begins + code.astype(jnp.int32)
        return total + jnp.take(rows.reshape(-1), flat, mode="clip"), None

    total = jnp.zeros(codes.shape[:2], jnp.float32)
    places = jnp.moveaxis(table, 1, 0), jnp.moveaxis(codes, 2, 0)
    return jax.lax.scan(add, total, places)[0] / levels


@functools.partial(jax.jit, static_argnames=("top", "chunk"))
def exact_top(
    table: jax.Array,
    codes: jax.Array,
    top: int,
    excluded: jax.Array | None = None,
    allowed: jax.Array | None = None,
    chunk: int = CHUNK,
) -> tuple[jax.Array, jax.Array]:
    """Return the best items of each user, by scoring the whole catalogue in chunks.

    Args:
      table: `[B, L, C]` log-probabilities of the codes at each place.
      codes: `[I, L]` int, the IDs of all items; uint8 takes a quarter of the memory of int32.
      top: K, at most I.
      excluded: `[B, X]` int32, items that are left out, -1 for none; None to leave out nothing.
      allowed: `[B, I]` bool, the only items that are ranked; None for all.
      chunk: items scored at once.

    Returns:
      `[B, K]` int32 items, best first, equal scores in the order of the item numbers, -1 where no
      item is left; and `[B, K]` float32 scores, -inf there.

    Example:
      >>> table = jnp.array([[[0.0, 1.0], [4.0, 2.0]]])
      >>> items, scores = exact_top(table, jnp.array([[0, 1], [1, 0], [0, 0]]), top=2)
      >>> items.tolist(), scores.tolist()
      ([[1, 2]], [[2.5, 2.0]])
    """
    count = len(codes)
    chunk = max(min(chunk, count), top)
    parts = -(-count // chunk)
    by_code = jnp.moveaxis(table, 0, -1)  # [L, C, B]

    def rank(
        best: tuple[jax.Array, jax.Array], number: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        # The last chunk ends with the catalogue, so it repeats some items of the one before.
        begin = jnp.minimum(number * chunk, count - chunk) if count >= chunk else jnp.int32(0)
        part = jax.lax.dynamic_slice_in_dim(codes, begin, chunk)
        scores = _by_item(by_code, part).T  # [B, chunk]
        item = begin + jnp.arange(chunk, dtype=jnp.int32)
        scores = jnp.where((item >= number * chunk)[None], scores, -jnp.inf)
        if excluded is not None:
            rows = jnp.arange(len(scores), dtype=jnp.int32)[:, None]
            # A negative place would count from the end; all places beyond the end are dropped.
            place = jnp.where(excluded >= begin, excluded - begin, chunk)
            scores = scores.at[rows, place].set(-jnp.inf, mode="drop")
        if allowed is not None:
            shown = jax.lax.dynamic_slice_in_dim(allowed, begin, chunk, axis=1)
            scores = jnp.where(shown, scores, -jnp.inf)
        value, place = grouped_top_k(scores, top)
        # The earlier items come first, and win where scores are equal.
        values = jnp.concatenate([best[1], value], axis=1)
        items = jnp.concatenate([best[0], place + begin], axis=1)
        value, place = jax.lax.top_k(values, top)
        return (jnp.take_along_axis(items, place, axis=1), value), None

    shape = (len(table), top)
    start = jnp.full(shape, -1, jnp.int32), jnp.full(shape, -jnp.inf, jnp.float32)
    (items, scores), _ = jax.lax.scan(rank, start, jnp.arange(parts, dtype=jnp.int32))
    return jnp.where(jnp.isneginf(scores), -1, items), scores
