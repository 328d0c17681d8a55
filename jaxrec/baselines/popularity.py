"""Popularity: every user gets the items that most training interactions are about.

Shapes: `B` batch, `H` history length, `I` items.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.cooccurrence import item_counts


def fit(train_sequences: Sequence[np.ndarray], num_items: int) -> dict[str, jax.Array]:
    """Count the training interactions of each item.

    Args:
      train_sequences: one int array a user, items in order of time.
      num_items: I.

    Returns:
      {"popularity": float32 [I]}.

    Raises:
      DataError: an item is outside 0..I-1, or there are no interactions.
    """
    return {"popularity": jnp.asarray(item_counts(train_sequences, num_items), jnp.float32)}


def scores(
    params: Mapping[str, np.ndarray | jax.Array], batch: Mapping[str, np.ndarray | jax.Array]
) -> jax.Array:
    """Score every item by its training count: batch["history"] int [B, H] -> float32 [B, I]."""
    popularity = jnp.asarray(params["popularity"])
    return jnp.broadcast_to(popularity[None, :], (len(batch["history"]), len(popularity)))
