"""Clusters of items with similar codes, for graphs of large catalogues and for starts of walks.

The similarity of two items is a mean over places of (1 + cosine) / 2, and so an affine function of
an inner product: each code gets a vector, and the vector of an item is the sum of those of its
codes. k-means of these vectors gives clusters. Similar items are then found by matrix products
within a cluster and the clusters nearest to it, instead of by comparing all pairs of items.

Shapes: `I` items, `L` levels, `C` codes a level, `D` width of the vectors, `G` clusters.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.ids import kmeans

# k-means is fitted on so many items a cluster, in so many rounds; more of both hardly move edges.
_ROWS, _ROUNDS = 24, 6
# Items of which the directions are found.
_SAMPLE = 8192


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ItemClusters:
    """Items in the order of their clusters.

    Attributes:
      vectors: `[I, D]` float32, of all items by their numbers.
      order: `[I]` int32, item numbers, those of a cluster side by side.
      bounds: `[G + 1]` int64, where clusters begin in `order`, and its end. No cluster is empty.
      centroids: `[G, D]` float32.
    """

    vectors: np.ndarray
    order: np.ndarray
    bounds: np.ndarray
    centroids: np.ndarray

    def members(self, cluster: int) -> np.ndarray:
        """Items of a cluster."""
        return self.order[self.bounds[cluster] : self.bounds[cluster + 1]]


def cluster_items(
    similarities: jax.Array, codes: np.ndarray, size: int, *, width: int = 128, seed: int = 0
) -> ItemClusters:
    """Cluster items by the similarity of their codes.

    Args:
      similarities: `[L, C, C]` of `code_similarities`.
      codes: `[I, L]` int.
      size: mean number of items in a cluster.
      width: largest width of the vectors. Inner products are exact if the vectors of all codes of
        all places have no more independent columns. Otherwise only the directions in which items
        differ most are kept, which also makes better clusters.
      seed: seed of the directions and of k-means.

    Raises:
      ConfigError: the size or the width is below 1.

    Cost: 2 I^2 D / size operations in matrix products.

    Example:
      >>> line = jnp.array([[[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.0, 1.0]]])
      >>> unit = line / jnp.linalg.norm(line, axis=-1, keepdims=True)
      >>> similarities = (1 + jnp.einsum("lcd,lkd->lck", unit, unit)) / 2
      >>> clusters = cluster_items(similarities, np.arange(4)[:, None], size=2)
      >>> sorted(sorted(clusters.members(c).tolist()) for c in range(2))
      [[0, 1], [2, 3]]
    """
    for name, value in (("items", size), ("columns", width)):
        if value < 1:
            what = "a cluster" if name == "items" else "a vector"
            raise ConfigError(f"{what} of {value} {name} is not possible; use 1 or more")
    rng, count = np.random.default_rng(seed), len(codes)
    features = code_vectors(similarities, codes, width, seed)
    vectors = np.asarray(_sums(jnp.asarray(features), jnp.asarray(codes)))
    number = max(1, count // size)
    rows = vectors[rng.choice(count, min(count, _ROWS * number), replace=False)]
    centroids = kmeans.refine(rows, rows[:number], _ROUNDS)
    cluster = kmeans.nearest(vectors, centroids, np.float32)
    kept, cluster = np.unique(cluster, return_inverse=True)
    order = np.argsort(cluster, kind="stable").astype(np.int32)
    bounds = np.searchsorted(cluster[order], np.arange(len(kept) + 1))
    return ItemClusters(
        vectors=vectors, order=order, bounds=bounds, centroids=centroids[kept].astype(np.float32)
    )


def code_vectors(similarities: jax.Array, codes: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Return vectors of codes whose sums over places have the mean cosine as inner product.

    Args:
      similarities: `[L, C, C]`, (1 + cosine) / 2 of the codes of each place.
      codes: `[I, L]` int.
      width: largest width. Of wider vectors the directions are kept that explain most of the
        items' inner products, as a truncated SVD finds them on a sample of the items.
      seed: of the sample and of the randomized SVD.

    Returns:
      `[L, C, D]` float32.
    """
    factors = []
    for place in np.asarray(similarities, np.float64):
        # The cosines are a matrix A A^T, where the rows of A are vectors of the codes.
        values, axes = np.linalg.eigh(2 * place - 1)
        kept = values > 1e-6 * values[-1]
        factors.append((axes[:, kept] * np.sqrt(values[kept] / len(similarities))).astype("f4"))
    total = sum(factor.shape[1] for factor in factors)
    # Embeddings that are all zero have no columns at all.
    axes = np.eye(total, max(1, total), dtype=np.float32)
    if total > width:
        rng = np.random.default_rng(seed)
        some = codes[rng.choice(len(codes), min(len(codes), _SAMPLE), replace=False)]
        rows = [factor[some[:, place]] for place, factor in enumerate(factors)]
        axes = _directions(np.concatenate(rows, axis=1), width, seed)
    parts = np.split(axes, np.cumsum([factor.shape[1] for factor in factors])[:-1])
    return np.stack([factor @ part for factor, part in zip(factors, parts, strict=True)])


