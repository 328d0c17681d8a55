"""k-means for the quantizers: scikit-learn fits small inputs, JAX large ones on any device.

Shapes: `I` vectors, `D` their width, `C` centroids.
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core.errors import DataError
from jaxrec.ids.kmeans_device import fit_on_device

# Rows a centroid to fit on; more barely moves the centroids (faiss draws the same line).
_ROWS_PER_CENTROID = 256
# From so many numbers on, one run of few steps in float32 is within a percent of the best of three.
_LARGE, _LARGE_ITERATIONS = 1 << 20, 25
_MOST_DISTINCT = 1 << 14


def fit_centroids(
    vectors: np.ndarray, size: int, seed: int, restarts: int = 3, iterations: int = 50
) -> np.ndarray:
    """Return centroids, float64 [c, D], with c = min(size, distinct vectors).

    The best of `restarts` runs from k-means++ seeds is kept; large inputs get one run, in float32.
    More than 256 rows a centroid are sampled down. Equal input and seed give equal centroids.
    """
    return fit_many([vectors], [size], [seed], restarts, iterations)[0]


def fit_many(
    parts: Sequence[np.ndarray],
    sizes: Sequence[int],
    seeds: Sequence[int],
    restarts: int = 3,
    iterations: int = 50,
) -> list[np.ndarray]:
    """Return the centroids of several sets of vectors, as `fit_centroids` does, side by side."""
    from threadpoolctl import threadpool_limits

    def fit(job: tuple[np.ndarray, int, int]) -> np.ndarray:
        return _fit(*job, restarts, iterations)

    jobs = list(zip(parts, sizes, seeds, strict=True))
    # One thread a fit: threads add up partial sums in the order in which they finish, so that two
    # fits would differ in the last bits and now and then in a code. Fits run beside one another.
    with threadpool_limits(limits=1), ThreadPoolExecutor(os.cpu_count()) as pool:
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
        key = jax.random.key(int(rng.integers(2**31)))
        found = fit_on_device(jnp.asarray(vectors), size, key, min(iterations, _LARGE_ITERATIONS))
        return np.asarray(found, np.float64)
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


def squared_distances(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return ||x - c||^2 of every pair, float64 [I, C]."""
    vectors, centroids = np.asarray(vectors, np.float64), np.asarray(centroids, np.float64)
    # [I, D] x [C, D] -> [I, C]
    cross = np.einsum("id,cd->ic", vectors, centroids, optimize=True)
    norms = (vectors**2).sum(axis=1)[:, None] + (centroids**2).sum(axis=1)[None, :]
    return np.maximum(norms - 2 * cross, 0.0)


def nearest(vectors: np.ndarray, centroids: np.ndarray, chunk: int = 8192) -> np.ndarray:
    """Return int32 [I], the nearest centroid of each vector; ties go to the lower number.

    In float32 for large inputs. A chunk's distances fit the cache.
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
