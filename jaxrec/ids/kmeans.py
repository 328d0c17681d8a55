"""k-means for the quantizers, on the CPU or, for large inputs, on the accelerator.

Shapes: `I` vectors, `D` their width, `C` centroids.
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import DataError
from jaxrec.ids._threads import one_thread
from jaxrec.ids.kmeans_device import fit_on_device

# Rows per centroid to fit on; more rows barely move the centroids (faiss uses the same limit).
_ROWS_PER_CENTROID = 256
# For inputs of so many numbers, one short run in float32 is within a percent of the best of three.
_LARGE, _LARGE_ITERATIONS = 1 << 20, 25
_MOST_DISTINCT = 1 << 14
# Rows per centroid among which the seeds of a large input are drawn.
_SEED_ROWS = 16


def fit_centroids(
    vectors: np.ndarray, size: int, seed: int, restarts: int = 3, iterations: int = 50
) -> np.ndarray:
    """Return centroids, float64 [c, D], with c = min(size, distinct vectors).

    The best of `restarts` runs from k-means++ seeds is kept. Large inputs get one run in float32.
    If there are more than 256 rows per centroid, a sample of them is used. Equal input and seed
    give equal centroids.
    """
    return fit_many([vectors], [size], [seed], restarts, iterations)[0]


def fit_many(
    parts: Sequence[np.ndarray],
    sizes: Sequence[int],
    seeds: Sequence[int],
    restarts: int = 3,
    iterations: int = 50,
) -> list[np.ndarray]:
    """Return the centroids of several sets of vectors, fitted in parallel as by `fit_centroids`."""

    def fit(job: tuple[np.ndarray, int, int]) -> np.ndarray:
        return _fit(*job, restarts, iterations)

    jobs = list(zip(parts, sizes, seeds, strict=True))
    # Fits run in parallel with one thread each. OpenMP's limit applies per calling thread.
    with (
        one_thread("sklearn.cluster"),
        ThreadPoolExecutor(os.cpu_count(), initializer=one_thread) as pool,
    ):
        return list(pool.map(fit, jobs))


def _fit(vectors: np.ndarray, size: int, seed: int, restarts: int, iterations: int) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rng = np.random.default_rng(seed)
    vectors = np.asarray(vectors)
    if len(vectors) > _ROWS_PER_CENTROID * size:
        chosen = rng.choice(len(vectors), _ROWS_PER_CENTROID * size, replace=False)
        vectors = vectors[np.sort(chosen)]
    large = vectors.size > _LARGE
    vectors = vectors.astype(np.float32 if large else np.float64)
    if len(vectors) <= _MOST_DISTINCT or not large:
        distinct = np.unique(vectors, axis=0)
        if len(distinct) <= size:
            return distinct.astype(np.float64)
    if large:
        iterations = min(iterations, _LARGE_ITERATIONS)
        if jax.default_backend() == "cpu":
            return _lloyd(vectors, size, rng, iterations).astype(np.float64)
        key = jax.random.key(int(rng.integers(2**31)))
        return np.asarray(fit_on_device(jnp.asarray(vectors), size, key, iterations), np.float64)
    model = KMeans(
        n_clusters=size,
        n_init=restarts,
        max_iter=iterations,
        random_state=int(rng.integers(2**31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors)
    return model.cluster_centers_.astype(np.float64)


def _lloyd(vectors: np.ndarray, size: int, rng: np.random.Generator, iterations: int) -> np.ndarray:
    """Return centroids float32 [C, D] of float32 vectors, from k-means++ seeds among some rows.

    This is several times faster than scikit-learn, which reads the rows once for each centroid.
    """
    from scipy.sparse import csr_array
    from sklearn.cluster import kmeans_plusplus

    few = rng.choice(len(vectors), min(len(vectors), _SEED_ROWS * size), replace=False)
    seed = int(rng.integers(2**31))
    centroids = kmeans_plusplus(vectors[few], size, random_state=seed)[0]
    rows = np.arange(len(vectors))
    for _ in range(iterations):
        code = nearest(vectors, centroids)
        count = np.bincount(code, minlength=size)
        member = csr_array((np.ones(len(rows), np.float32), (code, rows)), (size, len(rows)))
        centroids = (member @ vectors) / np.maximum(count, 1)[:, None].astype(np.float32)
        empty = np.flatnonzero(count == 0)
        if len(empty):
            # An empty centroid moves to the row that is farthest from its own centroid.
            away = ((vectors - centroids[code]) ** 2).sum(axis=1)
            centroids[empty] = vectors[np.argsort(-away, kind="stable")[: len(empty)]]
    return centroids


def squared_distances(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return ||x - c||^2 of every pair, float64 [I, C]."""
    vectors, centroids = np.asarray(vectors, np.float64), np.asarray(centroids, np.float64)
    # [I, D] x [C, D] -> [I, C]
    cross = np.einsum("id,cd->ic", vectors, centroids, optimize=True)
    norms = (vectors**2).sum(axis=1)[:, None] + (centroids**2).sum(axis=1)[None, :]
    return np.maximum(norms - 2 * cross, 0.0)


def nearest(vectors: np.ndarray, centroids: np.ndarray, chunk: int = 8192) -> np.ndarray:
    """Return int32 [I], the nearest centroid of each vector; ties go to the lower number.

    Large inputs are compared in float32. The distances of one chunk fit the cache.
    """
    dtype = np.float32 if np.size(vectors) > _LARGE else np.float64
    centroids = np.asarray(centroids, dtype)
    # ||x||^2 is the same for all centroids.
    halves = (centroids**2).sum(axis=1) / 2
    out = np.empty(len(vectors), np.int32)
    for begin in range(0, len(vectors), chunk):
        part = slice(begin, begin + chunk)
        cross = np.asarray(vectors[part], dtype) @ centroids.T
        out[part] = (halves[None, :] - cross).argmin(axis=1)
    return out


def check_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return vectors as float64 [I, D], after checking them.

    Raises:
      DataError: the vectors are not a matrix, are empty, or have entries that are not finite.
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
