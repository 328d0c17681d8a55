"""Ranking metrics over the full catalogue, exact in the presence of ties.

Each user has one relevant item, the target. Its *tied block* says how many items score strictly
better and how many score the same; every metric is a function of that block. The block is counted
on the device. The metrics are computed from it on the host, in float64 and one value per user, so
that bootstrap intervals and paired tests can start from them.

Shapes: `B` batch, `U` users, `I` items, `K` beams (length of a generated list).
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError, check_mask, check_numbers, count_done

Array = jax.Array | np.ndarray
Batch = Mapping[str, Any]
Ties = Literal["average", "midrank"]
# What becomes of a target that the user has already met, where seen items are removed: it is ranked
# among the items that are left, or it is removed too and counts as a miss.
Repeated = Literal["ranked", "missed"]


class TiedBlock(NamedTuple):
    """The 0-based ranks `better, ..., better + tied - 1` that the target shares with tied items.

    `tied` counts the target itself. `tied == 0` marks a row without a rank (a NaN score, or a
    target outside the catalogue); its metrics are NaN. `tied == -1` marks a target that was removed
    from the ranking; its metrics are 0.
    """

    better: Array  # int32 [U]
    tied: Array  # int32 [U]


def seen_mask(seen: Array, num_items: int) -> jax.Array:
    """Turn lists of seen items, int [B, S] padded with -1, into a mask, bool [B, I].

    Example:
      >>> import numpy as np
      >>> seen_mask(np.array([[0, 2], [-1, 1]]), num_items=3).tolist()
      [[True, False, True], [False, True, False]]

    Raises:
      DataError: an item outside the catalogue.
    """
    check_numbers(seen, num_items, "seen items")
    # A negative index would wrap around to the end of the catalogue.
    seen = jnp.where(jnp.asarray(seen) < 0, num_items, jnp.asarray(seen))
    row = jnp.arange(seen.shape[0])[:, None]
    mask = jnp.zeros((seen.shape[0], num_items), bool)
    return mask.at[row, seen].set(True, mode="drop")


def removed_items(
    histories: Sequence[np.ndarray], targets: Array, repeated: Repeated = "ranked"
) -> list[np.ndarray]:
    """Return the items that a ranking without seen items leaves out: U arrays.

    Generated lists and rankings by scores measure the same only if both leave out these items.

    Args:
      histories: U arrays of item numbers.
      targets: int [U].
      repeated: "ranked" keeps a target that stands in the history, as RecBole's full ranking does;
        "missed" removes it like any other seen item, so that it can never be found.

    Raises:
      ConfigError: an unknown rule.

    Example:
      >>> import numpy as np
      >>> histories = [np.array([4, 2, 4]), np.array([0, 1])]
      >>> [items.tolist() for items in removed_items(histories, np.array([4, 3]))]
      [[2], [0, 1]]
    """
    check_repeated(repeated)
    pairs = zip(histories, np.asarray(targets).tolist(), strict=True)
    if repeated == "missed":
        return [np.asarray(items) for items, _ in pairs]
    return [np.asarray(items)[np.asarray(items) != target] for items, target in pairs]


def check_repeated(repeated: str, name: str = "repeated") -> None:
    """Reject an unknown rule for targets that a user has already met.

    Raises:
      ConfigError: naming the value and the rules.
    """
    if repeated not in get_args(Repeated):
        raise ConfigError(
            f"unknown {name}={repeated!r}; available: {', '.join(get_args(Repeated))}"
        )


@functools.partial(jax.jit, static_argnames="repeated")
def tied_blocks(
    scores: Array, target: Array, excluded: Array | None = None, repeated: Repeated = "ranked"
) -> TiedBlock:
    """Count the items that score better than the target, and those that score the same.

    Args:
      scores: float [B, I], higher is better; -inf is a score like any other.
      target: int [B].
      excluded: bool [B, I], items to leave out of the ranking (see `seen_mask`).
      repeated: "ranked" keeps an excluded target in the ranking, because a user may come back to an
        item; "missed" does not.

    Returns:
      The block of each row, int32 [B]. `tied` is 0 if a ranked score is NaN or the target is not in
      0..I-1, so that such a row never counts as a hit; and -1 if the target was removed.

    Raises:
      ConfigError: `excluded` does not have the shape of the scores, or an unknown rule.

    Example:
      >>> import numpy as np
      >>> block = tied_blocks(np.array([[0.9, 0.5, 0.5, 0.1]]), np.array([2]))
      >>> block.better.tolist(), block.tied.tolist()
      ([1], [2])
    """
    scores, target = jnp.asarray(scores), jnp.asarray(target)
    _check_targets(target)
    check_repeated(repeated)
    if excluded is not None:
        check_mask(excluded, scores.shape, "excluded items")
    items = jnp.arange(scores.shape[1], dtype=target.dtype)
    is_target = items[None, :] == target[:, None]  # [B, I]
    takes_part = jnp.ones_like(is_target) if excluded is None else ~jnp.asarray(excluded)
    removed = (is_target & ~takes_part).any(axis=1)
    takes_part = takes_part | is_target
    score = jnp.max(scores, axis=1, keepdims=True, where=is_target, initial=-jnp.inf)  # [B, 1]
    better = jnp.sum(takes_part & (scores > score), axis=1, dtype=jnp.int32)
    tied = jnp.sum(takes_part & (scores == score), axis=1, dtype=jnp.int32)
    ranked = is_target.any(axis=1) & ~(takes_part & jnp.isnan(scores)).any(axis=1)
    if repeated == "missed":
        tied = jnp.where(removed, -1, tied)
    return TiedBlock(better, jnp.where(ranked, tied, 0))


def _check_targets(target: Array) -> None:
    """Reject several targets a user."""
    if target.ndim != 1:
        raise DataError(
            f"expected one target a user, got an array of shape {target.shape}; measure lists with "
            "several relevant items by relevance_metrics"
        )


def hit_rate(block: TiedBlock, k: int, ties: Ties = "average") -> np.ndarray:
    """HR@k = 1[r < k] at rank r: float64 [U]. `ndcg` explains `ties`.

    Example:
      >>> import numpy as np
      >>> block = TiedBlock(better=np.array([0, 4, 9]), tied=np.array([1, 1, 2]))
      >>> hit_rate(block, k=10).tolist()  # the last target is in the top 10 in half of the orders
      [1.0, 1.0, 0.5]
    """
    return _expected_gain(block, lambda r: np.ones_like(r), k, ties)


def ndcg(block: TiedBlock, k: int, ties: Ties = "average") -> np.ndarray:
    """NDCG@k = 1[r < k] / log2(r + 2) at rank r: float64 [U].

    Args:
      block: the tied block of each target.
      k: number of ranks that count, at least 1.
      ties: "average" takes the mean of the metric over all positions of the block, which is its
        expectation under a random order of the tied items; "midrank" takes the metric at the mean
        position `better + (tied - 1) / 2`, a fractional rank. Without ties both are equal.

    Raises:
      ConfigError: `k` is below 1 or `ties` is unknown.

    Example:
      >>> import numpy as np
      >>> ndcg(TiedBlock(better=np.array([0, 2]), tied=np.array([1, 1])), k=10).round(3).tolist()
      [1.0, 0.5]
    """
    return _expected_gain(block, lambda r: 1 / np.log2(r + 2), k, ties)


def mrr(block: TiedBlock, k: int | None = None, ties: Ties = "average") -> np.ndarray:
    """MRR@k = 1[r < k] / (r + 1) at rank r: float64 [U].

    `k=None` counts all ranks. `ndcg` explains `ties`.

    Example:
      >>> import numpy as np
      >>> mrr(TiedBlock(better=np.array([0, 3]), tied=np.array([1, 1]))).round(3).tolist()
      [1.0, 0.25]
    """
    return _expected_gain(block, lambda r: 1 / (r + 1), k, ties)


def _expected_gain(
    block: TiedBlock, gain: Callable[[np.ndarray], np.ndarray], k: int | None, ties: Ties
) -> np.ndarray:
    if k is not None and k < 1:
        raise ConfigError(f"a ranking metric needs k of at least 1, got k={k}")
    if ties not in get_args(Ties):
        raise ConfigError(f"unknown ties={ties!r}; available: {', '.join(get_args(Ties))}")
    better = np.asarray(block.better, np.int64)
    tied = np.asarray(block.tied, np.int64)
    worst = int((better + tied).max(initial=0))
    k = worst if k is None else k
    some = np.maximum(tied, 1)
    if ties == "midrank":
        rank = better + (some - 1) / 2
        value = np.where(rank < k, gain(rank), 0.0)
    else:
        # A prefix sum gives the sum of the gains over better..better+tied-1, cut at k.
        prefix = np.concatenate([[0.0], np.cumsum(gain(np.arange(min(k, worst), dtype=float)))])
        end = len(prefix) - 1
        value = prefix[np.minimum(better + tied, end)] - prefix[np.minimum(better, end)]
        value = value / some
    return np.where(tied > 0, value, np.where(tied < 0, 0.0, np.nan))


def ranking_metrics(
    block: TiedBlock, ks: Sequence[int] = (5, 10), ties: Ties = "average"
) -> dict[str, np.ndarray]:
    """Return "hr@k", "ndcg@k", "mrr@k" for each k, and "mrr": name -> float64 [U].

    Example:
      >>> import numpy as np
      >>> metrics = ranking_metrics(TiedBlock(np.array([1]), np.array([1])), ks=(5,))
      >>> {name: round(float(values[0]), 3) for name, values in metrics.items()}
      {'hr@5': 1.0, 'ndcg@5': 0.631, 'mrr@5': 0.5, 'mrr': 0.5}
    """
    metrics = {}
    for k in ks:
        metrics[f"hr@{k}"] = hit_rate(block, k, ties)
        metrics[f"ndcg@{k}"] = ndcg(block, k, ties)
        metrics[f"mrr@{k}"] = mrr(block, k, ties)
    return metrics | {"mrr": mrr(block, ties=ties)}


def list_metrics(items: Array, target: Array, ks: Sequence[int] = (5, 10)) -> dict[str, np.ndarray]:
    """Metrics of generated lists: the rank is the position in the list; a missing target is a miss.

    Args:
      items: int [U, K], best first, -1 in places that the search left empty.
      target: int [U].
      ks: cut-offs; none may exceed K, because a list says nothing about later ranks.

    Returns:
      "hr@k", "ndcg@k", "mrr@k" for each k: name -> float64 [U].

    Raises:
      ConfigError: a k is above K.
      DataError: a target is negative, and would therefore match an empty place; a list holds a
        number below -1; or there are not as many targets as lists.

    Example:
      >>> import numpy as np
      >>> metrics = list_metrics(np.array([[7, 3], [5, -1]]), np.array([3, 9]), ks=(2,))
      >>> metrics["hr@2"].tolist(), metrics["mrr@2"].tolist()
      ([1.0, 0.0], [0.5, 0.0])
    """
    items, target = np.asarray(items), np.asarray(target)
    _check_targets(target)
    width = items.shape[1]
    if max(ks) > width:
        raise ConfigError(
            f"metrics at k={max(ks)} of lists of {width} items; k must be at most {width}"
        )
    if (target < 0).any():
        raise DataError(
            f"target {target.min()} of user row {target.argmin()} is not an item; expected a "
            "number of at least 0"
        )
    if len(items) != len(target):
        raise DataError(
            f"{len(items)} lists for {len(target)} targets; give one target for each list"
        )
    # The catalogue is not known here: any number may be an item, but -2 may not.
    check_numbers(items, np.iinfo(np.int64).max, "items of a list")
    hit = items == target[:, None]  # [U, K]
    # argmax gives the first place, so an item listed twice still fills two places.
    rank = np.where(hit.any(axis=1), hit.argmax(axis=1), width)
    metrics = ranking_metrics(TiedBlock(rank, np.ones_like(rank)), ks)
    del metrics["mrr"]
    return metrics


def evaluate(
    score_fn: Callable[[Batch], Array],
    batches: Iterable[Batch],
    ks: Sequence[int] = (5, 10),
    ties: Ties = "average",
    repeated: Repeated = "ranked",
) -> dict[str, np.ndarray]:
    """Rank the full catalogue for every user, one batch at a time.

    Args:
      score_fn: maps a batch to scores, float [B, I].
      batches: each with "target", int [B]; optionally "seen", int [B, S] padded with -1, items to
        leave out of the ranking; optionally "valid", bool [B], False for rows that only fill up a
        batch; optionally "row", int [B], the place of each user in the result; and whatever else
        `score_fn` reads.
      ks: see `ranking_metrics`.
      ties: see `ndcg`.
      repeated: whether a target among the seen items is ranked, see `removed_items`.

    Returns:
      Name -> float64 [U], users in the order of "row", or else of the batches.

    Raises:
      ConfigError: an unknown rule.
      DataError: there are no users, a score is NaN, or a target or a seen item is outside the
        catalogue.

    Example:
      >>> import numpy as np
      >>> scores = np.array([[0.3, 0.2, 0.1], [0.3, 0.2, 0.1]])
      >>> batch = {"target": np.array([1, 2]), "seen": np.array([[0], [-1]])}
      >>> average(evaluate(lambda batch: scores, [batch], ks=(1,)))["hr@1"]
      0.5
    """
    check_repeated(repeated)
    better, tied, places = [], [], []
    users = 0
    for batch in batches:
        scores = score_fn(batch)
        seen = batch.get("seen")
        excluded = None if seen is None else seen_mask(seen, scores.shape[1])
        block = tied_blocks(scores, batch["target"], excluded, repeated)
        valid = np.asarray(batch.get("valid", np.ones(len(scores), bool)))
        places.append(_places(batch, valid, users))
        rows = TiedBlock(np.asarray(block.better)[valid], np.asarray(block.tied)[valid])
        if (rows.tied == 0).any():
            row = int(np.argmin(rows.tied))
            item = int(np.asarray(batch["target"])[valid][row])
            raise DataError(
                f"user row {users + row} cannot be ranked: its target is {item} of "
                f"{scores.shape[1]} items; either the target is outside the catalogue or a score "
                "is NaN"
            )
        users += len(rows.tied)
        count_done(len(rows.tied))
        better.append(rows.better)
        tied.append(rows.tied)
    if not users:
        raise DataError("there are no users to evaluate; check the split and the filters")
    order = np.argsort(np.concatenate(places), kind="stable")
    block = TiedBlock(np.concatenate(better)[order], np.concatenate(tied)[order])
    return ranking_metrics(block, ks, ties)


def _places(batch: Batch, valid: np.ndarray, done: int) -> np.ndarray:
    """Return the places of a batch's users in the result, given the number of users before it."""
    if "row" in batch:
        return np.asarray(batch["row"])[valid]
    return done + np.arange(int(valid.sum()))


