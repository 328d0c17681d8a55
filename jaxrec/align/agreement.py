"""Agreement of labelers: with a gold set, by which they are selected, and with one another.

Percent agreement, Cohen's kappa (1960) and Kendall's tau-b compare two labelers; Krippendorff's
alpha compares any number of them, who may each have left out some units (Krippendorff 2011,
Computing Krippendorff's Alpha-Reliability).
"""

import dataclasses
import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.align.feedback import Feedback
from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import files

Level = Literal["nominal", "ordinal", "interval"]
Measure = Literal["percent", "kappa", "tau"]


def percent_agreement(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Return the share of the units that two labelers label alike.

    Raises:
      DataError: no units, or different numbers of them.

    Example:
      >>> percent_agreement([1, 2, 2, 1], [1, 2, 1, 1])
      0.75
    """
    _check_units(a, b)
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


def cohen_kappa(a: Sequence[Any], b: Sequence[Any]) -> float:
    """(p_o - p_e) / (1 - p_e): observed agreement p_o beyond that of chance, p_e.

    Args:
      a: labels of one labeler.
      b: labels of the other, for the same units.

    Returns:
      1 for labelers who agree on everything; NaN if both use one and the same label alone, where
      chance explains everything.

    Raises:
      DataError: no units, or different numbers of them.

    Example:
      >>> cohen_kappa([1, 2, 2, 1], [1, 2, 1, 1])
      0.5
    """
    _check_units(a, b)
    labels = {label: number for number, label in enumerate(dict.fromkeys([*a, *b]))}
    x, y = (np.bincount([labels[v] for v in side], minlength=len(labels)) for side in (a, b))
    observed = percent_agreement(a, b)
    chance = float(x @ y) / len(a) ** 2
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings, which allows ties; NaN if one ranks all units alike.

    Raises:
      DataError: no units, different numbers of them, or NaN.

    Example:
      >>> round(kendall_tau([1, 2, 3], [1, 3, 2]), 3)
      0.333
    """
    from scipy.stats import kendalltau

    _check_units(a, b)
    ranks = np.array([a, b], np.float64)
    if np.isnan(ranks).any():
        raise DataError("a ranking holds NaN; leave the unit out")
    if (ranks == ranks[:, :1]).all(axis=1).any():
        return float("nan")
    return float(kendalltau(*ranks).statistic)


def _check_units(a: Sequence[Any], b: Sequence[Any]) -> None:
    if not len(a) or len(a) != len(b):
        raise DataError(
            f"two labelers are compared on the same units, got {len(a)} and {len(b)} of them"
        )


def krippendorff_alpha(ratings: Any, level: Level = "nominal") -> float:
    """α = 1 - D_o / D_e: observed over expected disagreement of any number of labelers.

    With o_ck the coincidences of the values c and k, n_c = Σ_k o_ck and n = Σ_c n_c::

        α = 1 - (n - 1) Σ_ck o_ck δ²_ck / Σ_ck n_c n_k δ²_ck

    δ²_ck is 1 for c ≠ k if nominal, (Σ_{g=c..k} n_g - (n_c + n_k) / 2)² if ordinal, and (c - k)² if
    interval. A unit counts if at least two labelers rated it.

    Args:
      ratings: `[labelers, units]` numbers; NaN for a missing rating.
      level: of the values.

    Raises:
      ConfigError: an unknown level.
      DataError: not a table of numbers, no unit with two ratings, or one and the same value
        everywhere, for which alpha is not defined.

    Example:
      >>> krippendorff_alpha([[1, 2, 3], [1, 2, 3]])
      1.0
    """
    if level not in ("nominal", "ordinal", "interval"):
        levels = ("nominal", "ordinal", "interval")
        raise ConfigError(f"no level {level!r}{nearest(level, levels)}; levels: nominal, ...")
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2 or np.isinf(table).any():
        raise DataError(
            f"ratings must be finite numbers or NaN, [labelers, units]; got shape {table.shape}"
        )
    rated = ~np.isnan(table)
    table = table[:, rated.sum(axis=0) >= 2]
    if not table.size:
        raise DataError("no unit has ratings of two labelers, so there is nothing to agree on")
    values, codes = np.unique(table[~np.isnan(table)], return_inverse=True)
    if len(values) < 2:
        raise DataError(
            f"all ratings are {values[0]:g}, for which Krippendorff's alpha is not defined"
        )
    there = ~np.isnan(table)
    number = np.zeros(table.shape, int)
    number[there] = codes
    units = there.shape[1]
    # How often each value was given to each unit: [units, values]
    times = np.zeros((units, len(values)))
    np.add.at(times, (np.nonzero(there)[1], number[there]), 1)
    m = times.sum(axis=1)
    # A pair of ratings of a unit with m ratings weighs 1 / (m - 1).
    o = np.einsum("uc,uk,u->ck", times, times, 1 / (m - 1)) - np.diag(
        (times / (m - 1)[:, None]).sum(axis=0)
    )
    n_c = o.sum(axis=1)
    n = n_c.sum()
    delta = _squared_difference(values, n_c, level)
    return float(1 - (n - 1) * (o * delta).sum() / (np.outer(n_c, n_c) * delta).sum())


def _squared_difference(values: np.ndarray, n_c: np.ndarray, level: Level) -> np.ndarray:
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        return (values[:, None] - values[None]) ** 2
    ends = np.cumsum(n_c)
    # The sum from c to k is symmetric: it is taken from the smaller to the larger value.
    low = np.minimum.outer(np.arange(len(values)), np.arange(len(values)))
    high = np.maximum.outer(np.arange(len(values)), np.arange(len(values)))
    between = ends[high] - ends[low] + n_c[low]
    return (between - (n_c[low] + n_c[high]) / 2) ** 2 * (low != high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a labeler agrees with the gold set.

    Attributes:
      labeler: who.
      units: number of labels that both gave: pairs of answers, and scores of answers.
      percent: share of them that are equal.
      kappa: Cohen's; NaN where it is not defined.
      tau: mean over prompts of Kendall's tau of the ranks; NaN without rankings.
    """

    labeler: str
    units: int
    percent: float
    kappa: float
    tau: float


def labels_of(records: Sequence[Feedback]) -> dict[str, dict[Hashable, float]]:
    """Return what each labeler said about each unit, labeler -> unit -> number.

    A unit is a pair of answers to a prompt, labeled -1, 0 or 1 for which of them is better; or an
    answer under a criterion or rule, labeled by its score.

    Args:
      records: feedback of any kinds; the last label of a unit counts.

    Example:
      >>> said = {"prompt_id": "7", "prompt": "Hi", "answers": ("a", "b"), "time": 0.0}
      >>> record = Feedback(labeler="ann", kind="best", payload={"best": 1}, **said)
      >>> list(labels_of([record])["ann"].values())
      [-1.0]
    """
    found: dict[str, dict[Hashable, float]] = {}
    for record in records:
        mine = found.setdefault(record.labeler, {})
        if record.kind in ("ranking", "best"):
            ranked = sorted(zip(record.answers, record.ranks, strict=True))
            for (one, x), (other, y) in itertools.combinations(ranked, 2):
                if one != other:
                    mine["pair", record.prompt_id, one, other] = float(np.sign(y - x))
        else:
            for name, values in next(iter(record.payload.values())).items():
                for answer, value in zip(record.answers, values, strict=True):
                    mine[record.kind, record.prompt_id, name, answer] = float(value)
    return found


def agreement_with(records: Sequence[Feedback], gold: str) -> list[Agreement]:
    """Measure every labeler against one of them, the gold set; best first by percent.

    Args:
      records: feedback of several labelers, the gold one among them.
      gold: labeler whose labels are taken as right.

    Raises:
      DataError: no such labeler, or nobody else labeled a unit of the gold set.

    Example:
      >>> said = {"prompt_id": "7", "prompt": "Hi", "answers": ("a", "b"), "time": 0.0}
      >>> records = [Feedback(labeler=who, kind="best", payload={"best": 1}, **said)
      ...     for who in ("gold", "ann")]
      >>> agreement_with(records, "gold")[0].percent
      1.0
    """
    labels = labels_of(records)
    if gold not in labels:
        raise DataError(
            f"unknown labeler {files.shown(gold)}{nearest(gold, labels)}; labelers: "
            f"{files.listed(sorted(labels))}"
        )
    right, taus = labels.pop(gold), _taus(records, gold)
    rows = []
    for labeler, mine in labels.items():
        shared = [unit for unit in mine if unit in right]
        if not shared:
            continue
        a, b = [mine[unit] for unit in shared], [right[unit] for unit in shared]
        tau = taus.get(labeler, [])
        rows.append(
            Agreement(
                labeler=labeler,
                units=len(shared),
                percent=percent_agreement(a, b),
                kappa=cohen_kappa(a, b),
                tau=float(np.mean(tau)) if tau else float("nan"),
            )
        )
    if not rows:
        raise DataError(
            f"nobody else labeled a unit of {files.shown(gold)}; let the labelers answer the same "
            "prompts"
        )
    return sorted(rows, key=lambda row: (-row.percent, row.labeler))


def _taus(records: Sequence[Feedback], gold: str) -> dict[str, list[float]]:
    """Kendall's tau of each labeler's rankings and those of the gold set, where it is defined."""
    ranked = [record for record in records if record.kind == "ranking"]
    right = {
        r.prompt_id: dict(zip(r.answers, r.ranks, strict=True)) for r in ranked if r.labeler == gold
    }
    found: dict[str, list[float]] = {}
    for record in ranked:
        theirs = right.get(record.prompt_id, {})
        mine = dict(zip(record.answers, record.ranks, strict=True))
        shared = [answer for answer in mine if answer in theirs]
        if record.labeler != gold and len(shared) >= 2:
            tau = kendall_tau([mine[a] for a in shared], [theirs[a] for a in shared])
            if not np.isnan(tau):
                found.setdefault(record.labeler, []).append(tau)
    return found


def select_labelers(rows: Sequence[Agreement], count: int, by: Measure = "percent") -> list[str]:
    """Return the labelers who agree best with the gold set, best first.

    Args:
      rows: of `agreement_with`.
      count: how many to keep.
      by: "percent", "kappa" or "tau"; labelers for whom it is not defined come last.

    Raises:
      ConfigError: `count` is not between 1 and the number of labelers, or an unknown measure.

    Example:
      >>> rows = [Agreement(labeler=who, units=9, percent=p, kappa=0.0, tau=0.0)
      ...     for who, p in (("ann", 0.7), ("bob", 0.9))]
      >>> select_labelers(rows, 1)
      ['bob']
    """
    if by not in ("percent", "kappa", "tau"):
        raise ConfigError(f"no measure {by!r}; measures: percent, kappa, tau")
    if not 1 <= count <= len(rows):
        raise ConfigError(f"{count} of {len(rows)} labelers cannot be kept; give 1 to {len(rows)}")
    values: Mapping[str, float] = {row.labeler: getattr(row, by) for row in rows}
    order = sorted(values, key=lambda who: (np.isnan(values[who]), -values[who], who))
    return order[:count]


def rating_table(records: Sequence[Feedback]) -> tuple[list[str], np.ndarray]:
    """Lay out the labels of all labelers for `krippendorff_alpha`.

    Args:
      records: feedback of one kind.

    Returns:
      The labelers, and `[labelers, units]` labels with NaN where a labeler gave none.

    Raises:
      DataError: no records, or several kinds of feedback, whose labels cannot be compared.

    Example:
      >>> said = {"prompt_id": "7", "prompt": "Hi", "answers": ("a", "b"), "time": 0.0}
      >>> records = [Feedback(labeler=who, kind="best", payload={"best": 1}, **said)
      ...     for who in ("ann", "bob")]
      >>> rating_table(records)[1].tolist()
      [[-1.0], [-1.0]]
    """
    kinds = {"pair" if r.kind in ("ranking", "best") else r.kind for r in records}
    if len(kinds) != 1:
        raise DataError(
            f"labels of one kind of feedback are compared, got {sorted(kinds) or 'no records'}"
        )
    labels = labels_of(records)
    units = {
        unit: number
        for number, unit in enumerate(
            dict.fromkeys(unit for mine in labels.values() for unit in mine)
        )
    }
    table = np.full((len(labels), len(units)), np.nan)
    for row, mine in enumerate(labels.values()):
        for unit, value in mine.items():
            table[row, units[unit]] = value
    return list(labels), table
