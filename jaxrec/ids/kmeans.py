"""k-means for the quantizers: scikit-learn fits, a chunked matrix product assigns.

Shapes: `I` vectors, `D` their width, `C` centroids.
"""

import warnings

import numpy as np

from jaxrec.core.errors import DataError

# Rows a centroid to fit on; more barely moves the centroids (faiss draws the same line).
_ROWS_PER_CENTROID = 256


def fit_centroids(
    vectors: np.ndarray, size: int, seed: int, restarts: int = 3, iterations: int = 50
) -> np.ndarray:
    """Return centroids, float64 [c, D], with c = min(size, distinct vectors).

    The best of `restarts` runs from k-means++ seeds is kept. More than 256 rows a centroid are
    sampled down. Equal input and seed give equal centroids.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    vectors = np.asarray(vectors, np.float64)
    if len(vectors) > _ROWS_PER_CENTROID * size:
        chosen = rng.choice(len(vectors), _ROWS_PER_CENTROID * size, replace=False)
        vectors = vectors[np.sort(chosen)]
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= size:
        return distinct
    model = KMeans(
        n_clusters=size,
        n_init=restarts,
        max_iter=iterations,
        random_state=int(rng.integers(2**31)),
    )
    # One thread: threads add up partial sums in the order in which they finish, so that two fits
    # would differ in the last bits and now and then in a code.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors)
    return model.cluster_centers_


def squared_distances(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return ||x - c||^2 of every pair, float64 [I, C]."""
    vectors, centroids = np.asarray(vectors, np.float64), np.asarray(centroids, np.float64)
    # [I, D] x [C, D] -> [I, C]
    cross = np.einsum("id,cd->ic", vectors, centroids, optimize=True)
    norms = (vectors**2).sum(axis=1)[:, None] + (centroids**2).sum(axis=1)[None, :]
    return np.maximum(norms - 2 * cross, 0.0)


def nearest(vectors: np.ndarray, centroids: np.ndarray, chunk: int = 65536) -> np.ndarray:
    """Return int32 [I], the nearest centroid of each vector; ties go to the lower number."""
    out = np.empty(len(vectors), np.int32)
    for begin in range(0, len(vectors), chunk):
        part = slice(begin, begin + chunk)
        out[part] = squared_distances(vectors[part], centroids).argmin(axis=1)
    return out


def check_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return vectors as float64 [I, D].

    Raises:
      DataError: not a matrix, empty, or with entries that are not finite.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or vectors.size == 0:
        raise DataError(f"item vectors must be [items, width], got shape {vectors.shape}")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise DataError(
            f"the vector of item {int(np.argmin(finite))} has entries that are not finite"
        )
    return vectors
