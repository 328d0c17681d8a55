"""First-order Markov chain: the next item depends only on the last one.

Shapes: `B` batch, `H` history length, `I` items.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.pair_table import finished, forward_counts, item_counts, sum_rows


def fit(
    train_sequences: Sequence[np.ndarray], num_items: int, *, sparse: bool | None = None
) -> dict[str, Any]:
    """Count the transitions between consecutive items.

    Args:
      train_sequences: one int array per user, items in chronological order.
      num_items: I.
      sparse: whether the table is a sparse matrix of SciPy, which cannot be traced, or a dense
        array of 4·I² bytes; None for a sparse one above `pair_table.MAX_ITEMS` items.

    Returns:
      {"transitions": float32 [I, I], counts from row to column; "popularity": float32 [I]}.

    Raises:
      ConfigError: a dense table would be too large.
      ResourceError: there are too many pairs for a sparse table (see `pair_table.MAX_PAIRS`).
      DataError: an item is outside 0..I-1, or there are no interactions.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import markov
      >>> params = markov.fit([np.array([0, 1, 0, 1]), np.array([1, 2])], num_items=3)
      >>> params["transitions"].tolist()
      [[0.0, 2.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    transitions = forward_counts(train_sequences, num_items, lambda d: 1.0, window=1)
    return {
        "transitions": finished(transitions, sparse),
        "popularity": jnp.asarray(item_counts(train_sequences, num_items), jnp.float32),
    }


def scores(params: Mapping[str, Any], batch: Mapping[str, np.ndarray | jax.Array]) -> jax.Array:
    """Score item j by n(i -> j) + popularity(j) / (1 + max popularity).

    i is the last item of the history. The second term is below 1: it orders items with equal
    transition counts, and it is the only term for a user without a history.

    Args:
      params: returned by `fit`.
      batch: "history", int [B, H], padded on the left with -1, newest item last.

    Returns:
      float32 [B, I].

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import markov
      >>> transitions = np.array([[0.0, 2.0], [1.0, 0.0]], np.float32)
      >>> params = {"transitions": transitions, "popularity": np.array([3, 1], np.float32)}
      >>> markov.scores(params, {"history": np.array([[1, 0]])}).tolist()
      [[0.75, 2.25]]
    """
    popularity = jnp.asarray(params["popularity"])
    followed = sum_rows(params["transitions"], batch["history"], lambda d: 1.0, last=1)
    return followed + (popularity / (1 + popularity.max()))[None, :]
