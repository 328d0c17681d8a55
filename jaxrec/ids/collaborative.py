"""Collaborative IDs: an item's path down a tree of clusters of co-occurring items.

1. A(i, j) is the number of users whose training part has both i and j, or a weighted form of it.
2. Spectral clustering splits A into N clusters, and each cluster of more than k items again.
3. A counter numbers the clusters breadth first and starts again after k. Siblings never share a
   number; distant clusters may.
4. The ID of an item is the numbers of the clusters around it, then its position 0, 1, ... in the
   innermost cluster.

Items that co-occur with no other item have no place in the graph, so each gets a token of its own
as an ID of length one. IDs differ in length (see `lengths.closed`), are unique, and none is a
prefix of another. Here each level has its own vocabulary: k codes at levels with positions, and the
numbers in use at other levels. In the paper, k tokens serve all levels.

Source: collaborative indexing (CID) of Hua, Xu, Ge and Zhang, "How to Index Item IDs for
Recommendation Foundation Models", 2023. Their code overwrites the count of (a, b) by that of
(b, a); here the two are added.

Shapes: `I` items, `L` levels, `N` clusters per split, `k` largest number of items in a leaf.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.ids._threads import one_thread
from jaxrec.ids.codes import ItemCodes
from jaxrec.ids.cooccurrence import Weighting, cooccurrence, weighted
from jaxrec.ids.lengths import is_closed, number_tokens, opened, pad_rows
from jaxrec.ids.spectral import split
from jaxrec.ids.statistics import code_statistics


def fit(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    *,
    clusters: int = 10,
    leaf: int = 50,
    weighting: Weighting = "counts",
    window: int | None = None,
    decay: float = 1.0,
    seed: int = 0,
) -> ItemCodes:
    """Return the cluster paths of the items as IDs, which are unique and differ in length.

    Args:
      train_sequences: dense item numbers of each user's training part, in time order.
      num_items: I.
      clusters: N.
      leaf: k.
      weighting: weights of the graph: "counts" (plain counts), "ppmi" (positive pointwise mutual
        information) or "degree" (A(i, j) over the root of the product of both rows' sums). The
        latter two keep popular items from connecting the whole graph.
      window: largest distance at which two items co-occur; None for the whole history.
      decay: a co-occurrence at distance d has weight decay^(d-1); needs a window.
      seed: seed of the eigensolver's start. Up to 3,000 items it only changes the last bits.

    Raises:
      ConfigError: N is below 2 or above k, the weighting is unknown, or window or decay is invalid.
      DataError: there are no interactions, or an item number is outside 0..I-1.

    Example:
      >>> histories = [np.array([0, 1]), np.array([0, 1]), np.array([2, 3]), np.array([2, 3])]
      >>> fit(histories, 4, clusters=2, leaf=2).codes.tolist()
      [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    if not 2 <= clusters <= leaf:
        raise ConfigError(
            "clusters must be 2 or more and at most leaf (so that siblings differ), "
            f"got {clusters} clusters and leaf {leaf}"
        )
    counts = cooccurrence(train_sequences, num_items, window=window, decay=decay)
    met = np.asarray(counts.sum(axis=1), np.float64).ravel()
    graph = weighted(counts, weighting)
    known = np.flatnonzero(met > 0)
    with one_thread("scipy.linalg"):
        leaves = _tree(graph, known, clusters, leaf, seed) if len(known) else []
    rows: list[list[int]] = [[] for _ in range(num_items)]
    for path, items in leaves:
        for place, item in enumerate(items.tolist()):
            rows[item] = [*path, place]
    for fresh, item in enumerate(np.flatnonzero(met == 0).tolist()):
        rows[item] = [leaf + fresh]
    tokens = pad_rows(rows)
    codes, numbers, _ = number_tokens(tokens)
    sizes = list(numbers)
    for level in {len(path) for path, _ in leaves}:
        # Levels with positions have room for k of them, so that new items can join (`encode`).
        codes[:, level] = tokens[:, level]
        sizes[level] = max(leaf, int(tokens[:, level].max()) + 1)
    metadata = {
        "seed": seed,
        "clusters": clusters,
        "leaf": leaf,
        "weighting": weighting,
        "window": window,
        "decay": decay,
        "leaves": len(leaves),
        "largest_leaf": max((len(items) for _, items in leaves), default=0),
        "unmet_items": int((met == 0).sum()),
        **_mass_inside(counts, met, [items for _, items in leaves]),
    }
    statistics = code_statistics(codes, sizes)
    return ItemCodes(
        codes=codes,
        sizes=tuple(sizes),
        scheme="collaborative",
        metadata={**metadata, **statistics},
        codebooks={"met": met},
    )


def encode(item_codes: ItemCodes, together: Any) -> np.ndarray:
    """Return free IDs, int32 [I', L], for new items beside the items that they co-occur with.

    The weight of a new item to a cluster is the sum of together(j) / met(j)^1/2 over the cluster's
    items j, divided by the root of their number, as in the normalized graph. The item takes the
    first free position of the innermost cluster with the largest weight, or of the next cluster if
    that one is full.

    Args:
      item_codes: result of `fit`, closed or not; the new IDs have the same form.
      together: number of co-occurrences of each new item with each old item, sparse or an array
        [I', I].

    Raises:
      ConfigError: `together` has another number of old items, or every cluster is full.
    """
    import scipy.sparse as sp

    old = opened(item_codes)
    if together.shape[1] != old.num_items:
        raise ConfigError(
            f"there are IDs of {old.num_items} items, but co-occurrences with {together.shape[1]}"
        )
    used: dict[tuple[int, ...], set[int]] = {}
    number: dict[tuple[int, ...], int] = {}
    cluster = np.empty(old.num_items, np.int64)
    for item, (row, length) in enumerate(zip(old.codes.tolist(), old.lengths, strict=True)):
        path = tuple(row[: length - 1])
        cluster[item] = number.setdefault(path, len(number))
        for level in range(length):
            used.setdefault(tuple(row[:level]), set()).add(row[level])
    paths = list(number)
    # Items that were added after the fit had met nothing.
    met = np.pad(old.codebooks["met"], (0, old.num_items - len(old.codebooks["met"])))
    share = np.where(met > 0, 1 / np.sqrt(np.maximum(met, 1e-12)), 0.0)
    share = share / np.sqrt(np.bincount(cluster))[cluster]
    member = sp.csr_array(
        (share, (np.arange(old.num_items), cluster)), shape=(old.num_items, len(paths))
    )
    affinity = sp.csr_array(sp.csr_array(together) @ member)
    codes = np.full((together.shape[0], old.levels), -1, np.int32)
    for new in range(len(codes)):
        weight = np.zeros(len(paths))
        own = slice(affinity.indptr[new], affinity.indptr[new + 1])
        weight[affinity.indices[own]] = affinity.data[own]
        for at in np.argsort(-weight, kind="stable").tolist():
            path = paths[at]
            room = range(min(old.metadata["leaf"], old.sizes[len(path)]))
            place = next((code for code in room if code not in used[path]), None)
            if place is not None:
                break
        else:
            raise ConfigError(
                f"no free ID for new item {new} because all clusters are full; fit again"
            )
        used[path].add(place)
        codes[new, : len(path) + 1] = (*path, place)
    if is_closed(item_codes):
        return np.where(codes < 0, np.array([old.sizes], np.int32), codes)
    return codes


def _tree(
    graph: Any, known: np.ndarray, clusters: int, leaf: int, seed: int
) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Return path and items of each innermost cluster, breadth first."""
    leaves = []
    counter = 0
    queue: deque[tuple[tuple[int, ...], np.ndarray, Any]] = deque()
    whole = len(known) == graph.shape[0]
    queue.append(((), known, graph if whole else graph[known][:, known]))
    while queue:
        path, items, inside = queue.popleft()
        if len(items) <= leaf:
            leaves.append((path, items))
            continue
        label = split(inside, clusters, seed)
        for each in range(label.max() + 1):
            members = np.flatnonzero(label == each)
            deeper = inside[members][:, members] if len(members) > leaf else None
            queue.append(((*path, counter % leaf), items[members], deeper))
            counter += 1
    return leaves


def _mass_inside(counts: Any, met: np.ndarray, leaves: list[np.ndarray]) -> dict[str, float]:
    """Return the share of co-occurrences inside leaves, and the share expected from degrees."""
    if not leaves:
        return {"inside_share": 0.0, "inside_expected": 0.0}
    leaf_of = np.full(counts.shape[0], -1, np.int32)
    for number, items in enumerate(leaves):
        leaf_of[items] = number
    inside = np.repeat(leaf_of, np.diff(counts.indptr)) == leaf_of[counts.indices]
    volume = np.array([met[items].sum() for items in leaves])
    return {
        "inside_share": float(counts.data[inside].sum() / met.sum()),
        "inside_expected": float((volume**2).sum() / met.sum() ** 2),
    }
