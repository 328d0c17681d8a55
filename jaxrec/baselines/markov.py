"""First-order Markov chain: the next item depends on the last one only.

Shapes: `B` batch, `H` history length, `I` items.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.cooccurrence import check_dense, forward_counts, item_counts, sum_rows


def fit(train_sequences: Sequence[np.ndarray], num_items: int) -> dict[str, jax.Array]:
    """Count transitions between neighbours in time.

    Args:
      train_sequences: one int array a user, items in order of time.
      num_items: I; the table of transitions takes 4·I² bytes.

    Returns:
      {"transitions": float32 [I, I], from row to column; "popularity": float32 [I]}.

    Raises:
      ConfigError: the table would be too large (see `cooccurrence.MAX_ITEMS`).
      DataError: an item is outside 0..I-1, or there are no interactions.
    """
    check_dense(num_items)
    transitions = forward_counts(train_sequences, num_items, lambda d: 1.0, window=1)
    return {
        "transitions": jnp.asarray(transitions),
        "popularity": jnp.asarray(item_counts(train_sequences, num_items), jnp.float32),
    }


def scores(
    params: Mapping[str, np.ndarray | jax.Array], batch: Mapping[str, np.ndarray | jax.Array]
) -> jax.Array:
    """Score j by n(i -> j) + popularity(j) / (1 + max popularity), i the last item of the history.

    The second term is below 1, so it only orders the items that equal transition counts tie; it is
    all that a user without history gets.

    Args:
      params: from `fit`.
      batch: "history", int [B, H], padded on the left with -1, most recent item last.

    Returns:
      float32 [B, I].
    """
    popularity = jnp.asarray(params["popularity"])
    followed = sum_rows(params["transitions"], batch["history"], lambda d: 1.0, last=1)
    return followed + (popularity / (1 + popularity.max()))[None, :]
