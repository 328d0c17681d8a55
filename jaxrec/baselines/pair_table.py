"""Tables over pairs of items, of which most are 0: counted sparse, and read sparse or dense.

A dense table is faster and runs on any device, but takes 4·I² bytes. Above `MAX_ITEMS` items a
table stays a sparse matrix of SciPy in the memory of the host. Both forms hold the same numbers and
give the same scores.

Shapes: `B` batch, `H` history length, `I` items, `U` users, `E` interactions.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxrec.core import ConfigError, DataError, ResourceError, check_numbers

# A dense table takes 0.6 GB for 12,000 items and 1.6 GB for 20,000.
MAX_ITEMS = 20_000
# A sparse table takes 8 bytes for each pair, and twice that while it is made.
MAX_PAIRS = 300_000_000


def flatten(
    train_sequences: Sequence[np.ndarray], num_items: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Concatenate all sequences: the user, the item and the place in time of each interaction.

    Returns:
      Three int64 arrays [E].

    Raises:
      DataError: an item is outside 0..I-1, or there are no interactions.
    """
    lengths = np.array([len(items) for items in train_sequences], np.int64)
    if not lengths.sum():
        raise DataError("no training interactions to count")
    item = np.concatenate([np.asarray(items) for items in train_sequences]).astype(np.int64)
    if item.min() < 0 or item.max() >= num_items:
        wrong = item.min() if item.min() < 0 else item.max()
        raise DataError(f"training item {wrong} is outside 0..{num_items - 1}, the catalogue")
    user = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return user, item, place


def item_counts(train_sequences: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """Count the interactions of each item: int64 [I]. Raises the errors of `flatten`."""
    _, item, _ = flatten(train_sequences, num_items)
    return np.bincount(item, minlength=num_items)


def forward_counts(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    weight: Callable[[int], float],
    window: int,
) -> scipy.sparse.csr_array:
    """Sum weight(d) over all pairs (i, then j d places later), d = 1..window.

    Returns:
      Sparse float32 [I, I] with items i as rows and items j as columns.

    Raises:
      DataError: see `flatten`.
      ResourceError: there are more pairs than `MAX_PAIRS`.
    """
    user, item, _ = flatten(train_sequences, num_items)
    counts = scipy.sparse.csr_array((num_items, num_items), dtype=np.float64)
    for d in range(1, window + 1):
        same = user[:-d] == user[d:]
        pair = (item[:-d][same], item[d:][same])
        ones = np.full(len(pair[0]), float(weight(d)))
        counts = counts + scipy.sparse.csr_array((ones, pair), shape=counts.shape)
        check_pairs(counts.nnz)
    return counts.astype(np.float32)


def row_blocks(cost: np.ndarray, most: int) -> Iterable[slice]:
    """Cut rows into blocks whose costs add up to at most `most`, or that are one row.

    Example:
      >>> [(b.start, b.stop) for b in row_blocks(np.array([2, 2, 9, 1]), most=4)]
      [(0, 2), (2, 3), (3, 4)]
    """
    ends, first = np.cumsum(cost), 0
    while first < len(cost):
        done = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, done + most, "right")), first + 1)
        yield slice(first, last)
        first = last


def check_pairs(pairs: int) -> None:
    """Reject a table of more pairs than fit in memory.

    Raises:
      ResourceError: there are more than `MAX_PAIRS`.
    """
    if pairs > MAX_PAIRS:
        raise ResourceError(
            f"a table of more than {MAX_PAIRS:,} pairs of items does not fit in memory; filter the "
            "data with a larger k-core, or shorten the longest histories"
        )


def finished(table: scipy.sparse.csr_array, sparse: bool | None) -> Any:
    """Return a table in the form that is scored.

    Args:
      table: sparse float32 [I, I].
      sparse: whether it stays sparse; None for what suits the number of items.

    Raises:
      ConfigError: a dense table of more than `MAX_ITEMS` items.
    """
    num_items = table.shape[0]
    if sparse is None:
        sparse = num_items > MAX_ITEMS
    if sparse:
        return table
    if num_items > MAX_ITEMS:
        raise ConfigError(
            f"a dense table of {num_items:,} items takes {4 * num_items**2 / 1e9:.0f} GB, and at "
            f"most {MAX_ITEMS:,} items are allowed; leave sparse at None"
        )
    return jnp.asarray(table.toarray())


def sum_rows(
    table: Any,
    history: np.ndarray | jax.Array,
    weight: Callable[[int], float],
    *,
    last: int | None = None,
) -> jax.Array:
    """Sum weight(d) · table[i] over the items i of each history, d = 1 for the most recent item.

    Args:
      table: float32 [I, I], dense or a SciPy matrix. With a SciPy matrix this runs on the host, so
        it cannot be traced.
      history: int [B, H], padded on the left with -1, newest item last.
      weight: maps d, the place counted from the end, to the weight of its item.
      last: how many of the most recent items count; None counts all H.

    Returns:
      float32 [B, I]; zeros for an empty history.

    Raises:
      ConfigError: `last` is below 1.
      DataError: an item outside the catalogue.
    """
    if last is not None and last < 1:
        raise ConfigError(f"last must be at least 1, got {last}")
    check_numbers(history, table.shape[0], "items of a history")
    if scipy.sparse.issparse(table):
        return jnp.asarray(_sum_sparse_rows(table, np.asarray(history), weight, last))
    table, history = jnp.asarray(table), jnp.asarray(history)
    recent = history[:, ::-1][:, :last]  # [B, H], most recent first
    # A negative index would wrap around; an index past the end reads as zeros.
    recent = jnp.where(recent < 0, table.shape[0], recent)
    weights = jnp.array([weight(d) for d in range(1, recent.shape[1] + 1)], table.dtype)

    def add(total: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        items, weight_d = step  # [B], []
        return total + weight_d * table.at[items].get(mode="fill", fill_value=0), None

    # The scan adds one place at a time, which takes [B, I] of memory instead of [B, H, I].
    zeros = jnp.zeros((len(history), table.shape[1]), table.dtype)
    return jax.lax.scan(add, zeros, (recent.T, weights))[0]


def _sum_sparse_rows(
    table: scipy.sparse.csr_array,
    history: np.ndarray,
    weight: Callable[[int], float],
    last: int | None,
) -> np.ndarray:
    """Compute `sum_rows` as a product of sparse matrices: float32 [B, I]."""
    recent = history[:, ::-1][:, :last]
    weights = np.array([weight(d) for d in range(1, recent.shape[1] + 1)], np.float32)
    row, place = np.nonzero(recent >= 0)
    # SciPy adds the rows of the table in the order of these entries, like the dense form.
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(recent)))])
    read = scipy.sparse.csr_array(
        (weights[place], recent[row, place], starts), shape=(len(recent), table.shape[0])
    )
    return (read @ table).toarray()
