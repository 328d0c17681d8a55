"""Optimal plans by A* (Hart, Nilsson and Raphael 1968), with limits on states and seconds."""

import dataclasses
import heapq
import math
import time
from collections.abc import Callable
from typing import Literal, get_args

from jaxrec.core import ConfigError, Count, Positive, check_ranges, nearest
from jaxrec.prompting.pddl import Atom
from jaxrec.prompting.pddl_grounding import Task
from jaxrec.prompting.pddl_heuristics import blind, h_max, lm_cut

HeuristicName = Literal["lm_cut", "h_max", "blind"]
_HEURISTICS = {"lm_cut": lm_cut, "h_max": h_max, "blind": blind}


@dataclasses.dataclass(frozen=True)
class PlanLimits:
    """When a search for a plan gives up.

    Attributes:
      nodes: states to expand.
      seconds: wall time; LLM+P gives its planner 200 seconds.

    Raises:
      ConfigError: a limit that is not positive.

    Example:
      >>> PlanLimits(seconds=5.0).nodes
      1000000
    """

    nodes: Count = 1_000_000
    seconds: Positive = 200.0

    def __post_init__(self) -> None:
        check_ranges(self, "PlanLimits.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanSearch:
    """What a search for a plan found.

    Attributes:
      status: "solved", "unsolvable", or the limit that was reached: "nodes" or "seconds".
      plan: a shortest plan where there is one; one step is ("stack", "a", "b").
      expanded: number of states that were expanded.
      seconds: wall time.
      unreachable: atoms of the goal that no plan can make true, even if nothing is ever deleted.
    """

    status: Literal["solved", "unsolvable", "nodes", "seconds"]
    plan: tuple[Atom, ...] = ()
    expanded: int = 0
    seconds: float = 0.0
    unreachable: tuple[Atom, ...] = ()


def find_plan(
    task: Task,
    limits: PlanLimits = PlanLimits(),
    heuristic: HeuristicName = "lm_cut",
    clock: Callable[[], float] = time.monotonic,
) -> PlanSearch:
    """Find a plan with the fewest steps.

    Args:
      task: a problem without variables, from `ground`.
      limits: when to give up.
      heuristic: "lm_cut" expands the fewest states, "h_max" is quicker for each state, and "blind"
        searches in breadth. All of them give plans of the same length.
      clock: the time in seconds.

    Returns:
      The plan, or why there is none. Equal tasks give equal plans.

    Raises:
      ConfigError: an unknown heuristic.

    Source: LM-cut, Helmert and Domshlak 2009 (ICAPS).

    Example:
      >>> from jaxrec.prompting import Operator, Task
      >>> step = Operator(step=("light",), needs=0, adds=1, deletes=0)
      >>> find_plan(Task(facts=(("lit",),), init=0, goal=1, operators=(step,))).plan
      (('light',),)
    """
    if heuristic not in _HEURISTICS:
        raise ConfigError(
            f"no heuristic {heuristic!r}{nearest(heuristic, _HEURISTICS)}; heuristics: "
            f"{', '.join(get_args(HeuristicName))}"
        )
    begun = clock()
    if task.unreachable:
        return PlanSearch(status="unsolvable", unreachable=task.unreachable)
    estimate = _HEURISTICS[heuristic](task)
    first = estimate(task.init)
    # Ties in f prefer states nearer to the goal, then those that were found earlier.
    queue = [(first, first, 0, task.init)] if first < math.inf else []
    costs = {task.init: 0}
    estimates = {task.init: first}
    came: dict[int, tuple[int, Atom]] = {}
    closed: set[int] = set()
    pushed = expanded = 0
    while queue:
        _, _, _, state = heapq.heappop(queue)
        # A state that was reached more cheaply later stands in the queue twice.
        if state in closed:
            continue
        cost = costs[state]
        if state & task.goal == task.goal:
            plan = _path(came, state)
            return PlanSearch(
                status="solved", plan=plan, expanded=expanded, seconds=clock() - begun
            )
        if expanded == limits.nodes or clock() - begun > limits.seconds:
            which: Literal["nodes", "seconds"] = "nodes" if expanded == limits.nodes else "seconds"
            return PlanSearch(status=which, expanded=expanded, seconds=clock() - begun)
        closed.add(state)
        expanded += 1
        for operator in task.operators:
            if state & operator.needs != operator.needs:
                continue
            after = operator.apply(state)
            if costs.get(after, math.inf) <= cost + 1:
                continue
            if after not in estimates:
                estimates[after] = estimate(after)
            if estimates[after] == math.inf:
                continue
            # LM-cut may differ by more than a step's cost between neighbors, so states reopen.
            closed.discard(after)
            costs[after] = cost + 1
            came[after] = (state, operator.step)
            pushed += 1
            left = estimates[after]
            heapq.heappush(queue, (cost + 1 + left, left, pushed, after))
    return PlanSearch(status="unsolvable", expanded=expanded, seconds=clock() - begun)


def _path(came: dict[int, tuple[int, Atom]], state: int) -> tuple[Atom, ...]:
    steps = []
    while state in came:
        state, step = came[state]
        steps.append(step)
    return tuple(reversed(steps))
