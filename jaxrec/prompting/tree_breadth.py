"""Tree of Thoughts in breadth: expand all kept states, value the children, keep the best.

(Yao et al. 2023, arXiv:2305.10601, algorithm 1.) A state is any hashable value. What makes and what
values the children are functions: exact ones, or a language model (`thoughts.py`).
"""

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Literal, TypeVar, get_args

import numpy as np

from jaxrec.core import ConfigError, Count, DataError, Seed, check_ranges, nearest
from jaxrec.prompting.language_model import Usage
from jaxrec.prompting.parts import returned

S = TypeVar("S", bound=Hashable)
Selection = Literal["greedy", "sample"]


EXPANSION_FIX = "return Expansion(rows), with one tuple of children for each state"
VALUES_FIX = "return Values(numbers), with one number for each state"


@dataclasses.dataclass(frozen=True)
class Expansion(Generic[S]):
    """The children of some states.

    Attributes:
      children: one row for each state.
      usage: what they have cost.
      dropped: thoughts of a model that are no legal step.
    """

    children: tuple[tuple[S, ...], ...]
    usage: Usage = Usage()
    dropped: int = 0


@dataclasses.dataclass(frozen=True)
class Values:
    """How promising some states are.

    Attributes:
      values: one number for each state, 0 or more; higher is better.
      usage: what they have cost.
    """

    values: tuple[float, ...]
    usage: Usage = Usage()


Expand = Callable[[Sequence[S]], Expansion[S]]
Evaluate = Callable[[Sequence[S]], Values]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BreadthOptions:
    """How a search in breadth goes on.

    Attributes:
      steps: levels of the tree.
      width: states that are kept on each level; 5 in the paper.
      select: "greedy" keeps the highest values, and the earlier of equal ones; "sample" draws
        without replacement, each with a probability proportional to its value.
      seed: seed of these draws.

    Raises:
      ConfigError: a number out of range or an unknown selection.

    Example:
      >>> BreadthOptions(steps=4).width
      5
    """

    steps: Count
    width: Count = 5
    select: Selection = "greedy"
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self, "BreadthOptions.")
        if self.select not in get_args(Selection):
            known = get_args(Selection)
            raise ConfigError(
                f"BreadthOptions.select must be one of {', '.join(known)}, got {self.select!r}"
                f"{nearest(str(self.select), known)}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BreadthLevel(Generic[S]):
    """One level of the tree.

    Attributes:
      states: the children of all kept states of the level before, in the order of their making.
      values: their values; 0 for a state that was made before on this level.
      kept: places of the states that are kept, the best first.
      dropped: thoughts of a model that are no legal step.
    """

    states: tuple[S, ...]
    values: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: int = 0


@dataclasses.dataclass(frozen=True)
class BreadthResult(Generic[S]):
    """What a search in breadth found.

    Attributes:
      best: the kept states of the last level, the best first; () if a level has no states.
      levels: all levels.
      usage: what the search has cost.
    """

    best: tuple[S, ...]
    levels: tuple[BreadthLevel[S], ...]
    usage: Usage


def breadth_first(
    start: S, expand: Expand[S], evaluate: Evaluate[S], options: BreadthOptions
) -> BreadthResult[S]:
    """Search a tree of thoughts level by level.

    A finished state that should stay among the candidates is its own child.

    Args:
      start: the root.
      expand: makes the children of states.
      evaluate: values states; equal states of a level are valued once, and copies get 0.
      options: levels, width and selection.

    Returns:
      The kept states of the last level, and everything on the way.

    Raises:
      ConfigError: `expand` or `evaluate` returns something else than `Expansion` or `Values`.
      DataError: `expand` or `evaluate` gives another number of rows or values than states, or a
        value that is negative or not finite.

    Source: Yao et al. 2023, arXiv:2305.10601.

    Example:
      >>> from jaxrec.prompting import BreadthOptions, Expansion, Values, breadth_first
      >>> digits = lambda texts: Expansion(tuple(tuple(t + d for d in "123") for t in texts))
      >>> large = lambda texts: Values(tuple(float(text) for text in texts))
      >>> breadth_first("", digits, large, BreadthOptions(steps=2, width=2)).best
      ('33', '32')
    """
    rng = np.random.default_rng(options.seed)
    kept: tuple[S, ...] = (start,)
    levels: list[BreadthLevel[S]] = []
    usage = Usage()
    for _ in range(options.steps):
        expansion = returned(expand(kept), Expansion, "expand", EXPANSION_FIX)
        usage += expansion.usage
        if len(expansion.children) != len(kept):
            raise DataError(
                f"expand gave {len(expansion.children)} rows of children for {len(kept)} states, "
                "expected one row for each"
            )
        states = tuple(child for row in expansion.children for child in row)
        first = {state: place for place, state in reversed(list(enumerate(states)))}
        distinct = tuple(dict.fromkeys(states))
        valued = Values(())
        if distinct:
            valued = returned(evaluate(distinct), Values, "evaluate", VALUES_FIX)
        usage += valued.usage
        check_values(valued.values, len(distinct))
        of_state = dict(zip(distinct, valued.values, strict=True))
        values = tuple(
            of_state[state] if first[state] == place else 0.0 for place, state in enumerate(states)
        )
        places = select_places(values, options.width, options.select, rng)
        levels.append(
            BreadthLevel(states=states, values=values, kept=places, dropped=expansion.dropped)
        )
        kept = tuple(states[place] for place in places)
        if not kept:
            break
    return BreadthResult(kept, tuple(levels), usage)


def select_places(
    values: Sequence[float], width: int, select: Selection, rng: np.random.Generator
) -> tuple[int, ...]:
    """Return the places of the values that are kept.

    Args:
      values: numbers from 0 on.
      width: number of places to keep; all of them where there are fewer.
      select: "greedy" for the highest values, the earlier of equal ones first; "sample" for draws
        without replacement. Where fewer than `width` values are above 0, the draw goes on among
        the others, each as likely.
      rng: source of the draws; unused by "greedy".

    Returns:
      Places in order of falling values.

    Example:
      >>> select_places([1.0, 3.0, 3.0, 0.0], 2, "greedy", np.random.default_rng(0))
      (1, 2)
    """
    places: list[int] = list(range(len(values)))
    if select == "sample" and len(values) > width:
        weights = np.asarray(values, float)
        likely = np.flatnonzero(weights)
        drawn: list[int] = []
        if len(likely):
            count = min(width, len(likely))
            shares = weights[likely] / weights[likely].max()
            shares /= shares.sum()
            drawn = rng.choice(likely, count, replace=False, p=shares).tolist()
        rest = np.flatnonzero(weights == 0)
        if len(drawn) < width:
            drawn += rng.choice(rest, width - len(drawn), replace=False).tolist()
        places = sorted(drawn)
    return tuple(sorted(places, key=lambda place: -values[place])[:width])


def check_values(values: Sequence[float], count: int) -> None:
    """Reject values of another number, or one that is negative or not finite.

    Args:
      values: what `evaluate` gave.
      count: number of states.

    Raises:
      DataError: the message names the value.

    Example:
      >>> check_values([1.0, -2.0], 2)
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: evaluate gave the value -2.0; give finite numbers from 0 on
    """
    if len(values) != count:
        raise DataError(f"evaluate gave {len(values)} values for {count} states, expected {count}")
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise DataError(f"evaluate gave the value {value}; give finite numbers from 0 on")
