"""Two small worlds for agents: a grid with walls and pits, and any planning problem in PDDL."""

import dataclasses

from jaxrec.core import ConfigError
from jaxrec.prompting.agent_types import Observation, WorldStatus
from jaxrec.prompting.pddl import Atom, Domain, Problem, show_atom
from jaxrec.prompting.pddl_validation import read_step, validate_plan

_MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


@dataclasses.dataclass(frozen=True)
class GridWorld:
    """A grid in which an agent walks from S to G. A state is the row and column of the agent.

    Attributes:
      rows: one text a row: "S" the start, "G" the goal, "#" a wall, "O" a pit, "." a free cell. A
        wall is seen when the agent walks against it, and a pit ends the world in failure.

    Raises:
      ConfigError: rows of different lengths, unknown cells, or not one start and one goal.

    Example:
      >>> world = GridWorld(("S#G", "..."))
      >>> world.step(world.reset(), "right").fault
      'There is a wall at row 0, column 1.'
    """

    rows: tuple[str, ...]

    def __post_init__(self) -> None:
        cells = "".join(self.rows)
        if len({len(row) for row in self.rows}) != 1 or set(cells) - set("SG#O."):
            raise ConfigError(
                f"rows must have one length and the cells S, G, #, O and ., got {self.rows}"
            )
        if cells.count("S") != 1 or cells.count("G") != 1:
            raise ConfigError(f"rows must have one S and one G, got {self.rows}")

    def reset(self) -> tuple[int, int]:
        """See `World`."""
        row = next(n for n, cells in enumerate(self.rows) if "S" in cells)
        return row, self.rows[row].index("S")

    def step(self, state: tuple[int, int], action: str) -> Observation:
        """See `World`; actions are up, down, left and right."""
        if action not in _MOVES:
            known = ", ".join(_MOVES)
            return Observation(state=state, fault=f"There is no action {action!r}; use {known}.")
        row, column = (place + move for place, move in zip(state, _MOVES[action], strict=True))
        inside = 0 <= row < len(self.rows) and 0 <= column < len(self.rows[0])
        cell = self.rows[row][column] if inside else "#"
        if cell == "#":
            fault = f"There is a wall at row {row}, column {column}."
            return Observation(state=state, fault=fault)
        ends: dict[str, WorldStatus] = {"G": "success", "O": "failure"}
        seen = f"There is a pit at row {row}, column {column}." if cell == "O" else ""
        return Observation(
            state=(row, column),
            text=seen or f"You are at row {row}, column {column}.",
            status=ends.get(cell, "running"),
        )

    def render(self, state: tuple[int, int]) -> str:
        """See `World`."""
        return f"You are at row {state[0]}, column {state[1]}."


@dataclasses.dataclass(frozen=True)
class PddlWorld:
    """A planning problem as a world. A state is a set of true atoms, and an action is a step.

    Attributes:
      domain: what can be done.
      problem: the start and the goal.

    Example:
      >>> from jaxrec.prompting import read_domain, read_problem
      >>> lamps = read_domain('''(define (domain lamps) (:predicates (lit ?x))
      ...   (:action light :parameters (?x) :precondition (not (lit ?x)) :effect (lit ?x)))''')
      >>> problem = read_problem('''(define (problem p) (:domain lamps) (:objects a b)
      ...   (:init) (:goal (lit b)))''', lamps)
      >>> PddlWorld(lamps, problem).step(frozenset(), "(light b)").status
      'success'
    """

    domain: Domain
    problem: Problem

    def reset(self) -> frozenset[Atom]:
        """See `World`."""
        return self.problem.init

    def step(self, state: frozenset[Atom], action: str) -> Observation:
        """See `World`; a fault names the condition that does not hold."""
        step = read_step(action)
        if step is None:
            fault = f"{action!r} is no step; write a step such as (stack a b)."
            return Observation(state=state, fault=fault)
        here = dataclasses.replace(self.problem, init=state)
        checked = validate_plan(self.domain, here, [step])
        if checked.step is not None:
            reason = checked.reason.removeprefix("step 1, ")
            return Observation(state=state, fault=f"{reason}.")
        return Observation(
            state=checked.state,
            text=self.render(checked.state),
            status="success" if checked.valid else "running",
        )

    def render(self, state: frozenset[Atom]) -> str:
        """See `World`."""
        return f"True: {' '.join(map(show_atom, sorted(state)))}"
