"""Whether liked items score above disliked ones: AUC pooled, within users, and how sure it is.

Examples of one user are alike, so intervals draw users, not examples (cluster bootstrap; Field and
Welsh, Bootstrapping clustered data, JRSS B 2007). Shapes: `N` examples.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxrec.core import DataError
from jaxrec.eval.significance import Interval, PairedTest


class ClickMetrics(NamedTuple):
    """AUC over all examples, and the mean of users' own AUC, with intervals."""

    auc: Interval
    within_user: Interval


def pooled_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive example scores above a negative one, ties counting half.

    Args:
      labels: `[N]` bool or 0/1.
      scores: `[N]`.

    Raises:
      DataError: one class only, other labels, or scores that are not finite.
    """
    from sklearn.metrics import roc_auc_score

    labels, scores = np.asarray(labels), np.asarray(scores)
    values = set(np.unique(labels).tolist())
    if not values <= {0, 1} or len(values) < 2:
        raise DataError(f"AUC needs labels of both kinds, 0 and 1, got {sorted(values)}")
    if not np.isfinite(scores).all():
        raise DataError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite")
    return float(roc_auc_score(labels, scores))


def within_user_auc(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> float:
    """Mean of users' AUC, weighted by their examples; users with one kind of label do not count.

    What orders users by how much they like, and no user's items, scores .5 here.

    Args:
      labels: as `pooled_auc`.
      scores: likewise.
      users: `[N]`, whose example it is.

    Raises:
      DataError: no user has both kinds of label.
    """
    each = _within(labels, scores, users)
    if not each:
        raise DataError("no user has both liked and disliked examples, so no AUC within users")
    return _mean(list(each.values()))


def click_metrics(
    labels: np.ndarray,
    scores: np.ndarray,
    users: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> ClickMetrics:
    """Both AUCs with cluster bootstrap intervals over users.

    Args:
      labels: `[N]`, as above.
      scores: `[N]`.
      users: `[N]`.
      level: confidence.
      resamples: of the users; those that hold one kind of label only are left out.
      seed: of the draws.

    Raises:
      DataError: as `pooled_auc` and `within_user_auc`.
    """
    auc, within = pooled_auc(labels, scores), within_user_auc(labels, scores, users)
    each = _within(labels, scores, users)
    pooled, inside = [], []
    for names, drawn in _draws(users, resamples, seed):
        if len(np.unique(labels[drawn])) == 2:
            pooled.append(pooled_auc(labels[drawn], scores[drawn]))
        if mine := [each[name] for name in names if name in each]:
            inside.append(_mean(mine))
    ends = [(1 - level) / 2, (1 + level) / 2]
    return ClickMetrics(
        Interval(auc, *map(float, np.quantile(pooled, ends))),
        Interval(within, *map(float, np.quantile(inside, ends))),
    )


def paired_auc(
    labels: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    users: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedTest:
    """Whether one scoring has another pooled AUC than a second, by a bootstrap over users.

    Args:
      labels: `[N]`, as above.
      scores: `[N]`, of the one.
      others: `[N]`, of the other.
      users: `[N]`.
      level: confidence.
      resamples: of the users.
      seed: of the draws.

    Returns:
      Difference, interval and p as `paired_bootstrap` defines them.
    """
    difference = pooled_auc(labels, scores) - pooled_auc(labels, others)
    found = np.array(
        [
            pooled_auc(labels[drawn], scores[drawn]) - pooled_auc(labels[drawn], others[drawn])
            for _, drawn in _draws(users, resamples, seed)
            if len(np.unique(labels[drawn])) == 2
        ]
    )
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    extreme = np.count_nonzero(np.abs(found - difference) >= abs(difference))
    return PairedTest(difference, float(low), float(high), (1 + extreme) / (1 + len(found)))


def _within(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> dict[Any, Any]:
    """AUC and number of examples of each user with both kinds of label."""
    each = {}
    for user in np.unique(users).tolist():
        mine = users == user
        if len(np.unique(labels[mine])) == 2:
            each[user] = (pooled_auc(labels[mine], scores[mine]), int(mine.sum()))
    return each


def _mean(each: list[tuple[float, int]]) -> float:
    return sum(auc * count for auc, count in each) / sum(count for _, count in each)


def _draws(users: np.ndarray, resamples: int, seed: int) -> Iterator[tuple[list[Any], np.ndarray]]:
    """Users drawn with replacement, and the rows of their examples."""
    rng, names = np.random.default_rng(seed), np.unique(users)
    rows = [np.flatnonzero(users == user) for user in names]
    for _ in range(resamples):
        chosen = rng.integers(0, len(names), len(names))
        yield names[chosen].tolist(), np.concatenate([rows[i] for i in chosen])
