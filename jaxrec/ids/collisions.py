"""Repair collisions, so that every item has its own ID.

A quantizer gives similar items equal IDs, but an ID that two items share does not identify either.
In each group of items with one ID, the item that the ID represents best keeps it. The others move
to free IDs ("next_free") or get one more code ("suffix", as in TIGER, Rajput et al. 2023, section
3.1); or collisions are an error ("refuse"). IDs of different lengths only support the suffix.

Shapes: `I` items, `L` levels, `C` codes per level.
"""

import dataclasses
import heapq
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.ids import pq, rq, rqvae, svd
from jaxrec.ids.codes import ItemCodes, groups
from jaxrec.ids.lengths import closed, is_closed, opened
from jaxrec.ids.simple import check_room
from jaxrec.ids.statistics import code_statistics

Method = Literal["next_free", "suffix", "refuse"]

# Grids up to this size are searched exhaustively in one pass of numpy. Larger grids are searched
# best first, which finds a free ID within a few steps because a large grid is sparsely used.
_DENSE_GRID = 1 << 16
# Members of larger groups share one best-first search. With separate searches, each member would
# visit all IDs that earlier members took, which is quadratic in the size of the group.
_LARGE_GROUP = 64
_CHUNK = 4096


def repair(
    item_codes: ItemCodes, vectors: np.ndarray | None = None, method: Method = "next_free"
) -> ItemCodes:
    """Return ItemCodes in which every item has its own ID; unchanged if this already holds.

    Exactly `statistics["must_move"]` items get another ID. With `vectors` and codebooks, the item
    whose vector is closest to the vector of the shared ID keeps it, and the others move to the free
    ID with the closest vector (squared distances). Without them, the lowest item number keeps the
    ID and the others move to the next free one, changing the last code first. The result depends
    only on the arguments.

    Args:
      item_codes: IDs that may collide.
      vectors: the vectors [I, D] that the codes were fitted on, or None.
      method: "next_free" moves items to the nearest free ID. "suffix" appends a level whose code
        counts the items of a group, so its size is the largest group. If IDs differ in length, only
        colliding IDs get a suffix, right after their end, with a code that is new at that level, so
        that no ID becomes a prefix of another. "refuse" raises an error.

    Raises:
      ConfigError: the method is unknown; or the method is "next_free" and the grid has fewer IDs
        than items, or the IDs differ in length.
      DataError: there are collisions and the method is "refuse", or the number of vectors is not
        the number of items.

    Example:
      >>> codes = ItemCodes(codes=np.array([[0, 1], [0, 1], [1, 0]]), sizes=(2, 2), scheme="mine")
      >>> repair(codes).codes.tolist()
      [[0, 1], [0, 0], [1, 0]]
      >>> repair(codes, method="suffix").codes.tolist()
      [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    """
    if method not in get_args(Method):
        raise ConfigError(f"unknown repair {method!r}; repairs: {', '.join(get_args(Method))}")
    if vectors is not None and len(vectors) != item_codes.num_items:
        raise DataError(f"{len(vectors)} vectors for {item_codes.num_items} items")
    if is_closed(item_codes):
        return closed(repair(opened(item_codes), vectors, method))
    before = code_statistics(item_codes.codes, item_codes.sizes)
    if before["must_move"] == 0:
        return item_codes
    group, counts = groups(item_codes.codes, item_codes.sizes)
    if method == "refuse":
        a, b = np.flatnonzero(group == counts.argmax())[:2]
        raise DataError(
            f"{before['collision_share']:.1%} of {item_codes.num_items} items share their ID with "
            f"another, e.g. items {a} and {b} at {tuple(item_codes.codes[a].tolist())}; "
            "use repair 'next_free' or 'suffix', or larger codebooks"
        )
    if method == "next_free" and item_codes.lengths.min() < item_codes.levels:
        raise ConfigError(
            "repair 'next_free' needs IDs of one length, but these differ in length; "
            "use repair 'suffix'"
        )
    order = np.lexsort((_unfaithfulness(item_codes, vectors), group))
    # Position of each item within its group, the best represented item first.
    begin = np.cumsum(counts) - counts
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - begin[group[order]]
    if method == "suffix":
        codes, sizes = _suffixed(item_codes, rank, counts[group])
    else:
        check_room(item_codes.num_items, item_codes.sizes)
        losers = order[rank[order] > 0]
        # The second items of all groups choose before any third item, whatever the item numbers.
        losers = losers[np.lexsort((losers, group[losers], rank[losers]))]
        sizes, codes = item_codes.sizes, item_codes.codes.copy()
        codes[losers] = free_ids(
            item_codes,
            codes[losers],
            None if vectors is None else np.asarray(vectors)[losers],
            group[losers],
        )
    metadata = {**item_codes.metadata, **code_statistics(codes, sizes)}
    metadata["repair"] = {
        "method": method,
        "moved": before["must_move"],
        "before": {"sizes": list(item_codes.sizes), **before},
    }
    return dataclasses.replace(item_codes, codes=codes, sizes=sizes, metadata=metadata)


