"""Labelers: their agreement with a gold set, by which they are selected, and with one another.

A comparison of two answers is a pair in both orders: "a is better than b" is also "b is worse than
a". Measures that correct for chance would otherwise depend on which answer comes first.
"""

import dataclasses
import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import numpy as np

from jaxrec.align.agreement import cohen_kappa, kendall_tau, percent_agreement
from jaxrec.align.feedback import Feedback
from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import files

Measure = Literal["percent", "kappa", "tau"]


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
                kappa=cohen_kappa(*(_both_orders(shared, side) for side in (a, b))),
                tau=float(np.mean(tau)) if tau else float("nan"),
            )
        )
    if not rows:
        raise DataError(
            f"nobody else labeled a unit of {files.shown(gold)}; let the labelers answer the same "
            "prompts"
        )
    return sorted(rows, key=lambda row: (-row.percent, row.labeler))


def _both_orders(units: Sequence[Hashable], labels: Sequence[float]) -> list[float]:
    """The labels, and once more those of pairs, with their answers exchanged."""
    turned = [-label for unit, label in zip(units, labels, strict=True) if _is_pair(unit)]
    return [*labels, *turned]


def _is_pair(unit: Hashable) -> bool:
    return isinstance(unit, tuple) and unit[0] == "pair"


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


def by_criterion(records: Sequence[Feedback]) -> dict[str, list[Feedback]]:
    """Separate the criteria of questions, and the rules, which have scales of their own.

    Args:
      records: feedback of one kind.

    Returns:
      Name of a criterion or rule -> the records with this one alone; all rankings and best answers
      are under "ranking".

    Example:
      >>> said = {"prompt_id": "7", "prompt": "Hi", "answers": ("a",), "time": 0.0}
      >>> payload = {"scores": {"helpful": [5], "harmless": [True]}}
      >>> record = Feedback(labeler="ann", kind="questions", payload=payload, **said)
      >>> by_criterion([record])["helpful"][0].payload
      {'scores': {'helpful': [5]}}
    """
    found: dict[str, list[Feedback]] = {}
    for record in records:
        if record.kind in ("ranking", "best"):
            found.setdefault("ranking", []).append(record)
            continue
        for key, scores in record.payload.items():
            for name, values in scores.items():
                one = dataclasses.replace(record, payload={key: {name: values}})
                found.setdefault(name, []).append(one)
    return found


def rating_table(records: Sequence[Feedback]) -> tuple[list[str], np.ndarray]:
    """Lay out the labels of all labelers for `krippendorff_alpha`.

    Args:
      records: feedback of one kind.

    Returns:
      The labelers, and `[labelers, units]` labels with NaN where a labeler gave none. A pair of
      answers has two columns, one for each order.

    Raises:
      DataError: no records, or several kinds of feedback, whose labels cannot be compared.

    Example:
      >>> said = {"prompt_id": "7", "prompt": "Hi", "answers": ("a", "b"), "time": 0.0}
      >>> records = [Feedback(labeler=who, kind="best", payload={"best": 1}, **said)
      ...     for who in ("ann", "bob")]
      >>> rating_table(records)[1].tolist()
      [[-1.0, 1.0], [-1.0, 1.0]]
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
    turned = [number for unit, number in units.items() if _is_pair(unit)]
    return list(labels), np.concatenate([table, -table[:, turned]], axis=1)
