"""Decayed forward co-occurrence: items that followed the last items, weighted by distance.

A sequential baseline without training that trained models often fail to beat.

Shapes: `B` batch, `H` history length, `I` items.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.pair_table import finished, forward_counts, item_counts, sum_rows
from jaxrec.core import ConfigError


def fit(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    *,
    window: int = 10,
    smoothing: float = 5.0,
    sparse: bool | None = None,
) -> dict[str, Any]:
    """Estimate which items follow each item; close followers count more than distant ones.

    With the sum over all pairs in which j stands d <= w places after i in one sequence,
    c_ij = Σ 1 / d and p_ij = c_ij / (Σ_j c_ij + κ).

    Args:
      train_sequences: one int array per user, items in chronological order.
      num_items: I.
      window: w >= 1.
      smoothing: κ >= 0, which pulls the rows of rare items to 0.
      sparse: whether the table is a sparse matrix of SciPy, which cannot be traced, or a dense
        array of 4·I² bytes; None for a sparse one above `pair_table.MAX_ITEMS` items.

    Returns:
      {"follows": float32 [I, I], p from row to column; "popularity": float32 [I]}.

    Raises:
      ConfigError: a setting is out of range, or a dense table would be too large.
      ResourceError: there are too many pairs for a sparse table (see `pair_table.MAX_PAIRS`).
      DataError: an item is outside 0..I-1, or there are no interactions.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import cooccurrence
      >>> params = cooccurrence.fit([np.array([0, 1, 2])], num_items=3, smoothing=0.5)
      >>> params["follows"].tolist()  # 1 and 1/2 over 3/2 + 1/2; 1 over 1 + 1/2
      [[0.0, 0.5, 0.25], [0.0, 0.0, 0.6666666865348816], [0.0, 0.0, 0.0]]
    """
    if window < 1 or not smoothing >= 0:
        raise ConfigError(
            f"window {window} must be at least 1 and smoothing {smoothing} must be at least 0"
        )
    c = forward_counts(train_sequences, num_items, lambda d: 1 / d, window)
    # Rows without pairs have nothing to divide. The sums are of float64, so that they do not depend
    # on the order of the pairs.
    total = (c.sum(axis=1, dtype=np.float64) + smoothing).astype(np.float32)
    c.data /= np.repeat(total, np.diff(c.indptr))
    return {
        "follows": finished(c, sparse),
        "popularity": jnp.asarray(item_counts(train_sequences, num_items), jnp.float32),
    }


def scores(
    params: Mapping[str, Any],
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
