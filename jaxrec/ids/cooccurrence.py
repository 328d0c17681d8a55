"""Co-occurrence: training histories as columns, and co-occurring items as a sparse graph.

Shapes: `I` items, `U` users, `n` interactions.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError

Weighting = Literal["counts", "ppmi", "degree"]

# Context smoothing of the PMI: Levy, Goldberg and Dagan, 2015, section 3.1.
SMOOTHING = 0.75


def flat(train_sequences: Sequence[np.ndarray], num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (user, item) of all training interactions, each int64 [n].

    Raises:
      DataError: there are no interactions, or an item number is outside 0..I-1.
    """
    lengths = np.array([len(sequence) for sequence in train_sequences], np.int64)
    if lengths.sum() == 0:
        raise DataError("no training interactions to learn items from")
    items = np.concatenate([np.asarray(s, np.int64) for s in train_sequences])
    if items.min() < 0 or items.max() >= num_items:
        raise DataError(f"item numbers {items.min()}..{items.max()} do not fit 0..{num_items - 1}")
    return np.repeat(np.arange(len(lengths)), lengths), items


def cooccurrence(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    *,
    window: int | None = None,
    decay: float = 1.0,
) -> Any:
    """Return how often two items co-occur, sparse symmetric [I, I] with a zero diagonal.

    With `window=None`, two items of one history count once per user. Otherwise they count each time
    they are d <= window positions apart, with weight decay^(d-1).

    Raises:
      ConfigError: the window is below 1, decay is outside (0, 1], or decay has no window.
      DataError: there are no interactions, or an item number is outside 0..I-1.

    Example:
      >>> cooccurrence([np.array([0, 1, 2])], 3, window=1).toarray().tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    if window is not None and window < 1:
        raise ConfigError(f"window must be at least 1 or None, got {window}")
    if not 0 < decay <= 1:
        raise ConfigError(f"decay must be in (0, 1], got {decay}")
    if window is None and decay != 1:
        raise ConfigError(f"decay {decay} needs a window; set window, or set decay to 1")
    users, items = flat(train_sequences, num_items)
    return _counts(users, items, len(train_sequences), num_items, window, decay)


def ppmi(counts: Any, smoothing: float = SMOOTHING) -> Any:
    """Return the positive pointwise mutual information of counts, sparse [I, I].

    It is max(0, log( n(i, j) / n(i) * sum_k n~(k) / n~(j) )) with n~(j) = n(j)^smoothing.
    """
    counts = counts.tocoo(copy=True)
    total = np.asarray(counts.sum(axis=1)).ravel()
    context = np.where(total > 0, total, 1) ** smoothing * (total > 0)
    i, j = counts.row, counts.col
    counts.data = np.maximum(0, np.log(counts.data / total[i] * context.sum() / context[j]))
    counts = counts.tocsr()
    counts.eliminate_zeros()
    return counts


def weighted(counts: Any, weighting: Weighting) -> Any:
    """Return counts [I, I] unchanged, as positive PMI, or weighted by the items' degrees.

    "ppmi" averages both directions, because smoothing makes them differ. "degree" divides by the
    root of the product of both rows' sums.

    Raises:
      ConfigError: the weighting is unknown.
    """
    import scipy.sparse as sp

    if weighting not in get_args(Weighting):
        known = ", ".join(get_args(Weighting))
        raise ConfigError(f"unknown weighting {weighting!r}; weightings: {known}")
    if weighting == "counts" or counts.nnz == 0:
        return counts
    if weighting == "ppmi":
        one_way = ppmi(counts)
        return ((one_way + one_way.T) / 2).tocsr()
    degree = np.asarray(counts.sum(axis=1)).ravel()
    scale = sp.diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1.0)))
    return (scale @ counts @ scale).tocsr()


def _counts(
    users: np.ndarray,
    items: np.ndarray,
    num_users: int,
    num_items: int,
    window: int | None,
    decay: float,
) -> Any:
    """Return symmetric co-occurrence counts, sparse [I, I] with an empty diagonal."""
    import scipy.sparse as sp

    # Sparse matrices keep the integer type of their coordinates; int32 halves the memory.
    users, items = users.astype(np.int32), items.astype(np.int32)
    if window is None:
        one = np.ones(len(items), np.int32)
        seen = sp.csr_array((one, (users, items)), shape=(num_users, num_items))
        seen.data[:] = 1  # a repeated item counts once
        counts = (seen.T @ seen).tocsr()
    else:
        shape = (num_items, num_items)
        counts = sp.csr_array(shape, dtype=np.float64)
        for distance in range(1, min(window, len(items) - 1) + 1):
            same = users[distance:] == users[:-distance]
            if not same.any():
                break
            pair = (items[:-distance][same], items[distance:][same])
            weight = np.full(len(pair[0]), decay ** (distance - 1))
            counts = counts + sp.csr_array((weight, pair), shape=shape)
        counts = (counts + counts.T).tocsr()
    counts.setdiag(0)
    counts.eliminate_zeros()
    return counts
