"""Whether liked items score above disliked ones: pooled and per-user AUC, with intervals.

The examples of one user are alike, so the bootstrap resamples users, not examples (cluster
bootstrap: Field and Welsh, Bootstrapping clustered data, JRSS B 2007).

Shapes: `N` examples.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxrec.core import DataError
from jaxrec.eval.significance import Interval, PairedTest


class ClickMetrics(NamedTuple):
    """Intervals of the AUC over all examples (pooled), and of the mean AUC within users."""

    auc: Interval
    within_user: Interval


class UserValues(NamedTuple):
    """One value per user, `[U]`, of the AUC over all examples and of the mean AUC within users."""

    auc: np.ndarray
    within_user: np.ndarray


def pooled_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive example scores above a negative one; ties count half.

    Args:
      labels: `[N]` bool or 0/1.
      scores: `[N]`.

    Raises:
      DataError: there is only one class, another label, or a score that is not finite.

    Example:
      >>> import numpy as np
      >>> pooled_auc(np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.4, 0.1]))
      0.875
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    values = set(np.unique(labels).tolist())
    if not values <= {0, 1} or len(values) < 2:
        raise DataError(f"AUC needs both labels 0 and 1 and no others, got {sorted(values)}")
    if not np.isfinite(scores).all():
        raise DataError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite")
    return _Ranked.of(labels, scores).auc(np.ones(len(scores), np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranked:
    """Examples by the rank of their score, so that a resample needs counts and no sorting.

    Attributes:
      rank: `[N]` place of each score among the different ones, ascending.
      liked: `[N]` bool.
    """

    rank: np.ndarray
    liked: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray) -> "_Ranked":
        rank = np.unique(scores, return_inverse=True)[1]
        return cls(rank, np.asarray(labels).astype(bool))

    def auc(self, times: np.ndarray) -> float:
        """The AUC of examples that count so many times, `[N]`; nan without both kinds of label.

        Mann and Whitney's U: for each positive example the negative ones below it, and half of
        those with its score.
        """
        many = np.bincount(self.rank, times * self.liked)
        few = np.bincount(self.rank, times * ~self.liked)
        pairs = many.sum() * few.sum()
        return float(many @ (np.cumsum(few) - few / 2) / pairs) if pairs else float("nan")


def within_user_auc(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> float:
    """Mean of the users' AUC, weighted by their numbers of examples.

    Users with only one kind of label do not count. Scores that only tell users apart, but not the
    items of a user, reach .5.

    Args:
      labels: `[N]` bool or 0/1.
      scores: `[N]`.
      users: `[N]`, the user of each example.

    Raises:
      DataError: no user has both kinds of label, or the errors of `pooled_auc`.

    Example:
      >>> import numpy as np
      >>> labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.2, 0.3])
      >>> within_user_auc(labels, scores, np.array([0, 0, 1, 1]))  # 1 for user 0 and 0 for user 1
      0.5
    """
    by_user = _within(labels, scores, users)
    if not by_user:
        raise DataError(
            "the AUC within users is undefined, because no user has both liked and disliked "
            "examples"
        )
    return _mean(list(by_user.values()))


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
      labels: `[N]` bool or 0/1.
      scores: `[N]`.
      users: `[N]`, the user of each example.
      level: confidence level.
      resamples: number of resamples of the users; those with only one kind of label are left out.
      seed: seed of the resamples.

    Raises:
      DataError: the errors of `pooled_auc` and `within_user_auc`.

    Example:
      >>> import numpy as np
      >>> labels, users = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
      >>> metrics = click_metrics(labels, np.array([0.9, 0.8, 0.3, 0.2]), users, resamples=20)
      >>> metrics.auc.mean, metrics.within_user
      (0.75, Interval(mean=1.0, low=1.0, high=1.0))
    """
    auc, within = pooled_auc(labels, scores), within_user_auc(labels, scores, users)
    by_user = _within(labels, scores, users)
    ranked, pooled, inside = _Ranked.of(labels, scores), [], []
    for names, times in _draws(users, resamples, seed):
        pooled.append(ranked.auc(times))
        if mine := [by_user[name] for name in names if name in by_user]:
            inside.append(_mean(mine))
    ends = [(1 - level) / 2, (1 + level) / 2]
    return ClickMetrics(
        Interval(auc, *map(float, np.nanquantile(pooled, ends))),
        Interval(within, *map(float, np.quantile(inside, ends))),
    )


