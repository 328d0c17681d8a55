"""What the parts of an agent loop hand to one another.

task ──planner──> plan ──executor──> action ──world──> observation ──feedback──> comment
          ^                                                                         │
          └────────────────────────── refinement <──────────────────────────────────┘
"""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Literal, Protocol, get_args

from jaxrec.core import ConfigError, Count, Positive, Whole, check_ranges, nearest
from jaxrec.prompting.language_model import Usage

WorldStatus = Literal["running", "success", "failure"]
How = Literal["reason", "backtrack", "retry"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What came of an action.

    Attributes:
      state: the world's state after it.
      text: what there is to see, for the planner.
      status: whether the world goes on, or ended in success or failure.
      fault: why the action could not be taken; "" if it was.

    Raises:
      ConfigError: an unknown status.
    """

    state: Hashable
    text: str = ""
    status: WorldStatus = "running"
    fault: str = ""

    def __post_init__(self) -> None:
        _check_name("Observation.status", self.status, get_args(WorldStatus))


class World(Protocol):
    """An environment whose states are values, so that a loop can go back to any of them."""

    def reset(self) -> Hashable:
        """Return the state to start from."""
        ...

    def step(self, state: Any, action: str) -> Observation:
        """Return what comes of an action; an action that is not possible has a `fault`."""
        ...

    def render(self, state: Any) -> str:
        """Return a state in words."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What a planner reads.

    Attributes:
      task: what to achieve.
      state: the state of the world in words; without feedback it stays the one at the start.
      scratchpad: short-term memory: actions, comments on them, and notes of refinements.
      lessons: what earlier trials have taught, the oldest first.
      banned: actions that backtracking has ruled out in this state.
      plans: number of plans that were made before; seeds of draws can depend on it.
    """

    task: str
    state: str
    scratchpad: tuple[str, ...] = ()
    lessons: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()
    plans: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do next.

    Attributes:
      steps: actions in order; () if the planner has no idea.
      usage: what the plan has cost.

    Raises:
      ConfigError: steps that are one text, or no texts.
    """

    steps: tuple[str, ...]
    usage: Usage = Usage()

    def __post_init__(self) -> None:
        # A single text would be a plan of its letters.
        if isinstance(self.steps, str) or not all(isinstance(one, str) for one in self.steps):
            raise ConfigError(f"Plan.steps must be a tuple of texts, got {self.steps!r:.60}")
        object.__setattr__(self, "steps", tuple(self.steps))


@dataclasses.dataclass(frozen=True)
class Comment:
    """Feedback on a plan or on an action.

    Attributes:
      text: what the planner should know; "" for nothing.
      refine: whether the rest of the plan should be reconsidered.
      usage: what the comment has cost.
    """

    text: str = ""
    refine: bool = False
    usage: Usage = Usage()


@dataclasses.dataclass(frozen=True)
class Refinement:
    """What to do about a comment.

    Attributes:
      how: "reason" makes a new plan from here; "backtrack" undoes the last action, rules it out in
        that state, and makes a new plan; "retry" starts the world anew with one more lesson.
      note: what to write down; the lesson of a retry.
      usage: what the refinement has cost.

    Raises:
      ConfigError: an unknown way of refinement.
    """

    how: How
    note: str = ""
    usage: Usage = Usage()

    def __post_init__(self) -> None:
        _check_name("Refinement.how", self.how, get_args(How))


def _check_name(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ConfigError(
            f"{what} must be one of {', '.join(known)}, got {name!r}{nearest(str(name), known)}"
        )


Planner = Callable[[View], Plan]
# Internal feedback: judges a plan before its first action.
Critic = Callable[[View, Plan], Comment]
# External feedback: comments on what came of an action.
Feedback = Callable[[View, str, Observation], Comment]
Refiner = Callable[[View, Comment], Refinement]
# Takes an action in a state of a world.
Executor = Callable[[World, Hashable, str], Observation]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """When a loop gives up.

    Attributes:
      steps: most actions.
      plans: most calls of the planner.
      tokens: most tokens of prompts and answers; None for any number. The loop ends before the
        first call after it is reached, so the last call may exceed it.
      seconds: most seconds of wall time, checked before each plan and action; None for any number.
      repeats: how often an action may be taken again in a state in which it was taken before.
      lessons: most lessons that are kept, the latest ones.

    Raises:
      ConfigError: a number out of range.

    Example:
      >>> Budget(steps=10).plans
      20
    """

    steps: Count = 50
    plans: Count = 20
    tokens: Count | None = None
    seconds: Positive | None = None
    repeats: Whole = 3
    lessons: Count = 3

    def __post_init__(self) -> None:
        check_ranges(self, "Budget.")
