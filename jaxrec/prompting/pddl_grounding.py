"""From a planning problem with variables to one with numbered facts: states become integers.

Bit n of a state says whether fact n is true. A negative condition becomes a fact of its own, "not
p", which is true wherever p is false (Gazen and Knoblock 1997), so that searches and heuristics
see positive conditions alone. Facts and actions that no plan can reach, even if nothing is ever
deleted, are left out.
"""

import dataclasses
from collections.abc import Iterator, Mapping

from jaxrec.core import DataError
from jaxrec.prompting.pddl import Atom, Domain, Problem, Schema, bind, show_atom

# The first word of the fact that an atom is false.
NOT = "not"
# Bindings of parameters that are tried before grounding gives up.
MOST_BINDINGS = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operator:
    """An action without variables.

    Attributes:
      step: its name and arguments, ("stack", "a", "b").
      needs: facts that must be true, as bits.
      adds: facts that become true.
      deletes: facts that become false; none of them is in `adds`.
    """

    step: Atom
    needs: int
    adds: int
    deletes: int

    def apply(self, state: int) -> int:
        """The state after the action."""
        return state & ~self.deletes | self.adds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A planning problem without variables.

    Attributes:
      facts: the atom of each bit; ("not", ...) for facts that say that an atom is false.
      init: the state to start from.
      goal: the facts that must be true at the end.
      operators: everything that can be done.
      unreachable: atoms of the goal that no plan can make true, even if nothing is ever deleted.
    """

    facts: tuple[Atom, ...]
    init: int
    goal: int
    operators: tuple[Operator, ...]
    unreachable: tuple[Atom, ...] = ()


def ground(domain: Domain, problem: Problem, most: int = MOST_BINDINGS) -> Task:
    """Replace the variables of a problem by its objects.

    Args:
      domain: its actions.
      problem: its objects, start and goal.
      most: bindings of parameters to try.

    Returns:
      The task; facts are numbered in alphabetical order.

    Raises:
      DataError: there are more bindings than `most`.

    Example:
      >>> from jaxrec.prompting import read_domain, read_problem
      >>> lamps = read_domain('''(define (domain lamps) (:predicates (lit ?x))
      ...   (:action light :parameters (?x) :precondition (not (lit ?x)) :effect (lit ?x)))''')
      >>> problem = read_problem('''(define (problem p) (:domain lamps) (:objects a b)
      ...   (:init (lit a)) (:goal (lit b)))''', lamps)
      >>> [operator.step for operator in ground(lamps, problem).operators]
      [('light', 'b')]
    """
    actions = list(bound_actions(domain, problem, most))
    negated = set(problem.goal_not)
    for _, schema in actions:
        negated |= set(schema.forbids)
    reached: set[Atom] = set(problem.init)
    reached |= {(NOT, *atom) for atom in negated if atom not in problem.init}
    kept: list[tuple[Atom, Schema]] = []
    waiting = actions
    grown = True
    while grown:
        grown, later = False, []
        for step, schema in waiting:
            if reached.issuperset(conditions(schema)):
                kept.append((step, schema))
                reached.update(_effects(schema, negated)[0])
                grown = True
            else:
                later.append((step, schema))
        waiting = later
    goal = (*problem.goal, *((NOT, *atom) for atom in problem.goal_not))
    facts = tuple(sorted(reached))
    bits = {fact: 1 << place for place, fact in enumerate(facts)}
    start = {*problem.init, *((NOT, *atom) for atom in negated - problem.init)}
    operators = []
    for step, schema in sorted(kept, key=lambda one: one[0]):
        adds, deletes = _effects(schema, negated)
        operators.append(
            Operator(
                step=step,
                needs=_mask(conditions(schema), bits),
                adds=_mask(adds, bits),
                deletes=_mask((atom for atom in deletes if atom in bits), bits),
            )
        )
    return Task(
        facts=facts,
        init=_mask(start, bits),
        goal=_mask((atom for atom in goal if atom in bits), bits),
        operators=tuple(operators),
        unreachable=tuple(atom for atom in goal if atom not in bits),
    )


def bound(schema: Schema, values: Mapping[str, str]) -> Schema:
    """Return an action with its variables replaced; an atom that is added is not deleted.

    Example:
      >>> light = Schema(name="light", parameters=(("?x", "object"),), adds=(("lit", "?x"),))
      >>> bound(light, {"?x": "a"}).adds
      (('lit', 'a'),)
    """
    adds = tuple(bind(schema.adds, values))
    return Schema(
        name=schema.name,
        needs=tuple(bind(schema.needs, values)),
        forbids=tuple(bind(schema.forbids, values)),
        adds=adds,
        deletes=tuple(atom for atom in bind(schema.deletes, values) if atom not in adds),
    )


def bound_actions(
    domain: Domain, problem: Problem, most: int, *, possible: bool = True
) -> Iterator[tuple[Atom, Schema]]:
    """Yield every action with objects for its variables.

    Args:
      domain: its actions.
      problem: its objects and start.
      most: bindings of parameters to try.
      possible: whether to leave out actions that need an atom which is false at the start and which
        no action changes.

    Raises:
      DataError: there are more bindings than `most`.
    """
    changed = {
        atom[0] for schema in domain.actions.values() for atom in (*schema.adds, *schema.deletes)
    }
    tried = 0
    for schema in domain.actions.values():
        choices = [
            [one for one, kind in problem.objects.items() if domain.is_a(kind, wanted)]
            for _, wanted in schema.parameters
        ]
        names = [name for name, _ in schema.parameters]
        fixed = [atom for atom in schema.needs if possible and atom[0] not in changed]
        # An atom that no action changes is checked as soon as its last variable has a value.
        due: list[list[Atom]] = [[] for _ in range(len(names) + 1)]
        for atom in fixed:
            due[max((names.index(w) + 1 for w in atom[1:] if w in names), default=0)].append(atom)
        stack: list[tuple[str, ...]] = [()]
        while stack:
            values = stack.pop()
            tried += 1
            if tried > most:
                raise DataError(
                    f"the action {schema.name} brings the problem {problem.name} to more than "
                    f"{most:,} bindings of parameters to objects; give a problem with fewer "
                    "objects, or types to the parameters"
                )
            binding = dict(zip(names, values, strict=False))
            if any(atom not in problem.init for atom in bind(tuple(due[len(values)]), binding)):
                continue
            if len(values) < len(names):
                stack += [(*values, one) for one in reversed(choices[len(values)])]
                continue
            yield (schema.name, *values), bound(schema, binding)


def conditions(schema: Schema) -> Iterator[Atom]:
    """Yield the facts that an action needs, those of false atoms included.

    Example:
      >>> list(conditions(Schema(name="light", forbids=(("lit", "a"),))))
      [('not', 'lit', 'a')]
    """
    yield from schema.needs
    for atom in schema.forbids:
        yield (NOT, *atom)


def _effects(schema: Schema, negated: set[Atom]) -> tuple[list[Atom], list[Atom]]:
    """Facts that an action adds and deletes, those of false atoms included."""
    adds, deletes = list(schema.adds), list(schema.deletes)
    adds += [(NOT, *atom) for atom in schema.deletes if atom in negated]
    deletes += [(NOT, *atom) for atom in schema.adds if atom in negated]
    return adds, deletes


def _mask(atoms: Iterator[Atom] | list[Atom] | set[Atom], bits: Mapping[Atom, int]) -> int:
    mask = 0
    for atom in atoms:
        mask |= bits[atom]
    return mask


def show_facts(task: Task, state: int) -> str:
    """Return the facts of a state as PDDL writes them.

    Example:
      >>> show_facts(Task(facts=(("lit", "a"), ("lit", "b")), init=2, goal=1, operators=()), 2)
      '(lit b)'
    """
    true = (fact for place, fact in enumerate(task.facts) if state >> place & 1)
    return " ".join(show_atom(fact) for fact in true if fact[0] != NOT)
