"""Popularity: every user gets the items with the most training interactions.

Shapes: `B` batch, `H` history length, `I` items.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines.pair_table import item_counts


def fit(train_sequences: Sequence[np.ndarray], num_items: int) -> dict[str, jax.Array]:
    """Count the training interactions of each item.

    Args:
      train_sequences: one int array per user, items in chronological order.
      num_items: I.

    Returns:
      {"popularity": float32 [I]}.

    Raises:
      DataError: an item is outside 0..I-1, or there are no interactions.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import popularity
      >>> popularity.fit([np.array([2, 0]), np.array([2])], num_items=3)["popularity"].tolist()
      [1.0, 0.0, 2.0]
    """
    return {"popularity": jnp.asarray(item_counts(train_sequences, num_items), jnp.float32)}


def scores(
    params: Mapping[str, np.ndarray | jax.Array], batch: Mapping[str, np.ndarray | jax.Array]
) -> jax.Array:
    """Score every item by its training count: batch["history"], int [B, H], to float32 [B, I].

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import popularity
      >>> params = {"popularity": np.array([1.0, 0.0, 2.0], np.float32)}
      >>> popularity.scores(params, {"history": np.array([[0], [1]])}).tolist()
      [[1.0, 0.0, 2.0], [1.0, 0.0, 2.0]]
    """
    popularity = jnp.asarray(params["popularity"])
    return jnp.broadcast_to(popularity[None, :], (len(batch["history"]), len(popularity)))
