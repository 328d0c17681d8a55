"""Collaborative IDs: the path of an item down a tree of clusters of items met together.

1. A(i, j): users in whose training part both i and j stand (or a weighted form of it).
2. Spectral clustering of A into N clusters, and again inside each that holds more than k items.
3. Clusters are numbered breadth first by a counter that starts again after k; siblings never share
   a number, distant clusters may.
4. ID = the numbers of the clusters around an item, then its place 0, 1, ... in the innermost.

Items that met no other item in training have no place in the graph: each gets a token of its own,
an ID of length one. IDs are of different lengths (`lengths.closed`), unique, and none begins
another. Here each level has a vocabulary of its own: k codes where places stand, elsewhere the
numbers in use. The paper's k tokens serve all levels at once.

Source: collaborative indexing (CID) of Hua, Xu, Ge and Zhang, "How to Index Item IDs for
Recommendation Foundation Models", 2023. Their code writes the count of (b, a) over that of (a, b);
here they are added up.

Shapes: `I` items, `L` levels, `N` clusters a split, `k` most items of a leaf.
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
    """Return the cluster paths of the items; unique, of different lengths.

    Args:
      train_sequences: dense item numbers of each user's training part, in time order.
      num_items: I.
      clusters: N.
      leaf: k.
      weighting: of the graph: "counts" as they are; "ppmi": positive pointwise mutual information;
        "degree": A(i, j) over the root of both rows' sums. The latter two keep popular items from
        holding the whole graph together.
      window: items apart up to which two items count as together; None: the whole history.
      decay: weight d places apart is decay^(d-1); needs a window.
      seed: of the eigensolver's start; up to 3,000 items it moves nothing but the last bits.

    Raises:
      ConfigError: N below 2 or above k, unknown weighting, bad window or decay.
      DataError: no interactions, or an item number outside 0..I-1.
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
        # Where places stand, there is room for k of them: new items may join (`encode`).
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
    """Return free IDs, int32 [I', L], of new items next to the items that they were met with.

    A new item's weight to a cluster is the sum of together(j) / met(j)^1/2 over the cluster's items
    j, over the root of their number (what the normalized graph would say). It takes the first free
    place of the heaviest innermost cluster; where all are taken, that of the next.

    Args:
      item_codes: what `fit` returned, closed or not; the new IDs are of the same form.
      together: how often each new item was met with each item, sparse or an array [I', I].

    Raises:
      ConfigError: another number of items, or no place left in any cluster.
    """
    import scipy.sparse as sp

    old = opened(item_codes)
    if together.shape[1] != old.num_items:
        raise ConfigError(f"the IDs are of {old.num_items} items, got {together.shape[1]}")
    used: dict[tuple[int, ...], set[int]] = {}
    number: dict[tuple[int, ...], int] = {}
    cluster = np.empty(old.num_items, np.int64)
    for item, (row, length) in enumerate(zip(old.codes.tolist(), old.lengths, strict=True)):
        path = tuple(row[: length - 1])
        cluster[item] = number.setdefault(path, len(number))
        for level in range(length):
            used.setdefault(tuple(row[:level]), set()).add(row[level])
    paths = list(number)
    met = old.codebooks["met"]
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
            raise ConfigError(f"no free ID for new item {new}: all clusters are full; fit again")
        used[path].add(place)
        codes[new, : len(path) + 1] = (*path, place)
    if is_closed(item_codes):
        return np.where(codes < 0, np.array([old.sizes], np.int32), codes)
    return codes


def _tree(
    graph: Any, known: np.ndarray, clusters: int, leaf: int, seed: int
) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Path and items of each innermost cluster, breadth first."""
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
    """Share of co-occurrences within innermost clusters, and the share that degrees alone give."""
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
