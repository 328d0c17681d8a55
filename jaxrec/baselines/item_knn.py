"""Item-to-item nearest neighbours: items met by the users who met the items of the history.

Cosine similarity with shrinkage, after Sarwar et al., Item-Based Collaborative Filtering
Recommendation Algorithms (2001). The shrinkage of rare items follows Bell and Koren, Scalable
Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights (2007).

Shapes: `B` batch, `H` history length, `I` items, `U` users.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import scipy.sparse

from jaxrec.baselines.pair_table import check_pairs, finished, flatten, row_blocks, sum_rows
from jaxrec.core import ConfigError

# Most pairs that are counted in one step, at about 60 bytes each.
_PAIRS_AT_ONCE = 4_000_000


def fit(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    shrinkage: float = 20.0,
    *,
    sparse: bool | None = None,
) -> dict[str, Any]:
    """Compute the similarity of all pairs of items from the users that they share.

    With n_i the number of users of item i and n_ij the number of users of both i and j,
    s_ij = n_ij / (sqrt(n_i n_j) + λ) and s_ii = 0. A user who met an item twice counts once.

    Args:
      train_sequences: one int array per user.
      num_items: I.
      shrinkage: λ >= 0, which pulls pairs with few users to 0.
      sparse: whether the table is a sparse matrix of SciPy, which cannot be traced, or a dense
        array of 4·I² bytes; None for a sparse one above `pair_table.MAX_ITEMS` items.

    Returns:
      {"similarity": float32 [I, I]}.

    Raises:
      ConfigError: `shrinkage` is negative, or a dense table would be too large.
      ResourceError: there are too many pairs for a sparse table (see `pair_table.MAX_PAIRS`).
      DataError: an item is outside 0..I-1, or there are no interactions.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import item_knn
      >>> histories = [np.array([0, 1]), np.array([1, 0]), np.array([2])]
      >>> params = item_knn.fit(histories, num_items=3, shrinkage=0.0)
      >>> params["similarity"].tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if not shrinkage >= 0:
        raise ConfigError(f"shrinkage must be >= 0, got {shrinkage}")
    user, item, _ = flatten(train_sequences, num_items)
    shape = (len(train_sequences), num_items)
    met = scipy.sparse.csr_array((np.ones(len(item), np.float32), (user, item)), shape=shape)
    met.data[:] = 1.0  # building the matrix added up repeated pairs
    root = np.sqrt(np.asarray(met.sum(axis=0), np.float64))
    items = met.T.tocsr()
    # An item has at most as many neighbours as its users have items.
    most = np.minimum(items @ met.sum(axis=1, dtype=np.float64), num_items)
    blocks, pairs = [], 0
    for rows in row_blocks(most, _PAIRS_AT_ONCE):
        both = items[rows] @ met
        i = np.repeat(np.arange(rows.start, rows.stop), np.diff(both.indptr))
        value = both.data / (root[i] * root[both.indices] + shrinkage)
        value[i == both.indices] = 0.0
        both.data = value.astype(np.float32)
        blocks.append(both)
        pairs += both.nnz
        check_pairs(pairs)
    similarity = scipy.sparse.csr_array(scipy.sparse.vstack(blocks, format="csr"))
    return {"similarity": finished(similarity, sparse)}


def scores(
    params: Mapping[str, Any],
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
