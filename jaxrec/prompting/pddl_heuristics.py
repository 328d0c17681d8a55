"""Lower bounds on the number of steps to a goal: h_max and LM-cut.

Both ignore what actions delete. h_max (Bonet and Geffner 2001) is the cost of the dearest fact,
where an action costs as much as its dearest condition and its own cost. LM-cut (Helmert and
Domshlak 2009) finds sets of actions of which every plan uses one, and adds up the cheapest action
of each set; it is at least as large as h_max and never more than the true cost.
"""

import heapq
import math
from collections.abc import Callable

from jaxrec.prompting.pddl_grounding import Task

# The least cost from a state, infinite where the goal cannot be reached.
Heuristic = Callable[[int], float]


class _Relaxed:
    """A task without deletes, with a last action of cost 0 that reaches one goal fact.

    Facts are those of the task, then "nothing", which is always true, and the goal.
    """

    def __init__(self, task: Task) -> None:
        nothing = len(task.facts)
        self.goal, self.size, self.nothing = nothing + 1, nothing + 2, nothing
        sides = [(one.needs, one.adds) for one in task.operators]
        self.needs = [_places(needs) or [nothing] for needs, _ in sides]
        self.adds = [_places(adds) for _, adds in sides]
        self.needs.append(_places(task.goal) or [nothing])
        self.adds.append([self.goal])
        self.costs = [1.0] * len(task.operators) + [0.0]
        self.users: list[list[int]] = [[] for _ in range(self.size)]
        for operator, facts in enumerate(self.needs):
            for fact in facts:
                self.users[fact].append(operator)

    def max_costs(self, state: int, costs: list[float]) -> tuple[list[float], list[int]]:
        """h_max of every fact, and the dearest condition of every action; -1 if unreachable."""
        found = [math.inf] * self.size
        support = [-1] * len(self.needs)
        missing = [len(facts) for facts in self.needs]
        queue = [(0.0, fact) for fact in (*_places(state), self.nothing)]
        for _, fact in queue:
            found[fact] = 0.0
        heapq.heapify(queue)
        done = [False] * self.size
        while queue:
            cost, fact = heapq.heappop(queue)
            if done[fact]:
                continue
            done[fact] = True
            for operator in self.users[fact]:
                missing[operator] -= 1
                if missing[operator]:
                    continue
                # Facts come in order of their costs, so the last condition is the dearest.
                support[operator] = fact
                after = cost + costs[operator]
                for added in self.adds[operator]:
                    if after < found[added]:
                        found[added] = after
                        heapq.heappush(queue, (after, added))
        return found, support

    def cut(self, state: int, costs: list[float], support: list[int]) -> list[int]:
        """Actions of which every plan uses one, between the state and the facts near the goal."""
        makers: list[list[int]] = [[] for _ in range(self.size)]
        supported: list[list[int]] = [[] for _ in range(self.size)]
        for operator, fact in enumerate(support):
            if fact >= 0:
                supported[fact].append(operator)
                for added in self.adds[operator]:
                    makers[added].append(operator)
        near, stack = {self.goal}, [self.goal]
        while stack:
            for operator in makers[stack.pop()]:
                fact = support[operator]
                if costs[operator] == 0 and fact not in near:
                    near.add(fact)
                    stack.append(fact)
        stack = [*_places(state), self.nothing]
        before, crossing = set(stack), []
        while stack:
            for operator in supported[stack.pop()]:
                if any(added in near for added in self.adds[operator]):
                    crossing.append(operator)
                    continue
                for added in self.adds[operator]:
                    if added not in before:
                        before.add(added)
                        stack.append(added)
        return crossing


def h_max(task: Task) -> Heuristic:
    """Return h_max of a task: the cost of its dearest fact without deletes.

    Args:
      task: the problem; every action costs 1.

    Returns:
      A function from a state to a lower bound, infinite where no plan exists.

    Example:
      >>> from jaxrec.prompting import Operator, Task
      >>> steps = [Operator(step=(f"go{n}",), needs=1 << n, adds=2 << n, deletes=0)
      ...          for n in range(3)]
      >>> task = Task(facts=tuple((f"at{n}",) for n in range(4)), init=1, goal=8,
      ...             operators=tuple(steps))
      >>> h_max(task)(1), h_max(task)(4)
      (3.0, 1.0)
    """
    relaxed = _Relaxed(task)
    return lambda state: relaxed.max_costs(state, relaxed.costs)[0][relaxed.goal]


def lm_cut(task: Task) -> Heuristic:
    """Return LM-cut of a task: the cost of disjoint sets of which every plan uses one action.

    Args:
      task: the problem; every action costs 1.

    Returns:
      A function from a state to a lower bound, infinite where no plan exists.

    Example:
      >>> from jaxrec.prompting import Operator, Task
      >>> switches = [Operator(step=(f"on{n}",), needs=0, adds=1 << n, deletes=0)
      ...             for n in range(3)]
      >>> task = Task(facts=tuple((f"lit{n}",) for n in range(3)), init=0, goal=7,
      ...             operators=tuple(switches))
      >>> h_max(task)(0), lm_cut(task)(0)  # three lamps have a switch each
      (1.0, 3.0)
    """
    relaxed = _Relaxed(task)

    def estimate(state: int) -> float:
        costs = list(relaxed.costs)
        total = 0.0
        while True:
            found, support = relaxed.max_costs(state, costs)
            if found[relaxed.goal] in (0.0, math.inf):
                return total + found[relaxed.goal]
            crossing = relaxed.cut(state, costs, support)
            least = min(costs[operator] for operator in crossing)
            total += least
            for operator in crossing:
                costs[operator] -= least

    return estimate


def blind(task: Task) -> Heuristic:
    """Return 0 at the goal and 1 elsewhere, which makes A* a search in breadth.

    Example:
      >>> from jaxrec.prompting import Task
      >>> blind(Task(facts=(("lit",),), init=0, goal=1, operators=()))(1)
      0.0
    """
    return lambda state: float(state & task.goal != task.goal)


def _places(mask: int) -> list[int]:
    """The places of the bits that are set."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
