"""Whether liked items score above disliked ones: AUC pooled, within users, and how sure it is.

Examples of one user are alike, so intervals draw users, not examples (cluster bootstrap; Field and
Welsh, Bootstrapping clustered data, JRSS B 2007). Shapes: `N` examples.
"""

from typing import NamedTuple

import numpy as np

from jaxrec.core import DataError
from jaxrec.eval.significance import Interval


class ClickMetrics(NamedTuple):
    """AUC over all examples with its interval, and the mean of users' own AUC."""

    auc: Interval
    within_user: float


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
    total, weight = 0.0, 0
    for user in np.unique(users):
        mine = users == user
        if len(np.unique(labels[mine])) == 2:
            total += pooled_auc(labels[mine], scores[mine]) * int(mine.sum())
            weight += int(mine.sum())
    if not weight:
        raise DataError("no user has both liked and disliked examples, so no AUC within users")
    return total / weight


def click_metrics(
    labels: np.ndarray,
    scores: np.ndarray,
    users: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> ClickMetrics:
    """Pooled AUC with its cluster bootstrap interval over users, and the AUC within users.

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
    rng = np.random.default_rng(seed)
    names = np.unique(users)
    rows = [np.flatnonzero(users == user) for user in names]
    found = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(names), len(names))])
        if len(np.unique(labels[drawn])) == 2:
            found.append(pooled_auc(labels[drawn], scores[drawn]))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return ClickMetrics(Interval(auc, float(low), float(high)), within)
