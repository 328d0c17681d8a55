"""Spectral clustering of a weighted graph into groups of about equal size.

The eigenvectors of the N largest eigenvalues of D^-1/2 A D^-1/2 (the smallest of the normalized
Laplacian I - D^-1/2 A D^-1/2), divided by D^1/2, place each node in N dimensions. A pivoted QR
decomposition selects the N rows that differ most, and every node joins the row to which it is most
parallel.
Sources: von Luxburg, "A Tutorial on Spectral Clustering", 2007; Damle, Minden and Ying, "Simple,
direct and efficient multi-way spectral clustering", 2019 (cluster_qr). On a connected graph the
result equals scikit-learn's `SpectralClustering(affinity="precomputed",
assign_labels="cluster_qr")`, but the graph stays sparse.

Shapes: `n` nodes, `N` clusters.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

# Up to about so many nodes, a dense eigensolver is faster than a sparse one.
_DENSE = 500
# Tolerance of a sparse eigenvector relative to its eigenvalue. In tests, no node changed clusters.
_FINE = 1e-6
# Beyond so many nodes, a tolerance of a few hundredths of the eigenvalue is enough: many
# eigenvalues of a large graph are closer than that, so exact vectors take minutes and do not
# cluster better.
_LARGE = 3000
_COARSE = 0.03
# Extra vectors of the Krylov basis: a larger basis needs fewer but more expensive restarts.
_BASIS = 50
# With fewer edges per thread, starting another thread takes longer than the product itself.
_EDGES_A_THREAD = 500_000
# Number of edges of each node that are tried first to find connected parts.
_FEW = 8
# If a split leaves more than this share in one part, equal parts are made instead. Otherwise the
# recursion would split off a few nodes at a time, as in complete graphs, which have no clusters.
_LOPSIDED = 0.9


def split(adjacency: Any, clusters: int, seed: int = 0) -> np.ndarray:
    """Return the cluster of each node, int64 [n]: between 2 and N clusters, none of them empty.

    Connected parts of the graph are clustered separately. A part of at least n/N nodes gets
    clusters in proportion to its size. Smaller parts are distributed whole over the remaining
    clusters.

    Args:
      adjacency: symmetric non-negative weights, sparse [n, n] with n > 1.
      clusters: N, at least 2.
      seed: seed of the eigensolver's start. Up to 3,000 nodes it only changes the last bits.
    """
    adjacency = adjacency.tocsr()
    clusters = min(clusters, adjacency.shape[0])
    parts, part = _parts(adjacency)
    if parts == 1:
        return _numbered(_split_connected(adjacency, clusters, seed))
    sizes = np.bincount(part)
    large = np.flatnonzero(sizes * clusters >= len(part))
    # Shares of the large parts are rounded down, so at least one cluster is left for small parts.
    room = {int(p): int(sizes[p]) * clusters // len(part) for p in large}
    left = clusters - sum(room.values())
    label = np.zeros(len(part), np.int64)
    small = np.setdiff1d(np.arange(parts), large)
    begin = 0
    for p, count in room.items():
        nodes = np.flatnonzero(part == p)
        if count > 1:
            inside = adjacency[nodes][:, nodes]
            label[nodes] = begin + _split_connected(inside, min(count, len(nodes)), seed)
        else:
            label[nodes] = begin
        begin += count
    if len(small):
        # The largest part comes first; each goes to the emptiest cluster.
        load = np.zeros(left, np.int64)
        target = np.zeros(parts, np.int64)
        for p in small[np.argsort(-sizes[small], kind="stable")]:
            target[p] = load.argmin()
            load[target[p]] += sizes[p]
        dealt = np.isin(part, small)
        label[dealt] = begin + target[part[dealt]]
    return _numbered(label)


def _parts(adjacency: Any) -> tuple[int, np.ndarray]:
    """Return the number of connected parts and the part of each node, numbered by first nodes."""
    import scipy.sparse as sp
    from scipy.sparse.csgraph import connected_components

    # A few edges per node connect nearly everything, so the other edges are only searched for the
    # rest. SciPy would convert and sort all edges, which takes as long as clustering.
    edges = np.arange(_FEW) + adjacency.indptr[:-1, None]
    there = edges < adjacency.indptr[1:, None]
    columns = adjacency.indices[edges[there]]
    bounds = np.append(0, np.cumsum(there.sum(axis=1)))
    few = sp.csr_array((np.ones(len(columns)), columns, bounds), shape=adjacency.shape)
    count, part = connected_components(few, directed=False)
    if count > 1:
        ends = np.repeat(part, np.diff(adjacency.indptr)), part[adjacency.indices]
        bridge = np.flatnonzero(ends[0] != ends[1])
        pairs = (np.ones(len(bridge)), (ends[0][bridge], ends[1][bridge]))
        count, joined = connected_components(
            sp.coo_array(pairs, shape=(count, count)), directed=False
        )
        part = joined[part]
    _, first = np.unique(part, return_index=True)
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    return count, rank[part]


def cluster_qr(rows: np.ndarray) -> np.ndarray:
    """Return the cluster of each row of eigenvectors [n, N], int64 [n] below N.

    The result does not depend on rotations of the N columns, and so neither on the eigensolver's
    choice of signs nor on its choice of vectors for equal eigenvalues.
    """
    from scipy.linalg import qr, svd

    clusters = rows.shape[1]
    _, _, pivots = qr(rows.T, mode="economic", pivoting=True)
    # u @ vt is the rotation that brings the pivot rows closest to the axes.
    u, _, vt = svd(rows[pivots[:clusters]].T)
    return np.abs(rows @ (u @ vt)).argmax(axis=1)


def _split_connected(adjacency: Any, clusters: int, seed: int) -> np.ndarray:
    """Return clusters [n] of a connected graph; some of 0..N-1 may be empty."""
    if clusters < 2:
        return np.zeros(adjacency.shape[0], np.int64)
    rows = _embedding(adjacency, clusters, seed)
    label = cluster_qr(rows)
    if np.bincount(label).max() > _LOPSIDED * len(label):
        # Equal runs along the second eigenvector are balanced and keep neighbours together.
        order = np.lexsort((np.arange(len(rows)), rows[:, 1]))
        label[order] = np.arange(len(rows)) * clusters // len(rows)
    return label


def _embedding(adjacency: Any, clusters: int, seed: int) -> np.ndarray:
    """Return eigenvectors by descending eigenvalue, divided by the roots of the degrees, [n, N]."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = adjacency.shape[0]
    root = np.sqrt(np.asarray(adjacency.sum(axis=1)).ravel())
    start = np.random.default_rng(seed).normal(size=n)
    if n <= max(_DENSE, 3 * clusters):
        normalized = adjacency.toarray() / root / root[:, None]
        _, vectors = eigh(normalized, subset_by_index=[n - clusters, n - 1])
    else:
        kind, tolerance = (np.float64, _FINE) if n <= _LARGE else (np.float32, _COARSE)
        scale, weights = (1 / root).astype(kind), adjacency.astype(kind)
        with _product(weights) as product:
            # D^-1/2 A D^-1/2 is never formed, because A takes most of the memory of a large graph.
            _, vectors = eigsh(
                LinearOperator((n, n), lambda x: scale * product(scale * x), dtype=kind),
                k=clusters,
                which="LA",
                v0=start.astype(kind),
                tol=tolerance,
                ncv=min(clusters + _BASIS, n),
            )
    return vectors[:, ::-1].astype(np.float64) / root[:, None]


@contextlib.contextmanager
def _product(weights: Any) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """Yield the function x -> weights @ x, which uses several threads if the matrix is large.

    Each thread has its own rows, so the sums equal those of one thread to the last bit.
    """
    import scipy.sparse as sp

    threads = min(os.cpu_count() or 1, weights.nnz // _EDGES_A_THREAD)
    if threads < 2:
        yield lambda x: weights @ x
        return
    ends = np.searchsorted(weights.indptr, np.linspace(0, weights.nnz, threads + 1))
    ends[0], ends[-1] = 0, weights.shape[0]
    blocks = []
    for first, last in itertools.pairwise(ends):
        edges = slice(weights.indptr[first], weights.indptr[last])
        inside = weights.data[edges], weights.indices[edges]
        bounds = weights.indptr[first : last + 1] - edges.start
        blocks.append(sp.csr_array((*inside, bounds), shape=(last - first, weights.shape[1])))
    with ThreadPoolExecutor(threads) as pool:
        yield lambda x: np.concatenate(list(pool.map(lambda block: block @ x, blocks)))


def _numbered(label: np.ndarray) -> np.ndarray:
    """Renumber labels without the empty clusters."""
    return np.unique(label, return_inverse=True)[1]
