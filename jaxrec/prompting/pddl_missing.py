"""Which initial atom a planning problem may lack, where its goal is out of reach.

Language models often forget an atom of the start, such as that the hand is empty. Every atom that
some action needs is tried: does the goal come within reach if it holds at the start, and if actions
delete nothing?
"""

from collections import defaultdict

from jaxrec.core import DataError
from jaxrec.prompting.pddl import Atom, Domain, Problem, Schema
from jaxrec.prompting.pddl_grounding import NOT, bound_actions, conditions

# Actions of larger problems are not tried, because a hint is not worth the time.
_MOST_BINDINGS = 50_000


def missing_atoms(domain: Domain, problem: Problem) -> tuple[Atom, ...]:
    """Return atoms that bring the goal of a problem within reach if one of them holds at the start.

    Args:
      domain: its actions.
      problem: a problem with a goal that no action can reach.

    Returns:
      Atoms that some action needs, those with the fewest arguments first; the goal's own atoms are
      left out. () if the goal is within reach, if more than one atom is missing, or if the problem
      is too large to try.

    Example:
      >>> from jaxrec.prompting import read_domain, read_problem
      >>> lamps = read_domain('''(define (domain lamps) (:predicates (lit ?x) (power))
      ...   (:action light :parameters (?x) :precondition (power) :effect (lit ?x)))''')
      >>> missing_atoms(lamps, read_problem('''(define (problem p) (:domain lamps)
      ...   (:objects a) (:init) (:goal (lit a)))''', lamps))
      (('power',),)
    """
    try:
        actions = [one for _, one in bound_actions(domain, problem, _MOST_BINDINGS, possible=False)]
    except DataError:
        return ()
    false = {(NOT, *atom) for one in actions for atom in one.forbids if atom not in problem.init}
    false |= {(NOT, *atom) for atom in problem.goal_not if atom not in problem.init}
    goal = {*problem.goal, *((NOT, *atom) for atom in problem.goal_not)}
    reach = _Reach(actions)
    reached, missing = reach.extend(set(problem.init) | false, [len(one) for one in reach.needs])
    if goal <= reached:
        return ()
    needed = {atom for facts in reach.needs for atom in facts if atom[0] != NOT}
    candidates = sorted(needed - reached - goal, key=lambda atom: (len(atom), atom))
    return tuple(
        atom
        for atom in candidates
        if goal <= reached | reach.extend({atom}, list(missing), reached)[0]
    )


class _Reach:
    """What actions that delete nothing make true."""

    def __init__(self, actions: list[Schema]) -> None:
        self.needs = [set(conditions(one)) for one in actions]
        self.adds = [[*one.adds, *((NOT, *atom) for atom in one.deletes)] for one in actions]
        self.users: dict[Atom, list[int]] = defaultdict(list)
        for place, facts in enumerate(self.needs):
            for fact in facts:
                self.users[fact].append(place)

    def extend(
        self, facts: set[Atom], missing: list[int], before: set[Atom] | None = None
    ) -> tuple[set[Atom], list[int]]:
        """Return the facts that become true, and how many conditions each action still lacks.

        Args:
          facts: what is true besides `before`.
          missing: how many conditions each action lacks after `before`; it is changed in place.
          before: facts that were true earlier, with all that follows from them; None for the start.
        """
        start = before is None
        before = before or set()
        found, waiting = set(facts), list(facts)
        if start:
            # Actions that need nothing can be taken at once.
            for place, count in enumerate(missing):
                if not count:
                    waiting += [one for one in self.adds[place] if one not in found]
                    found.update(self.adds[place])
        while waiting:
            for place in self.users.get(waiting.pop(), ()):
                missing[place] -= 1
                if missing[place]:
                    continue
                for added in self.adds[place]:
                    if added not in found and added not in before:
                        found.add(added)
                        waiting.append(added)
        return found, missing
