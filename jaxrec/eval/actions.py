"""Calls of tools, and plans in an environment, against the right ones.

A plan is executable as far as each of its steps can be taken where it is taken, and correct if it
reaches the goal (Huang et al., Language Models as Zero-Shot Planners, arXiv:2201.07207, section
3.3; Puig et al., VirtualHome, 2018).
"""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from jaxrec.core import DataError


class CallCounts(NamedTuple):
    """Numbers of calls; sums of them over documents give precision and recall.

    Attributes:
      right: calls with a name that is wanted: precision is `right / made`, recall `right / wanted`.
      exact: calls with the name and the arguments that are wanted.
      made: calls that were made.
      wanted: calls that should be made.
    """

    right: int
    exact: int
    made: int
    wanted: int


def call_counts(
    made: Sequence[tuple[str, Hashable]], wanted: Sequence[tuple[str, Hashable]]
) -> CallCounts:
    """Count the calls of tools that are right.

    Calls are compared as multisets: their order does not matter, and a call that is made twice is
    right twice only if it is wanted twice.

    Args:
      made: pairs of a tool's name and its arguments, which are compared by `==`.
      wanted: the right pairs.

    Example:
      >>> call_counts([("Add", "2, 3"), ("Date", "")], [("Add", "2, 2")])
      CallCounts(right=1, exact=0, made=2, wanted=1)
    """
    names = Counter(name for name, _ in made) & Counter(name for name, _ in wanted)
    whole = Counter(made) & Counter(wanted)
    return CallCounts(names.total(), whole.total(), len(made), len(wanted))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of a plan.

    Attributes:
      planned: number of its steps.
      taken: number of the steps that could be taken before the first that could not.
      success: whether the goal was reached.

    Raises:
      DataError: more steps are taken than planned, or a number is negative.

    Example:
      >>> Attempt(planned=3, taken=2, success=False).executable
      False
    """

    planned: int
    taken: int
    success: bool

    def __post_init__(self) -> None:
        if not 0 <= self.taken <= self.planned:
            raise DataError(
                f"taken must lie between 0 and the {self.planned} steps of the plan, got "
                f"{self.taken}"
            )

    @property
    def executable(self) -> bool:
        """Whether the plan has steps and all of them could be taken."""
        return 0 < self.planned == self.taken


def plan_metrics(attempts: Sequence[Attempt]) -> dict[str, float]:
    """Shares over attempts.

    Args:
      attempts: at least one.

    Returns:
      "success"; "executable", the share of plans all of whose steps can be taken; "executability",
      the mean share of the steps before the first that cannot, 0 for an empty plan; and "steps",
      the mean number of steps of the successful attempts, nan without one.

    Raises:
      DataError: no attempts.

    Example:
      >>> found = plan_metrics(
      ...     [
      ...         Attempt(planned=4, taken=4, success=True),
      ...         Attempt(planned=4, taken=1, success=False),
      ...     ]
      ... )
      >>> found["success"], found["executability"], found["steps"]
      (0.5, 0.625, 4.0)
    """
    if not attempts:
        raise DataError("there are no attempts to measure; give at least one")
    steps = [attempt.taken for attempt in attempts if attempt.success]
    shares = [attempt.taken / attempt.planned if attempt.planned else 0.0 for attempt in attempts]
    count = len(attempts)
    return {
        "success": sum(attempt.success for attempt in attempts) / count,
        "executable": sum(attempt.executable for attempt in attempts) / count,
        "executability": sum(shares) / count,
        "steps": sum(steps) / len(steps) if steps else float("nan"),
    }
