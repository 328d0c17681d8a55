"""Checks plans step by step, and says what is wrong with the first step that cannot be taken.

The check reads the problem with its variables, as VAL does (Howey, Long and Fox 2004), and shares
no code with the search, so that it can judge plans of any origin.
"""

import dataclasses
import re
from collections.abc import Iterable

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import files
from jaxrec.prompting.pddl import Atom, Domain, Problem, Schema, bind, show_atom

_STEP = re.compile(r"^\s*(?:\d+\s*[:.)]\s*)?\(([^()]*)\)\s*(?:\[[\d.]+\])?\s*(?:;.*)?$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """What a check of a plan says.

    Attributes:
      valid: whether every step can be taken and the goal holds at the end.
      reason: what is wrong, for people and language models; "" if nothing is.
      step: place of the first step that cannot be taken, counted from 0; None if all can.
      missing: atoms that had to be true, of that step or of the goal, and are false.
      forbidden: atoms that had to be false and are true.
      state: the state before that step, or at the end.
    """

    valid: bool
    reason: str = ""
    step: int | None = None
    missing: tuple[Atom, ...] = ()
    forbidden: tuple[Atom, ...] = ()
    state: frozenset[Atom] = frozenset()


def validate_plan(domain: Domain, problem: Problem, plan: Iterable[Atom]) -> Validation:
    """Check a plan.

    Args:
      domain: what its steps need and do.
      problem: where it starts and what it must reach.
      plan: steps such as ("stack", "a", "b").

    Returns:
      Whether the plan is valid, and otherwise which step fails for which condition.

    Raises:
      ConfigError: a step that is no tuple of names.

    Example:
      >>> from jaxrec.prompting import read_domain, read_problem
      >>> lamps = read_domain('''(define (domain lamps) (:predicates (lit ?x))
      ...   (:action light :parameters (?x) :precondition (not (lit ?x)) :effect (lit ?x)))''')
      >>> problem = read_problem('''(define (problem p) (:domain lamps) (:objects a)
      ...   (:init) (:goal (lit a)))''', lamps)
      >>> validate_plan(lamps, problem, [("light", "a")]).valid
      True
      >>> validate_plan(lamps, problem, [("light", "a")] * 2).reason
      'step 2, (light a): (lit a) must be false and is true'
    """
    plan = tuple(plan)
    for place, step in enumerate(plan):
        names = isinstance(step, tuple | list) and all(isinstance(part, str) for part in step)
        if not names:
            raise ConfigError(
                f"step {place + 1} of the plan must be a tuple of names such as ('light', 'a'), "
                f"got {step!r:.60}; `read_plan` reads plans out of a text"
            )
    state = problem.init
    for place, step in enumerate(plan):
        where = f"step {place + 1}, {show_atom(step)}"
        schema = domain.actions.get(step[0]) if step else None
        if schema is None:
            name = step[0] if step else ""
            reason = (
                f"{where}: unknown action {files.shown(name)}"
                f"{nearest(name, files.usual(domain.actions))}; actions: "
                f"{files.listed(domain.actions)}"
            )
            return Validation(valid=False, reason=reason, step=place, state=state)
        if fault := _argument_fault(domain, problem, schema, step):
            return Validation(valid=False, reason=f"{where}: {fault}", step=place, state=state)
        missing, forbidden = unmet(schema, step, state)
        if missing or forbidden:
            return Validation(
                valid=False,
                reason=f"{where}: {_unmet_words(missing, forbidden)}",
                step=place,
                missing=missing,
                forbidden=forbidden,
                state=state,
            )
        state = progress(schema, step, state)
    missing = tuple(atom for atom in problem.goal if atom not in state)
    forbidden = tuple(atom for atom in problem.goal_not if atom in state)
    reason = f"the goal: {_unmet_words(missing, forbidden)}" if missing or forbidden else ""
    return Validation(
        valid=not reason, reason=reason, missing=missing, forbidden=forbidden, state=state
    )


def unmet(
    schema: Schema, step: Atom, state: frozenset[Atom]
) -> tuple[tuple[Atom, ...], tuple[Atom, ...]]:
    """Return the conditions of a step that do not hold: atoms to be true and atoms to be false.

    Example:
      >>> light = Schema(name="light", parameters=(("?x", "object"),), needs=(("dark", "?x"),))
      >>> unmet(light, ("light", "a"), frozenset())
      ((('dark', 'a'),), ())
    """
    values = dict(zip((name for name, _ in schema.parameters), step[1:], strict=True))
    missing = tuple(atom for atom in bind(schema.needs, values) if atom not in state)
    return missing, tuple(atom for atom in bind(schema.forbids, values) if atom in state)


def progress(schema: Schema, step: Atom, state: frozenset[Atom]) -> frozenset[Atom]:
    """Return the state after a step; what it both deletes and adds is true.

    Example:
      >>> light = Schema(name="light", parameters=(("?x", "object"),), adds=(("lit", "?x"),))
      >>> progress(light, ("light", "a"), frozenset())
      frozenset({('lit', 'a')})
    """
    values = dict(zip((name for name, _ in schema.parameters), step[1:], strict=True))
    return state - set(bind(schema.deletes, values)) | set(bind(schema.adds, values))


def read_plan(text: str) -> tuple[Atom, ...]:
    r"""Read a plan in the form of planners: one step in brackets a line.

    Args:
      text: lines such as "(stack a b)", "3: (stack a b)" or "0.0: (stack a b) [1.0]"; comments
        begin with ";".

    Returns:
      The steps in lower case.

    Raises:
      DataError: a line that is no step; the message names it.

    Example:
      >>> read_plan("(pickup a)\n(stack a b)\n; cost = 2")
      (('pickup', 'a'), ('stack', 'a', 'b'))
    """
    steps = []
    for number, line in enumerate(text.lower().split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        step = read_step(line)
        if step is None:
            raise DataError(
                f"line {number} of the plan is no step: {line.strip()[:60]!r}; write one step in "
                "brackets, such as (stack a b)"
            )
        steps.append(step)
    return tuple(steps)


def read_step(line: str) -> Atom | None:
    """Return the step of one line of a plan; None if the line is no step.

    Example:
      >>> read_step("2: (Stack a b)"), read_step("stack a on b")
      (('stack', 'a', 'b'), None)
    """
    found = _STEP.match(re.sub(r"^\s*\d+\.\d+\s*:", "", line.lower()))
    return tuple(found.group(1).split()) or None if found else None


def _argument_fault(domain: Domain, problem: Problem, schema: Schema, step: Atom) -> str:
    if len(step) - 1 != len(schema.parameters):
        return f"{len(step) - 1} arguments, expected {len(schema.parameters)}"
    for word, (name, kind) in zip(step[1:], schema.parameters, strict=True):
        if word not in problem.objects:
            near = nearest(word, files.usual(problem.objects))
            known = files.listed(problem.objects)
            return f"unknown object {files.shown(word)}{near}; objects: {known}"
        if not domain.is_a(problem.objects[word], kind):
            return f"{word} has the type {problem.objects[word]}, but {name} must be {kind}"
    return ""


def _unmet_words(missing: tuple[Atom, ...], forbidden: tuple[Atom, ...]) -> str:
    parts = [f"{show_atom(atom)} must be true and is false" for atom in missing]
    parts += [f"{show_atom(atom)} must be false and is true" for atom in forbidden]
    return "; ".join(parts)
