"""Spectral clustering of a weighted graph into groups of about equal size.

The eigenvectors of the N largest eigenvalues of D^-1/2 A D^-1/2 (the smallest of the normalized
Laplacian I - D^-1/2 A D^-1/2), divided by D^1/2, place each node in N dimensions; the pivoted QR of
these rows picks the N that stand apart most, and every node joins the one it is most parallel to.
Sources: von Luxburg, "A Tutorial on Spectral Clustering", 2007; Damle, Minden and Ying, "Simple,
direct and efficient multi-way spectral clustering", 2019 (cluster_qr). It gives what scikit-learn's
`SpectralClustering(affinity="precomputed", assign_labels="cluster_qr")` does on a connected graph,
without making the graph dense.

Shapes: `n` nodes, `N` clusters.
"""

from typing import Any

import numpy as np

# A dense eigensolver takes less time than a sparse one up to about so many nodes.
_DENSE = 500
# Beyond so many nodes, eigenvectors to a few hundredths of an eigenvalue will do: many eigenvalues
# of a large graph lie closer than that, so exact vectors would take minutes and cluster no better.
_LARGE = 3000
_TOLERANCE = 0.03
# Splits that leave more than this share in one part are evened out, or the recursion would go
# through the nodes a few at a time: complete graphs have no clusters to find.
_LOPSIDED = 0.9


def split(adjacency: Any, clusters: int, seed: int = 0) -> np.ndarray:
    """Return the cluster of each node, int64 [n]: at least two clusters, at most N, none empty.

    Parts of the graph that no edge joins are clustered apart: a part of n/N nodes or more gets
    clusters in proportion to its size, the smaller parts are dealt whole to the clusters left.

    Args:
      adjacency: symmetric weights, none negative, sparse [n, n] with n > 1.
      clusters: N, 2 or more.
      seed: of the eigensolver's start, which moves nothing but the last bits.
    """
    clusters = min(clusters, adjacency.shape[0])
    parts, part = _parts(adjacency)
    if parts == 1:
        return _numbered(_split_connected(adjacency, clusters, seed))
    sizes = np.bincount(part)
    large = np.flatnonzero(sizes * clusters >= len(part))
    # The large parts' shares, rounded down: where there are small ones, at least one is left.
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
        # Largest first, each into the emptiest cluster.
        load = np.zeros(left, np.int64)
        target = np.zeros(parts, np.int64)
        for p in small[np.argsort(-sizes[small], kind="stable")]:
            target[p] = load.argmin()
            load[target[p]] += sizes[p]
        dealt = np.isin(part, small)
        label[dealt] = begin + target[part[dealt]]
    return _numbered(label)


def _parts(adjacency: Any) -> tuple[int, np.ndarray]:
    """Number of connected parts, and the part of each node, numbered by their first nodes."""
    from scipy.sparse.csgraph import connected_components

    # The same for symmetric weights as directed=False, which would transpose the graph first.
    count, part = connected_components(adjacency, directed=True, connection="strong")
    _, first = np.unique(part, return_index=True)
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    return count, rank[part]


def cluster_qr(rows: np.ndarray) -> np.ndarray:
    """Return the cluster of each row of eigenvectors [n, N], int64 [n] below N.

    Rotating the N columns among themselves changes nothing, so neither does the eigensolver's
    choice of signs or of vectors to one eigenvalue.
    """
    from scipy.linalg import qr, svd

    clusters = rows.shape[1]
    _, _, pivots = qr(rows.T, mode="economic", pivoting=True)
    # The rotation that comes nearest to taking the pivot rows to the axes.
    u, _, vt = svd(rows[pivots[:clusters]].T)
    return np.abs(rows @ (u @ vt)).argmax(axis=1)


def _split_connected(adjacency: Any, clusters: int, seed: int) -> np.ndarray:
    """Clusters [n] of a connected graph, some of 0..N-1 perhaps empty."""
    if clusters < 2:
        return np.zeros(adjacency.shape[0], np.int64)
    rows = _embedding(adjacency, clusters, seed)
    label = cluster_qr(rows)
    if np.bincount(label).max() > _LOPSIDED * len(label):
        # Equal runs along the second eigenvector: as balanced as can be, neighbours together.
        order = np.lexsort((np.arange(len(rows)), rows[:, 1]))
        label[order] = np.arange(len(rows)) * clusters // len(rows)
    return label


def _embedding(adjacency: Any, clusters: int, seed: int) -> np.ndarray:
    """Eigenvectors by falling eigenvalue, divided by the roots of the degrees, [n, N]."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    n = adjacency.shape[0]
    root = np.sqrt(np.asarray(adjacency.sum(axis=1)).ravel())
    # D^-1/2 A D^-1/2 entry by entry: a product of sparse matrices would take far longer.
    normalized = adjacency.tocsr(copy=True)
    row = np.repeat(1 / root, np.diff(normalized.indptr))
    normalized.data = normalized.data * row / root[normalized.indices]
    start = np.random.default_rng(seed).normal(size=n)
    if n <= max(_DENSE, 3 * clusters):
        _, vectors = eigh(normalized.toarray(), subset_by_index=[n - clusters, n - 1])
    elif n <= _LARGE:
        _, vectors = eigsh(normalized, k=clusters, which="LA", v0=start)
    else:
        _, vectors = eigsh(
            normalized.astype(np.float32),
            k=clusters,
            which="LA",
            v0=start.astype(np.float32),
            tol=_TOLERANCE,
            ncv=clusters + 50,  # a larger basis needs fewer, costlier restarts
        )
        vectors = vectors.astype(np.float64)
    return vectors[:, ::-1] / root[:, None]


def _numbered(label: np.ndarray) -> np.ndarray:
    """Labels with the empty clusters left out."""
    return np.unique(label, return_inverse=True)[1]
