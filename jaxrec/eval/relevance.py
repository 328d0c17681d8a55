"""Metrics of lists for users with several relevant items, which may be relevant to a degree.

Users with one target each are measured by `eval.ranking`, which gives the same values for them.
Published metrics of the same name differ for several targets, so two of the choices are arguments.

Shapes: `U` users, `K` places of a list, `R` relevant items of a user.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError, check_numbers

Gain = Literal["linear", "exponential"]
MapOver = Literal["reachable", "relevant"]


def relevance_metrics(
    items: np.ndarray,
    relevant: Sequence[np.ndarray],
    ks: Sequence[int] = (5, 10),
    *,
    grades: Sequence[np.ndarray] | None = None,
    gain: Gain = "linear",
    map_over: MapOver = "reachable",
) -> dict[str, np.ndarray]:
    """Hit rate, recall, NDCG, MRR and average precision of lists.

    With h(r) = 1 if the item at rank r (from 1) is relevant, g(r) its gain, P(r) the share of
    relevant items among the first r, and n the number of relevant items,

        HR@k = max h(r)             recall@k = Σ h(r) / n        MRR@k = max h(r) / r
        NDCG@k = Σ g(r) / log2(r + 1), over the same sum for the best possible list
        MAP@k = Σ h(r) P(r) / min(n, k), or / n

    where r runs from 1 to k.

    Args:
      items: int [U, K], best first, -1 in places that the search left empty. A repeated item counts
        once, where it stands first.
      relevant: U arrays of different items.
      ks: cut-offs; none may exceed K.
      grades: U arrays of grades above 0, one for each relevant item; None if all are 1. They only
        matter to NDCG.
      gain: g of a grade: the grade itself (Järvelin and Kekäläinen 2002; `ndcg` of ranx), or
        2^grade - 1 (Burges et al. 2005; `ndcg_burges` of ranx). Without grades both are 1, as in
        RecBole.
      map_over: what MAP divides by: "reachable", min(n, k), as in RecBole; or "relevant", n, as in
        ranx and trec_eval.

    Returns:
      "hr@k", "recall@k", "ndcg@k", "mrr@k", "map@k" for each k: name -> float64 [U].

    Raises:
      ConfigError: a k is not in 1..K, or an unknown choice.
      DataError: a user without relevant items or with the same one twice, a negative item, or
        grades that do not fit.

    Example:
      >>> metrics = relevance_metrics(np.array([[7, 3, 5]]), [np.array([5, 7])], ks=(3,))
      >>> {name: round(float(values[0]), 3) for name, values in metrics.items()}
      {'hr@3': 1.0, 'recall@3': 1.0, 'ndcg@3': 0.92, 'mrr@3': 1.0, 'map@3': 0.833}
    """
    items = np.asarray(items)
    for choice, known in ((gain, get_args(Gain)), (map_over, get_args(MapOver))):
        if choice not in known:
            raise ConfigError(f"no choice {choice!r}; available: {', '.join(known)}")
    if min(ks) < 1 or max(ks) > items.shape[1]:
        raise ConfigError(
            f"metrics at k={tuple(ks)} of lists of {items.shape[1]} items; every k must lie in "
            f"1..{items.shape[1]}"
        )
    rows = [np.asarray(row) for row in relevant]
    found_grades = [np.ones(len(row)) for row in rows] if grades is None else grades
    values = [np.asarray(row, np.float64) for row in found_grades]
    _check(items, rows, values)
    gains = [np.exp2(value) - 1 if gain == "exponential" else value for value in values]
    hit, got = _found(items, rows, gains)
    n = np.array([len(row) for row in rows])
    rank = np.arange(1, items.shape[1] + 1)
    precision = hit.cumsum(axis=1) / rank
    discount = 1 / np.log2(rank + 1)
    metrics: dict[str, Any] = {}
    for k in ks:
        top = hit[:, :k]
        ideal = [np.sort(value)[::-1][:k] for value in gains]
        best = np.array([(value * discount[: len(value)]).sum() for value in ideal])
        average = (top * precision[:, :k]).sum(axis=1)
        metrics[f"hr@{k}"] = top.any(axis=1).astype(np.float64)
        metrics[f"recall@{k}"] = top.sum(axis=1) / n
        metrics[f"ndcg@{k}"] = (got[:, :k] * discount[:k]).sum(axis=1) / best
        metrics[f"mrr@{k}"] = (top / rank[:k]).max(axis=1)
        metrics[f"map@{k}"] = average / (n if map_over == "relevant" else np.minimum(n, k))
    return metrics


def _check(items: np.ndarray, relevant: list[np.ndarray], grades: list[np.ndarray]) -> None:
    """Reject relevant items and grades that no metric is defined for."""
    if not len(items) == len(relevant) == len(grades):
        raise DataError(
            f"{len(items)} lists, {len(relevant)} rows of relevant items and {len(grades)} of "
            "grades; give one of each for every user"
        )
    largest = np.iinfo(np.int64).max
    check_numbers(items, largest, "items of a list")
    check_numbers(relevant, largest, "relevant items", missing=False)
    for user, (row, grade) in enumerate(zip(relevant, grades, strict=True)):
        if not len(row) or len(np.unique(row)) < len(row):
            what = "the same relevant item twice" if len(row) else "no relevant item"
            raise DataError(f"user row {user} has {what}; leave the user or the repeat out")
        if grade.shape != row.shape or not (np.isfinite(grade) & (grade > 0)).all():
            raise DataError(
                f"user row {user} has grades {grade.tolist()} for {len(row)} relevant items; give "
                "one finite grade above 0 for each"
            )


def _found(
    items: np.ndarray, relevant: list[np.ndarray], gains: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each place holds a relevant item for the first time, and its gain: [U, K]."""
    hit, got = np.zeros(items.shape, bool), np.zeros(items.shape)
    for user, (row, value) in enumerate(zip(relevant, gains, strict=True)):
        order = np.argsort(row)
        place = np.minimum(np.searchsorted(row[order], items[user]), len(row) - 1)
        first = np.zeros(items.shape[1], bool)
        first[np.unique(items[user], return_index=True)[1]] = True
        hit[user] = first & (row[order][place] == items[user])
        got[user] = np.where(hit[user], value[order][place], 0.0)
    return hit, got
