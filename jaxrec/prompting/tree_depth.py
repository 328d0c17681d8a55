"""Tree of Thoughts in depth: follow the most promising child, and turn back where none is left.

(Yao et al. 2023, arXiv:2305.10601, algorithm 2.) States are values, so turning back restores the
parent exactly.
"""

import dataclasses
from collections.abc import Callable
from typing import Generic, Literal

from jaxrec.core import Count, DataError, NotNegative, check_ranges
from jaxrec.prompting.language_model import Usage
from jaxrec.prompting.parts import returned
from jaxrec.prompting.tree_breadth import (
    EXPANSION_FIX,
    VALUES_FIX,
    Evaluate,
    Expand,
    Expansion,
    S,
    Values,
    check_values,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """How a search in depth goes on.

    Attributes:
      children: most children of a state that are entered; None for all. The paper enters 3 for mini
        crosswords.
      steps: most states that are entered; None for no limit. The paper enters 100.
      depth: most steps from the start.
      threshold: children whose value is not above it are never entered.

    Raises:
      ConfigError: a number out of range.

    Example:
      >>> DepthOptions(children=None).steps
      100
    """

    children: Count | None = 3
    steps: Count | None = 100
    depth: Count = 10
    threshold: NotNegative = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "DepthOptions.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthResult(Generic[S]):
    """What a search in depth found.

    Attributes:
      status: "solved"; "exhausted" if no state is left to enter; "steps" if the limit was reached.
      path: the states from the start to the solution; () without one.
      entered: all states that were entered, in order, with their depths; the start is not listed.
      pruned: children that were not entered for their values, and states that were left for what
        `viable` says of them.
      dropped: thoughts of a model that are no legal step.
      usage: what the search has cost.
    """

    status: Literal["solved", "exhausted", "steps"]
    path: tuple[S, ...] = ()
    entered: tuple[tuple[int, S], ...] = ()
    pruned: int = 0
    dropped: int = 0
    usage: Usage = Usage()


@dataclasses.dataclass
class _Tally:
    """Counts of a search that is under way."""

    pruned: int = 0
    dropped: int = 0
    usage: Usage = Usage()


def depth_first(
    start: S,
    expand: Expand[S],
    evaluate: Evaluate[S],
    is_goal: Callable[[S], bool],
    options: DepthOptions = DepthOptions(),
    viable: Evaluate[S] | None = None,
) -> DepthResult[S]:
    """Search a tree of thoughts in depth.

    A state is entered again only at a smaller depth than before, so that loops end and no solution
    within `depth` is lost.

    Args:
      start: the root.
      expand: makes the children of one state.
      evaluate: confidence in children: the highest is entered first, the earlier of equal ones;
        those that are not above the threshold are never entered.
      is_goal: whether a state is a solution.
      options: limits.
      viable: a second judgment of each state that is entered; 0 leaves it at once. For a crossword
        it says whether every open clue still has an answer.

    Returns:
      The path to the first solution, or why there is none.

    Raises:
      ConfigError, DataError: see `breadth_first`.

    Source: Yao et al. 2023, arXiv:2305.10601.

    Example:
      >>> from jaxrec.prompting import DepthOptions, Expansion, Values, depth_first
      >>> digits = lambda texts: Expansion(tuple(tuple(t + d for d in "123") for t in texts))
      >>> low = lambda texts: Values(tuple(1 / int(text) for text in texts))
      >>> found = depth_first("", digits, low, lambda text: text == "12", DepthOptions(depth=2))
      >>> found.path, [text for _, text in found.entered]
      (('', '1', '12'), ['1', '11', '12'])
    """
    if is_goal(start):
        return DepthResult(status="solved", path=(start,))
    tally = _Tally()
    entered: list[tuple[int, S]] = []
    depths = {start: 0}
    path = [start]
    # For each state of the path, the children that are still to be entered, the best last, and the
    # number of those that were.
    open_children = [(_children(start, expand, evaluate, options, tally), 0)]
    status: Literal["solved", "exhausted", "steps"] = "exhausted"
    while open_children:
        waiting, count = open_children.pop()
        if not waiting or count == options.children:
            path.pop()
            continue
        child, depth = waiting.pop(), len(path)
        if depths.get(child, depth + 1) <= depth:
            open_children.append((waiting, count))
            continue
        if len(entered) == options.steps:
            status = "steps"
            break
        open_children.append((waiting, count + 1))
        depths[child] = depth
        entered.append((depth, child))
        if is_goal(child):
            status = "solved"
            path.append(child)
            break
        if viable is not None and not _value(viable, (child,), tally)[0]:
            tally.pruned += 1
            continue
        if depth < options.depth:
            path.append(child)
            open_children.append((_children(child, expand, evaluate, options, tally), 0))
    return DepthResult(
        status=status,
        path=tuple(path) if status == "solved" else (),
        entered=tuple(entered),
        pruned=tally.pruned,
        dropped=tally.dropped,
        usage=tally.usage,
    )


def _children(
    state: S, expand: Expand[S], evaluate: Evaluate[S], options: DepthOptions, tally: _Tally
) -> list[S]:
    """The children that may be entered, the best last."""
    expansion = returned(expand((state,)), Expansion, "expand", EXPANSION_FIX)
    tally.usage += expansion.usage
    tally.dropped += expansion.dropped
    if len(expansion.children) != 1:
        raise DataError(
            f"expand gave {len(expansion.children)} rows of children for 1 state, expected 1"
        )
    distinct = tuple(dict.fromkeys(expansion.children[0]))
    values = _value(evaluate, distinct, tally) if distinct else ()
    good = [
        (value, child)
        for value, child in zip(values, distinct, strict=True)
        if value > options.threshold
    ]
    tally.pruned += len(distinct) - len(good)
    return [child for _, child in sorted(good, key=lambda one: -one[0])][::-1]


def _value(evaluate: Evaluate[S], states: tuple[S, ...], tally: _Tally) -> tuple[float, ...]:
    valued = returned(evaluate(states), Values, "evaluate", VALUES_FIX)
    tally.usage += valued.usage
    check_values(valued.values, len(states))
    return valued.values
