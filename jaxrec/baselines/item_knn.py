"""Item-to-item nearest neighbours: items met by the users who met the items of the history.

Cosine similarity with shrinkage, after Sarwar et al., Item-Based Collaborative Filtering
Recommendation Algorithms (2001). The shrinkage of rare items follows Bell and Koren, Scalable
Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights (2007).

Shapes: `B` batch, `H` history length, `I` items, `U` users.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxrec.baselines.cooccurrence import check_dense, flatten, sum_rows
from jaxrec.core import ConfigError


def fit(
    train_sequences: Sequence[np.ndarray], num_items: int, shrinkage: float = 20.0
) -> dict[str, jax.Array]:
    """Compute the similarity of all pairs of items from the users that they share.

    With n_i the number of users of item i and n_ij the number of users of both i and j,
    s_ij = n_ij / (sqrt(n_i n_j) + λ) and s_ii = 0. A user who met an item twice counts once.

    Args:
      train_sequences: one int array per user.
      num_items: I; the table of similarities takes 4·I² bytes.
      shrinkage: λ >= 0, which pulls pairs with few users to 0.

    Returns:
      {"similarity": float32 [I, I]}.

    Raises:
      ConfigError: `shrinkage` is negative, or the table would be too large
        (see `cooccurrence.MAX_ITEMS`).
      DataError: an item is outside 0..I-1, or there are no interactions.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import item_knn
      >>> histories = [np.array([0, 1]), np.array([1, 0]), np.array([2])]
      >>> params = item_knn.fit(histories, num_items=3, shrinkage=0.0)
      >>> params["similarity"].tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check_dense(num_items)
    if not shrinkage >= 0:
        raise ConfigError(f"shrinkage must be >= 0, got {shrinkage}")
    user, item, _ = flatten(train_sequences, num_items)
    shape = (len(train_sequences), num_items)
    met = scipy.sparse.csr_array((np.ones(len(item), np.float32), (user, item)), shape=shape)
    met.data[:] = 1.0  # building the matrix added up repeated pairs
    both = (met.T @ met).tocoo()
    n = np.asarray(met.sum(axis=0), np.float64)
    i, j = both.coords
    value = both.data / (np.sqrt(n[i] * n[j]) + shrinkage)
    similarity = np.zeros((num_items, num_items), np.float32)
    similarity[i, j] = np.where(i == j, 0.0, value)
    return {"similarity": jnp.asarray(similarity)}


def scores(
    params: Mapping[str, np.ndarray | jax.Array],
    batch: Mapping[str, np.ndarray | jax.Array],
    *,
    last: int | None = None,
) -> jax.Array:
    """Score item j by the sum of s_ij over the items i of the history.

    Args:
      params: returned by `fit`.
      batch: "history", int [B, H], padded on the left with -1, newest item last.
      last: how many of the most recent items count; None counts all H. Static under `jit`.

    Returns:
      float32 [B, I].

    Raises:
      ConfigError: `last` is below 1.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import item_knn
      >>> params = {"similarity": np.array([[0.0, 0.5], [0.5, 0.0]], np.float32)}
      >>> item_knn.scores(params, {"history": np.array([[-1, 0]])}).tolist()
      [[0.0, 0.5]]
    """
    return sum_rows(params["similarity"], batch["history"], lambda d: 1.0, last=last)