def auc_interval(
    labels: np.ndarray,
    scores: np.ndarray,
    users: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The AUC over all examples with its interval over users, also where none has both labels.

    The arguments are those of `click_metrics`.

    Raises:
      DataError: the errors of `pooled_auc`.

    Example:
      >>> import numpy as np
      >>> labels, users = np.array([1, 0, 1, 0]), np.arange(4)
      >>> auc_interval(labels, np.array([0.9, 0.8, 0.3, 0.2]), users, resamples=20).mean
      0.75
    """
    auc = pooled_auc(labels, scores)
    ranked = _Ranked.of(labels, scores)
    pooled = [ranked.auc(times) for _, times in _draws(users, resamples, seed)]
    ends = np.nanquantile(pooled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(auc, *map(float, ends))


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
    """Test whether two scorings differ in pooled AUC, by a bootstrap over users.

    Args:
      labels: `[N]` bool or 0/1.
      scores: `[N]` of one system.
      others: `[N]` of the other system, for the same examples.
      users: `[N]`, the user of each example.
      level: confidence level.
      resamples: number of resamples of the users.
      seed: seed of the resamples.

    Returns:
      Difference (`scores` minus `others`), interval and p as `paired_bootstrap` defines them.

    Example:
      >>> import numpy as np
      >>> labels, users = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
      >>> better, worse = np.array([0.9, 0.1, 0.8, 0.2]), np.array([0.1, 0.9, 0.2, 0.8])
      >>> paired_auc(labels, better, worse, users, resamples=20).difference
      1.0
    """
    difference = pooled_auc(labels, scores) - pooled_auc(labels, others)
    one, other = _Ranked.of(labels, scores), _Ranked.of(labels, others)
    differences = [one.auc(times) - other.auc(times) for _, times in _draws(users, resamples, seed)]
    # A resample with one kind of label has no AUC.
    replicates = np.array(differences)[~np.isnan(differences)]
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    extreme = np.count_nonzero(np.abs(replicates - difference) >= abs(difference))
    return PairedTest(difference, float(low), float(high), (1 + extreme) / (1 + len(replicates)))


def auc_by_user(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> UserValues:
    """Spread both AUCs over the users: one value per user, whose mean is the AUC.

    The pooled AUC is a mean over pairs of examples, which may belong to two users, and the AUC
    within users is a weighted mean. So the value of a user is AUC + U times the user's part of its
    linearization: for the pooled AUC, with X of N+ liked and Y of N- disliked examples,

      value_u = AUC + U (Σ_{x ∈ u} (P(x > Y) - AUC) / N+  +  Σ_{y ∈ u} (P(X > y) - AUC) / N-),

    (Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 1997, equations 4
    and 5), and for the other, with weights n_u,

      value_u = AUC + U n_u (AUC_u - AUC) / Σ n.

    Tests that are paired over users can read these values. A single value may lie outside [0, 1].

    Args:
      labels: `[N]` bool or 0/1.
      scores: `[N]`.
      users: `[N]`, the user of each example.

    Returns:
      `[U]` each, in the order of the sorted users; a user with one kind of label has the mean as
      the value within users.

    Raises:
      DataError: the errors of `pooled_auc` and `within_user_auc`.

    Example:
      >>> import numpy as np
      >>> labels, users = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
      >>> values = auc_by_user(labels, np.array([0.9, 0.8, 0.3, 0.2]), users)
      >>> values.auc.tolist(), values.within_user.tolist()
      ([0.75, 0.75], [1.0, 1.0])
    """
    within = within_user_auc(labels, scores, users)
    names = np.unique(users)
    inside = np.zeros(len(names))
    by_user = _within(labels, scores, users)
    total = sum(count for _, count in by_user.values())
    for at, name in enumerate(names.tolist()):
        if name in by_user:
            own, count = by_user[name]
            inside[at] = count * (own - within) / total
    return UserValues(
        auc=pooled_auc_by_user(labels, scores, users), within_user=within + len(names) * inside
    )


def pooled_auc_by_user(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Spread the AUC over all examples over the users: see `auc_by_user`, of which it is one half.

    It is defined where no user has both kinds of label, too.

    Args:
      labels: `[N]` bool or 0/1.
      scores: `[N]`.
      users: `[N]`, the user of each example.

    Returns:
      `[U]` in the order of the sorted users.

    Raises:
      DataError: the errors of `pooled_auc`.

    Example:
      >>> import numpy as np
      >>> labels, users = np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])
      >>> pooled_auc_by_user(labels, np.array([0.9, 0.4, 0.5, 0.1]), users).tolist()
      [0.75, 0.75]
    """
    auc = pooled_auc(labels, scores)
    names, user = np.unique(users, return_inverse=True)
    liked = np.asarray(labels).astype(bool)
    part = np.zeros(len(scores))
    part[liked] = (_share_below(scores[~liked], scores[liked]) - auc) / liked.sum()
    part[~liked] = (1 - _share_below(scores[liked], scores[~liked]) - auc) / (~liked).sum()
    return auc + len(names) * np.bincount(user, part, minlength=len(names))


def share_by_user(right: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Spread the share of right answers over the users: one value per user, whose mean it is.

    Users with more examples count for more: the value of a user is

      value_u = share + U n_u (share_u - share) / N,

    with n_u of the N examples, as in `auc_by_user`.

    Args:
      right: `[N]` bool.
      users: `[N]`, the user of each example.

    Returns:
      `[U]` in the order of the sorted users.

    Raises:
      DataError: no examples, or another number of users.

    Example:
      >>> import numpy as np
      >>> share_by_user(np.array([True, True, False, True]), np.array([0, 0, 0, 1])).tolist()
      [0.625, 0.875]
    """
    right = np.asarray(right, np.float64)
    if not len(right) or right.shape != np.shape(users):
        raise DataError(
            f"{len(right)} answers of {len(users)} users; give the user of each answer, and at "
            "least one"
        )
    names, user = np.unique(users, return_inverse=True)
    share = right.mean()
    part = np.bincount(user, right - share, minlength=len(names))
    return share + len(names) * part / len(right)


def _share_below(scores: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Share of the scores below each bound; ties count half."""
    ordered = np.sort(scores)
    sides = [np.searchsorted(ordered, bounds, side) for side in ("left", "right")]
    return (sides[0] + sides[1]) / (2 * len(scores))


def _within(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> dict[Any, Any]:
    """AUC and number of examples of each user who has both kinds of label."""
    by_user = {}
    for user in np.unique(users).tolist():
        mine = users == user
        if len(np.unique(labels[mine])) == 2:
            by_user[user] = (pooled_auc(labels[mine], scores[mine]), int(mine.sum()))
    return by_user


def _mean(weighted: list[tuple[float, int]]) -> float:
    return sum(auc * count for auc, count in weighted) / sum(count for _, count in weighted)


def _draws(users: np.ndarray, resamples: int, seed: int) -> Iterator[tuple[list[Any], np.ndarray]]:
    """Users drawn with replacement, and how often their examples count then, `[N]`."""
    rng = np.random.default_rng(seed)
    names, user = np.unique(users, return_inverse=True)
    for _ in range(resamples):
        chosen = rng.integers(0, len(names), len(names))
        yield names[chosen].tolist(), np.bincount(chosen, minlength=len(names))[user]