def _directions(rows: np.ndarray, width: int, seed: int) -> np.ndarray:
    """The orthogonal directions of the largest singular values: `[n, D]` to `[D, <= width]`."""
    from sklearn.utils.extmath import randomized_svd

    return randomized_svd(rows, min(width, *rows.shape), n_iter=3, random_state=seed)[2].T


@jax.jit
def _sums(vectors: jax.Array, codes: jax.Array) -> jax.Array:
    """Sum the vectors of each item's codes: `[L, C, D]` and `[I, L]` to `[I, D]`."""

    def add(total: jax.Array, place: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        rows, code = place
        return total + jnp.take(rows, code.astype(jnp.int32), axis=0, mode="clip"), None

    total = jnp.zeros((len(codes), vectors.shape[2]), jnp.float32)
    return jax.lax.scan(add, total, (vectors, codes.T))[0]


def spread_starts(clusters: ItemClusters, number: int) -> np.ndarray:
    """Choose items at equal distances in the order of the clusters: `[min(number, I)]` int32.

    Every cluster has its share of them. Random items leave out some of the small clusters.

    Example:
      >>> order = np.array([3, 1, 0, 2], np.int32)
      >>> rows = np.zeros((4, 1), np.float32)
      >>> bounds = np.array([0, 2, 4])
      >>> halves = ItemClusters(vectors=rows, order=order, bounds=bounds, centroids=rows[:2])
      >>> spread_starts(halves, 2).tolist()
      [1, 2]
    """
    count = len(clusters.order)
    number = min(number, count)
    return clusters.order[(2 * np.arange(number) + 1) * count // (2 * number)]


def nearest_items(clusters: ItemClusters, edges: int, window: int) -> np.ndarray:
    """Return the items with the largest inner products among those of the nearest clusters.

    Args:
      clusters: see `cluster_items`.
      edges: E, at most the window.
      window: number of items with which every item of a cluster is compared, from the cluster
        itself and those whose centroids are nearest to its own; at most I.

    Returns:
      `[I, E]` int32, the largest inner product first.
    """
    rows, candidates = _windows(clusters, window)
    found = _ranked(jnp.asarray(clusters.vectors), rows, candidates, edges)
    near = np.empty((len(clusters.order), edges), np.int32)
    filled = rows >= 0
    near[rows[filled]] = np.asarray(found)[filled]
    return near


# Rows of one matrix product.
_BLOCK = 128


def _windows(clusters: ItemClusters, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of items of one cluster, -1 in unfilled places, and the items they are compared with."""
    sizes, centroids = np.diff(clusters.bounds), clusters.centroids
    halves = (centroids**2).sum(axis=1) / 2
    some = min(len(sizes), 8 * int(np.ceil(window / sizes.mean())))
    rows, candidates = [], []
    for cluster in range(len(sizes)):
        away = halves - centroids @ centroids[cluster]
        away[cluster] = -np.inf
        nearest = np.argpartition(away, some - 1)[:some]
        if sizes[nearest].sum() < window:
            nearest = np.arange(len(sizes))
        nearest = nearest[np.argsort(away[nearest], kind="stable")]
        needed = 1 + int(np.searchsorted(np.cumsum(sizes[nearest]), window))
        pool = np.concatenate([clusters.members(other) for other in nearest[:needed]])[:window]
        members = clusters.members(cluster)
        for begin in range(0, len(members), _BLOCK):
            part = members[begin : begin + _BLOCK]
            rows.append(np.pad(part, (0, _BLOCK - len(part)), constant_values=-1))
            candidates.append(pool)
    return np.stack(rows), np.stack(candidates)


@functools.partial(jax.jit, static_argnames=("edges",))
def _ranked(vectors: jax.Array, rows: jax.Array, candidates: jax.Array, edges: int) -> jax.Array:
    """Rank windows for blocks of items: `[n, 128]` and `[n, W]` items to `[n, 128, E]` items."""

    def rank(block: tuple[jax.Array, jax.Array]) -> jax.Array:
        items, others = block
        own = jnp.take(vectors, items, axis=0, mode="clip")
        products = own @ jnp.take(vectors, others, axis=0, mode="clip").T
        return jnp.take(others, jax.lax.top_k(products, edges)[1], mode="clip")

    return jax.lax.map(rank, (rows, candidates))