def top_lists(
    score_fn: Callable[[Batch], Array],
    batches: Iterable[Batch],
    k: int,
    repeated: Repeated = "missed",
) -> np.ndarray:
    """The best `k` items of each user: int32 [U, k]; ties are in the order of item numbers.

    Args:
      score_fn: maps a batch to scores, float [B, I].
      batches: see `evaluate`; "target" is only read under "ranked".
      k: length of the lists; -1 fills the places of users with fewer items to choose from.
      repeated: whether a target among the seen items can be listed, see `removed_items`. Unlike
        those of `evaluate`, lists are by default for a user who wants no seen items.

    Example:
      >>> import numpy as np
      >>> scores = np.array([[0.3, 0.2, 0.1]])
      >>> top_lists(lambda batch: scores, [{"seen": np.array([[0]])}], k=2).tolist()
      [[1, 2]]
    """
    check_repeated(repeated)
    lists, places, users = [], [], 0
    for batch in batches:
        items, valid = _top(score_fn(batch), batch, k, repeated)
        lists.append(items)
        places.append(_places(batch, valid, users))
        users += len(items)
    return np.concatenate(lists)[np.argsort(np.concatenate(places), kind="stable")]


def _top(scores: Array, batch: Batch, k: int, repeated: Repeated) -> tuple[np.ndarray, np.ndarray]:
    """Return the lists of the users of a batch, and which of its rows are users."""
    scores = jnp.asarray(scores)
    seen, most = batch.get("seen"), min(k, scores.shape[1])
    if seen is not None:
        if repeated == "ranked":
            seen = np.where(np.asarray(seen) == np.asarray(batch["target"])[:, None], -1, seen)
        scores = jnp.where(seen_mask(seen, scores.shape[1]), -jnp.inf, scores)
    best, items = jax.lax.top_k(scores, most)
    items = jnp.pad(
        jnp.where(best > -jnp.inf, items, -1), ((0, 0), (0, k - most)), constant_values=-1
    )
    valid = np.asarray(batch.get("valid", np.ones(len(items), bool)))
    return np.asarray(items, np.int32)[valid], valid


def average(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Average each metric over its users: name -> mean of [U].

    Example:
      >>> import numpy as np
      >>> average({"hr@10": np.array([1.0, 0.0])})
      {'hr@10': 0.5}
    """
    return {name: float(np.mean(values)) for name, values in metrics.items()}