def _suffixed(
    item_codes: ItemCodes, rank: np.ndarray, shared_by: np.ndarray
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Append each item's rank [I] in its group of `shared_by` [I] items; return codes and sizes."""
    lengths, sizes = item_codes.lengths, list(item_codes.sizes)
    if lengths.min() == item_codes.levels:
        codes = np.concatenate([item_codes.codes, rank[:, None].astype(np.int32)], axis=1)
        return codes, (*sizes, int(shared_by.max()))
    clash = np.flatnonzero(shared_by > 1)
    longest = int(lengths[clash].max()) + 1
    codes = np.full((len(lengths), max(len(sizes), longest)), -1, np.int32)
    codes[:, : len(sizes)] = item_codes.codes
    sizes += [0] * (codes.shape[1] - len(sizes))
    codes[clash, lengths[clash]] = np.array(sizes)[lengths[clash]] + rank[clash]
    for level in np.unique(lengths[clash]):
        sizes[level] += int(shared_by[clash][lengths[clash] == level].max())
    return codes, tuple(sizes)


QUANTIZERS: dict[str, ModuleType] = {"pq": pq, "rq": rq, "rqvae": rqvae, "svd": svd}


def _unfaithfulness(item_codes: ItemCodes, vectors: np.ndarray | None) -> np.ndarray:
    """Return squared distances [I] between the vectors of items and IDs; zeros without vectors."""
    module = QUANTIZERS.get(item_codes.scheme)
    if vectors is None or module is None:
        return np.zeros(item_codes.num_items)
    error = np.asarray(vectors, np.float64) - module.decode(item_codes, item_codes.codes)
    return (error**2).sum(axis=1)


def _costs(
    item_codes: ItemCodes, wanted: np.ndarray, vectors: np.ndarray | None
) -> list[list[np.ndarray]]:
    """Return the cost of each code of each level for each of n items: n lists of L arrays [C_l]."""
    sizes = item_codes.sizes
    module = QUANTIZERS.get(item_codes.scheme)
    if vectors is None or module is None:
        # The cost is the number of steps upward (cyclically) to a code. A step at one level
        # outweighs all steps at later levels.
        weights = [
            math.prod(float(size) for size in sizes[level + 1 :]) for level in range(len(sizes))
        ]
        return [
            [
                w * ((np.arange(c) - code) % c)
                for w, c, code in zip(weights, sizes, row, strict=True)
            ]
            for row in wanted.tolist()
        ]
    levels = module.level_costs(item_codes, vectors)
    padded = []
    for cost, size in zip(levels, sizes[: len(levels)], strict=True):
        # Codes without a centroid stand for no vector, so they come after all codes with one.
        unused = 1e6 * (1 + cost.max()) * np.arange(1, size - cost.shape[1] + 1)
        padded.append(np.concatenate([cost, np.tile(unused, (len(cost), 1))], axis=1))
    for size in sizes[len(levels) :]:
        # A suffix stands for no vector, so it costs next to nothing; lower codes cost less.
        padded.append(np.tile(1e-9 * np.arange(size) / size, (len(wanted), 1)))
    return [[cost[i] for cost in padded] for i in range(len(wanted))]


def free_ids(
    item_codes: ItemCodes, wanted: np.ndarray, vectors: np.ndarray | None, group: np.ndarray
) -> np.ndarray:
    """Choose the cheapest free ID for each of n items, one after the other; int32 [n, L].

    Args:
      item_codes: the IDs that are taken, and the codebooks.
      wanted: IDs [n, L] that the items would have if they were free.
      vectors: vectors [n, D] of the items. None measures cost by steps from the wanted ID.
      group: a number [n] that items with (nearly) the same wanted ID share.
    """
    sizes = item_codes.sizes
    grid = math.prod(sizes)
    chosen = np.empty((len(wanted), len(sizes)), np.int32)
    taken_mask = np.zeros(sizes, bool) if grid <= _DENSE_GRID else None
    taken: set[tuple[int, ...]] = set()
    if taken_mask is not None:
        taken_mask[tuple(item_codes.codes.T)] = True
    else:
        taken = set(map(tuple, item_codes.codes.tolist()))
    large = np.bincount(group, minlength=1) >= _LARGE_GROUP
    shared: dict[int, Iterator[tuple[int, ...]]] = {}
    for begin in range(0, len(wanted), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        costs = _costs(item_codes, wanted[part], None if vectors is None else vectors[part])
        for i, (own_group, cost) in enumerate(zip(group[part].tolist(), costs, strict=True)):
            if taken_mask is not None:
                total = np.where(taken_mask, np.inf, _outer_sum(cost))
                new = tuple(int(c) for c in np.unravel_index(total.argmin(), sizes))
                taken_mask[new] = True
            else:
                search = shared.get(own_group) or _ascending(cost)
                if large[own_group]:
                    shared[own_group] = search
                new = next(candidate for candidate in search if candidate not in taken)
                taken.add(new)
            chosen[begin + i] = new
    return chosen


def _outer_sum(cost: list[np.ndarray]) -> np.ndarray:
    """Return the total cost of every ID of the grid, [C_0, ..., C_{L-1}]."""
    total = cost[0]
    for level in cost[1:]:
        total = total[..., None] + level
    return total


def _ascending(cost: list[np.ndarray]) -> Iterator[tuple[int, ...]]:
    """Yield all IDs in ascending order of total cost, by best-first search over ranks per level.

    Stepping down the last non-zero rank of an ID gives its only parent, so no set of visited IDs is
    needed (cf. the multi-sequence algorithm of Babenko and Lempitsky, 2012).
    """
    order = [np.argsort(level, kind="stable").tolist() for level in cost]
    ranked = [np.sort(level, kind="stable").tolist() for level in cost]
    start = sum(level[0] for level in ranked)
    heap = [(start, (0,) * len(cost), 0)]
    while heap:
        total, ranks, last = heapq.heappop(heap)
        yield tuple(codes[rank] for codes, rank in zip(order, ranks, strict=True))
        for level in range(last, len(cost)):
            rank = ranks[level]
            if rank + 1 < len(ranked[level]):
                step = ranked[level][rank + 1] - ranked[level][rank]
                child = (*ranks[:level], rank + 1, *ranks[level + 1 :])
                heapq.heappush(heap, (total + step, child, level))
