"""Recency and forgetting: what a model knows of recent facts, and what an update makes it forget.

Facts after the date up to which the training data reach can only be known by an update, and an
update may damage what was known before (Zhao et al., A Survey of Large Language Models,
arXiv:2303.18223, section 7.1.2: knowledge recency).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrec.core import DataError


class Recency(NamedTuple):
    """Accuracy on both sides of a date.

    Attributes:
      before: on facts up to the date, the date itself included; nan without such facts.
      after: on later facts; nan without such facts.
      gap: `before` minus `after`.
    """

    before: float
    after: float
    gap: float


class Retention(NamedTuple):
    """What an update did to answers.

    Attributes:
      retained: share of the answers that were right before and still are; nan if none was right.
      learned: share of the answers that were wrong before and are right now; nan if none was wrong.
      change: accuracy after the update minus accuracy before it.
    """

    retained: float
    learned: float
    change: float


def recency(right: Sequence[float], dates: Sequence[object], cutoff: object) -> Recency:
    """Split an accuracy at a date.

    Args:
      right: for each fact 1 or 0, or a share, `[N]`.
      dates: since when each fact holds: N dates, numbers or ISO texts such as "2024-05-31".
      cutoff: last date of the training data, in the same form.

    Raises:
      DataError: no facts, other numbers, or dates of different kinds or dates without an order.

    Example:
      >>> recency([1, 1, 0, 1], [2019, 2020, 2021, 2022], cutoff=2020)
      Recency(before=1.0, after=0.5, gap=0.5)
    """
    values = _rights(right, "right")
    if len(dates) != len(values):
        raise DataError(f"{len(values)} answers need as many dates, got {len(dates)}")
    kinds = {type(date).__name__ for date in (*dates, cutoff)}
    if len(kinds) > 1:
        raise DataError(f"the dates and the cut-off must have one type, got {sorted(kinds)}")
    early = np.array([not _is_after(date, cutoff) for date in dates])
    before, after = _mean(values[early]), _mean(values[~early])
    return Recency(before, after, before - after)


def retention(before: Sequence[float], after: Sequence[float]) -> Retention:
    """Compare the answers of a model before and after an update.

    Args:
      before: for each question, whether the old model is right: 1 or 0, `[N]`.
      after: the same of the new model, `[N]`.

    Raises:
      DataError: no questions, other numbers, or values other than 0 and 1.

    Example:
      >>> retention([1, 1, 0, 0], [1, 0, 1, 0])
      Retention(retained=0.5, learned=0.5, change=0.0)
    """
    old, new = _rights(before, "before"), _rights(after, "after")
    if old.shape != new.shape:
        raise DataError(f"{len(old)} answers before need as many after the update, got {len(new)}")
    if not np.isin([old, new], (0, 1)).all():
        raise DataError("answers before and after an update must be 1 or 0")
    return Retention(
        _mean(new[old == 1]), _mean(new[old == 0]), float(new.mean()) - float(old.mean())
    )


def _rights(values: Sequence[float], name: str) -> np.ndarray:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise DataError(f"{name} must be finite numbers of shape [N], got {values!r:.80}")
    return found


def _is_after(date: Any, cutoff: Any) -> bool:
    """Whether a date is later, where the two can be compared at all."""
    try:
        if date > cutoff:
            return True
        if date <= cutoff:
            return False
        reason = "neither is it later nor not"
    except (TypeError, ValueError) as error:
        reason = str(error)
    raise DataError(
        f"the date {date!r:.40} ({type(date).__name__}) cannot be compared with the cut-off "
        f"{cutoff!r:.40}: {reason}; give finite numbers, dates, or ISO texts such as "
        '"2024-05-31"'
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
