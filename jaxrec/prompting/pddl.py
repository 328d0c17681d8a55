"""The planning domains and problems that this library understands: STRIPS with types.

STRIPS (Fikes and Nilsson 1971) describes a state by the atoms that are true in it. An action needs
some atoms, forbids others, adds some and deletes others. The text form is PDDL (McDermott et al.
1998) with the requirements `:strips`, `:typing` and `:negative-preconditions`.
"""

import dataclasses
from collections.abc import Iterator, Mapping

# A predicate and its arguments: ("on", "a", "b").
Atom = tuple[str, ...]
# The type that every object has.
ROOT = "object"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """An action with parameters.

    Attributes:
      name: the name of the action.
      parameters: pairs of a variable, such as "?x", and its type.
      needs: atoms that must be true before the action.
      forbids: atoms that must be false before it.
      adds: atoms that are true after it.
      deletes: atoms that are false after it, unless they are also added.
    """

    name: str
    parameters: tuple[tuple[str, str], ...] = ()
    needs: tuple[Atom, ...] = ()
    forbids: tuple[Atom, ...] = ()
    adds: tuple[Atom, ...] = ()
    deletes: tuple[Atom, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """What can be true, and what can be done.

    Attributes:
      name: the name of the domain.
      types: the parent of each type; the root "object" is not listed.
      constants: the type of each object that all problems have.
      predicates: the types of the arguments of each predicate.
      actions: the actions by name.
    """

    name: str
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    predicates: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    actions: Mapping[str, Schema] = dataclasses.field(default_factory=dict)

    def is_a(self, kind: str, wanted: str) -> bool:
        """Whether a type is another one or lies below it.

        Example:
          >>> Domain(name="d", types={"truck": "vehicle", "vehicle": "object"}).is_a(
          ...     "truck", "object")
          True
        """
        if wanted == ROOT:
            return True
        while kind != wanted and kind in self.types:
            kind = self.types[kind]
        return kind == wanted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A state to start from and a goal.

    Attributes:
      name: the name of the problem.
      objects: the type of each object, constants of the domain included.
      init: the atoms that are true at the start; all others are false.
      goal: atoms that must be true at the end.
      goal_not: atoms that must be false at the end.
    """

    name: str
    objects: Mapping[str, str]
    init: frozenset[Atom]
    goal: tuple[Atom, ...] = ()
    goal_not: tuple[Atom, ...] = ()


def show_atom(atom: Atom) -> str:
    """Return an atom, or a step of a plan, as PDDL writes it.

    Example:
      >>> show_atom(("on", "a", "b"))
      '(on a b)'
    """
    return f"({' '.join(atom)})"


def bind(atoms: tuple[Atom, ...], values: Mapping[str, str]) -> Iterator[Atom]:
    """Yield atoms with their variables replaced.

    Example:
      >>> list(bind((("on", "?x", "table"),), {"?x": "a"}))
      [('on', 'a', 'table')]
    """
    for atom in atoms:
        yield (atom[0], *(values.get(word, word) for word in atom[1:]))
