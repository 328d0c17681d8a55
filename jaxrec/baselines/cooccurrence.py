"""Decayed forward co-occurrence: items that followed the last items, weighted by distance.

A sequential baseline without training that trained models often fail to beat. The counting helpers
of this file also serve the other counting baselines.

Shapes: `B` batch, `H` history length, `I` items, `U` users, `E` interactions.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxrec.core import ConfigError, DataError, check_numbers

# A table of all pairs of items takes 4·I² bytes: 0.6 GB for 12,000 items, 1.6 GB for 20,000.
MAX_ITEMS = 20_000


def check_dense(num_items: int) -> None:
    """Reject a catalogue that is too large for a table of all pairs of items.

    Raises:
      ConfigError: there are more than `MAX_ITEMS` items.
    """
    if num_items > MAX_ITEMS:
        raise ConfigError(
            f"{num_items} items need a table of {4 * num_items**2 / 1e9:.0f} GB, but counting "
            f"baselines over pairs take at most {MAX_ITEMS} items; filter the data with a larger "
            "k-core"
        )


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
) -> np.ndarray:
    """Sum weight(d) over all pairs (i, then j d places later), d = 1..window: float32 [I, I].

    Items i are rows and items j are columns. Raises the errors of `flatten`.
    """
    user, item, _ = flatten(train_sequences, num_items)
    counts = scipy.sparse.csr_array((num_items, num_items), dtype=np.float64)
    for d in range(1, window + 1):
        same = user[:-d] == user[d:]
        pair = (item[:-d][same], item[d:][same])
        ones = np.full(len(pair[0]), float(weight(d)))
        counts = counts + scipy.sparse.csr_array((ones, pair), shape=counts.shape)
    return counts.astype(np.float32).toarray()


def sum_rows(
    table: np.ndarray | jax.Array,
    history: np.ndarray | jax.Array,
    weight: Callable[[int], float],
    *,
    last: int | None = None,
) -> jax.Array:
    """Sum weight(d) · table[i] over the items i of each history, d = 1 for the most recent item.

    Args:
      table: float32 [I, I].
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


def fit(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    *,
    window: int = 10,
    smoothing: float = 5.0,
) -> dict[str, jax.Array]:
    """Estimate which items follow each item; close followers count more than distant ones.

    With the sum over all pairs in which j stands d <= w places after i in one sequence,
    c_ij = Σ 1 / d and p_ij = c_ij / (Σ_j c_ij + κ).

    Args:
      train_sequences: one int array per user, items in chronological order.
      num_items: I; the table of pairs takes 4·I² bytes.
      window: w >= 1.
      smoothing: κ >= 0, which pulls the rows of rare items to 0.

    Returns:
      {"follows": float32 [I, I], p from row to column; "popularity": float32 [I]}.

    Raises:
      ConfigError: a setting is out of range, or the table would be too large (see `MAX_ITEMS`).
      DataError: an item is outside 0..I-1, or there are no interactions.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import cooccurrence
      >>> params = cooccurrence.fit([np.array([0, 1, 2])], num_items=3, smoothing=0.5)
      >>> params["follows"].tolist()  # 1 and 1/2 over 3/2 + 1/2; 1 over 1 + 1/2
      [[0.0, 0.5, 0.25], [0.0, 0.0, 0.6666666865348816], [0.0, 0.0, 0.0]]
    """
    check_dense(num_items)
    if window < 1 or not smoothing >= 0:
        raise ConfigError(
            f"window {window} must be at least 1 and smoothing {smoothing} must be at least 0"
        )
    c = forward_counts(train_sequences, num_items, lambda d: 1 / d, window)
    total = c.sum(axis=1, keepdims=True) + np.float32(smoothing)
    # The division is in place because the table is large. A row without pairs stays zero.
    c /= np.where(total > 0, total, 1)
    return {
        "follows": jnp.asarray(c),
        "popularity": jnp.asarray(item_counts(train_sequences, num_items), jnp.float32),
    }


def scores(
    params: Mapping[str, np.ndarray | jax.Array],
    batch: Mapping[str, np.ndarray | jax.Array],
    *,
    last: int = 10,
    decay: float = 0.8,
    popularity_weight: float = 1e-6,
) -> jax.Array:
    """Score item j by Σ β^(d - 1) p_ij + ε n_j over the last items i of the history.

    d = 1 for the most recent item. The training count n_j orders the items that co-occurrence does
    not tell apart, and all items for a user without a history.

    Args:
      params: returned by `fit`.
      batch: "history", int [B, H], padded on the left with -1, newest item last.
      last: how many of the most recent items count. Static under `jit`.
      decay: β in (0, 1]. Static under `jit`.
      popularity_weight: ε.

    Returns:
      float32 [B, I].

    Raises:
      ConfigError: `last` is below 1 or `decay` is out of range.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import cooccurrence
      >>> params = {"follows": np.eye(2, dtype=np.float32), "popularity": np.array([4.0, 2.0])}
      >>> batch = {"history": np.array([[1, 0]])}  # item 0 is the most recent
      >>> cooccurrence.scores(params, batch, decay=0.5, popularity_weight=0.0).tolist()
      [[1.0, 0.5]]
    """
    if not 0 < decay <= 1:
        raise ConfigError(f"decay must be above 0 and at most 1, got {decay}")
    near = sum_rows(params["follows"], batch["history"], lambda d: decay ** (d - 1), last=last)
    return near + (popularity_weight * jnp.asarray(params["popularity"]))[None, :]
