"""k-means for the quantizers, on the CPU or, for large inputs, on the accelerator.

Shapes: `I` vectors, `D` their width, `C` centroids.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import DataError
from jaxrec.ids._threads import one_thread
from jaxrec.ids.kmeans_device import fit_on_device

# Rows per centroid to fit on; more rows barely move the centroids (faiss uses the same limit).
_ROWS_PER_CENTROID = 256
# Up to so many products of numbers and centroids the best of several runs in float64 is kept, which
# takes a second or two. Above, one run in float32 has the distortion of faiss, within a percent, in
# at most twice its time.
_SMALL, _ITERATIONS, _SEED_ROWS = 1 << 23, 15, 8
# Above so many numbers seeds are chosen with more care, on the accelerator if there is one.
_LARGE, _LARGE_ITERATIONS, _LARGE_SEED_ROWS = 1 << 20, 25, 16
_MOST_DISTINCT = 1 << 14
# Rows whose distances fit the cache.
_CHUNK = 2048


def fit_centroids(
    vectors: np.ndarray, size: int, seed: int, restarts: int = 3, iterations: int = 50
) -> np.ndarray:
    """Return centroids, float64 [c, D], with c = min(size, distinct vectors).

    The best of `restarts` runs from k-means++ seeds is kept. An input with more than 2^23 numbers
    times centroids gets one run in float32. If there are more than 256 rows per centroid, a sample
    of them is used. Equal input and seed give equal centroids.
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

    return _parallel(fit, list(zip(parts, sizes, seeds, strict=True)))


def refine_many(
    parts: Sequence[np.ndarray], books: Sequence[np.ndarray], iterations: int
) -> list[np.ndarray]:
    """Return the centroids of several sets of vectors after more steps, in parallel."""
    jobs = list(zip(parts, books, strict=True))
    return _parallel(lambda job: refine(job[0], job[1], iterations), jobs)


def _parallel(work: Callable[[Any], np.ndarray], jobs: Sequence[Any]) -> list[np.ndarray]:
    """Run jobs in parallel with one thread each. OpenMP's limit applies per calling thread."""
    with (
        one_thread("sklearn.cluster"),
        ThreadPoolExecutor(os.cpu_count(), initializer=one_thread) as pool,
    ):
        return list(pool.map(work, jobs))


def _fit(vectors: np.ndarray, size: int, seed: int, restarts: int, iterations: int) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rng = np.random.default_rng(seed)
    vectors = np.asarray(vectors)
    if len(vectors) > _ROWS_PER_CENTROID * size:
        chosen = rng.choice(len(vectors), _ROWS_PER_CENTROID * size, replace=False)
        vectors = vectors[np.sort(chosen)]
    small, large = vectors.size * size <= _SMALL, vectors.size > _LARGE
    vectors = vectors.astype(np.float64 if small else np.float32)
    if len(vectors) <= _MOST_DISTINCT:
        distinct = np.unique(vectors, axis=0)
        if len(distinct) <= size:
            return distinct.astype(np.float64)
    if large and jax.default_backend() != "cpu":
        iterations, key = (
            min(iterations, _LARGE_ITERATIONS),
            jax.random.key(int(rng.integers(2**31))),
        )
        return np.asarray(fit_on_device(jnp.asarray(vectors), size, key, iterations), np.float64)
    if not small:
        seeds = _seeds(vectors, size, rng, large)
        iterations = min(iterations, _LARGE_ITERATIONS if large else _ITERATIONS)
        return refine(vectors, seeds, iterations).astype(np.float64)
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


def _seeds(vectors: np.ndarray, size: int, rng: np.random.Generator, large: bool) -> np.ndarray:
    """Return k-means++ seeds float32 [C, D], drawn among some rows: each draw reads all of them."""
    from sklearn.cluster import kmeans_plusplus

    rows = (_LARGE_SEED_ROWS if large else _SEED_ROWS) * size
    few = rng.choice(len(vectors), min(len(vectors), rows), replace=False)
    # Several draws a seed, of which the best is kept, cost more than they save in a middling input.
    tries = None if large else 1
    seed = int(rng.integers(2**31))
    return kmeans_plusplus(vectors[few], size, random_state=seed, n_local_trials=tries)[0]


def refine(vectors: np.ndarray, centroids: np.ndarray, iterations: int) -> np.ndarray:
    """Return centroids float32 [C, D] after Lloyd steps in float32, fewer if nothing moves.

    This is several times faster than scikit-learn, which reads the rows once for each centroid. A
    centroid without rows moves to the row that is farthest from its own centroid.
    """
    from scipy.sparse import csr_array

    vectors = np.asarray(vectors, np.float32)
    centroids = np.asarray(centroids, np.float32)
    rows, size, before = np.arange(len(vectors)), len(centroids), None
    for _ in range(iterations):
        code = nearest(vectors, centroids, np.float32)
        if before is not None and np.array_equal(code, before):
            break
        before, count = code, np.bincount(code, minlength=size)
        member = csr_array((np.ones(len(rows), np.float32), (code, rows)), (size, len(rows)))
        centroids = (member @ vectors) / np.maximum(count, 1)[:, None].astype(np.float32)
        empty = np.flatnonzero(count == 0)
        if len(empty):
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


def nearest(vectors: np.ndarray, centroids: np.ndarray, dtype: Any = None) -> np.ndarray:
    """Return int32 [I], the nearest centroid of each vector; ties go to the lower number.

    Args:
      vectors: [I, D].
      centroids: [C, D].
      dtype: in which to compare; by default float64, and float32 for large inputs.
    """
    dtype = dtype or dtype_of(vectors)
    centroids = np.asarray(centroids, dtype)
    # ||x||^2 is the same for all centroids.
    halves = (centroids**2).sum(axis=1) / 2
    out = np.empty(len(vectors), np.int32)
    for begin in range(0, len(vectors), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        near = np.asarray(vectors[part], dtype) @ centroids.T
        near -= halves
        out[part] = near.argmax(axis=1)
    return out


def dtype_of(vectors: np.ndarray) -> Any:
    """The type in which `nearest` compares: float64, and float32 for large inputs."""
    return np.float32 if np.size(vectors) > _LARGE else np.float64


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
