"""Reads PDDL: STRIPS with types and negative preconditions. Anything beyond is a named error."""

from collections.abc import Iterable, Mapping, Sequence

from jaxrec.core import DataError, nearest, printable
from jaxrec.data import files
from jaxrec.prompting.pddl import ROOT, Atom, Domain, Problem, Schema
from jaxrec.prompting.pddl_text import Node, read_brackets

REQUIREMENTS = (":strips", ":typing", ":negative-preconditions")
_DOMAIN_PARTS = (":requirements", ":types", ":constants", ":predicates", ":action")
_PROBLEM_PARTS = (":domain", ":requirements", ":objects", ":init", ":goal")
_ACTION_PARTS = (":parameters", ":precondition", ":effect")
# Faults that a message names.
_NAMED = 5


def read_domain(text: str) -> Domain:
    """Read a domain.

    Args:
      text: `(define (domain NAME) ...)` with the parts :requirements, :types, :constants,
        :predicates and :action.

    Returns:
      The domain, with all names in lower case.

    Raises:
      DataError: brackets that do not match, a part, a requirement or a condition that this library
        does not support, or a name that is not declared.

    Example:
      >>> read_domain('''(define (domain lamps) (:predicates (lit ?x))
      ...   (:action light :parameters (?x) :precondition (not (lit ?x)) :effect (lit ?x)))
      ... ''').actions["light"].adds
      (('lit', '?x'),)
    """
    name, parts = _definition(text, "domain", _DOMAIN_PARTS)
    types: dict[str, str] = {}
    constants: dict[str, str] = {}
    predicates: dict[str, tuple[str, ...]] = {}
    for part in parts:
        if part[0] == ":requirements":
            _check_requirements(part[1:])
        elif part[0] == ":types":
            types |= dict(_typed(part[1:], ":types"))
    # A domain may declare the root itself, or name a parent without declaring it.
    types = {kind: parent for kind, parent in types.items() if kind != ROOT}
    types |= {parent: ROOT for parent in types.values() if parent not in types and parent != ROOT}
    _check_hierarchy(types)
    for part in parts:
        if part[0] == ":constants":
            constants |= dict(_typed(part[1:], ":constants"))
        elif part[0] == ":predicates":
            for entry in part[1:]:
                words = _list(entry, ":predicates")
                arguments = _typed(words[1:], f"the predicate {_show(entry)}")
                predicates[_word(words[:1], entry)] = tuple(kind for _, kind in arguments)
    used = [*constants.values(), *(kind for kinds in predicates.values() for kind in kinds)]
    _check_types(used, types)
    domain = Domain(name=name, types=types, constants=constants, predicates=predicates)
    actions: dict[str, Schema] = {}
    for part in parts:
        if part[0] == ":action":
            schema = _action(part, domain)
            if schema.name in actions:
                raise DataError(f"the action {schema.name} is defined twice; rename one of them")
            actions[schema.name] = schema
    return Domain(
        name=name, types=types, constants=constants, predicates=predicates, actions=actions
    )


def read_problem(text: str, domain: Domain) -> Problem:
    """Read a problem of a domain.

    Args:
      text: `(define (problem NAME) (:domain NAME) (:objects ...) (:init ...) (:goal ...))`.
      domain: what the problem may mention.

    Returns:
      The problem; its objects include the constants of the domain.

    Raises:
      DataError: brackets that do not match, a missing part, another domain, unknown objects,
        predicates or types, or atoms with the wrong number or types of arguments. The message names
        every atom that is wrong.

    Example:
      >>> lamps = Domain(name="lamps", predicates={"lit": ("object",)})
      >>> read_problem("(define (problem p) (:domain lamps) (:objects a) (:init (lit b))"
      ...   "(:goal (lit a)))", lamps)
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: :init: unknown object 'b' in (lit b); objects: a
    """
    name, parts = _definition(text, "problem", _PROBLEM_PARTS)
    by_name = {str(part[0]): part[1:] for part in parts}
    if len(by_name) != len(parts):
        raise DataError(f"the problem {name} has a part twice; write each part once")
    for needed in (":domain", ":init", ":goal"):
        if needed not in by_name:
            raise DataError(f"the problem {name} has no {needed}; add ({needed} ...)")
    if by_name[":domain"] != [domain.name]:
        raise DataError(
            f"the problem {name} belongs to the domain {_show(by_name[':domain'])[1:-1]}; write "
            f"(:domain {domain.name})"
        )
    _check_requirements(by_name.get(":requirements", []))
    pairs = _typed(by_name.get(":objects", []), ":objects")
    objects = dict(domain.constants) | dict(pairs)
    if len(dict(pairs)) != len(pairs):
        names = [one for one, _ in pairs]
        twice = next(one for one in names if names.count(one) > 1)
        raise DataError(f":objects names {files.shown(twice)} twice; name each object once")
    _check_types(objects.values(), domain.types)
    if len(by_name[":goal"]) != 1:
        raise DataError(":goal must hold one condition, such as (and (on a b) (on b c))")
    goal, goal_not = _literals(by_name[":goal"][0], ":goal")
    init: list[Atom] = []
    for node in by_name[":init"]:
        true, false = _literals(node, ":init")
        if false or len(true) != 1:
            raise DataError(
                f":init holds {_show(node)}, but it lists the true atoms alone; all others are "
                "false"
            )
        init += true
    faults = _faults(init, objects, domain, ":init")
    faults += _faults([*goal, *goal_not], objects, domain, ":goal")
    _refuse(faults)
    return Problem(name=name, objects=objects, init=frozenset(init), goal=goal, goal_not=goal_not)


def _definition(text: str, what: str, known: tuple[str, ...]) -> tuple[str, list[list[Node]]]:
    """The name of a domain or problem, and its parts."""
    nodes = read_brackets(text)
    head = nodes[1] if len(nodes) > 1 and nodes[0] == "define" else None
    if not isinstance(head, list) or len(head) != 2 or head[0] != what:
        raise DataError(f"this is no {what}; it must begin with (define ({what} NAME)")
    parts = [_list(node, f"the {what}") for node in nodes[2:]]
    for part in parts:
        if not part or part[0] not in known:
            name = str(part[0]) if part else "()"
            raise DataError(
                f"the {what} {_show(head[1])} has the part {files.shown(name)}"
                f"{nearest(name, known)}, which is not supported; parts: {', '.join(known)}"
            )
    return str(head[1]), parts


def _check_requirements(words: Sequence[Node]) -> None:
    for word in words:
        if word not in REQUIREMENTS:
            raise DataError(
                f"the requirement {_show(word)} is not supported; requirements: "
                f"{', '.join(REQUIREMENTS)}"
            )


def _check_hierarchy(types: Mapping[str, str]) -> None:
    for kind in types:
        above, seen = kind, {kind}
        while above in types:
            above = types[above]
            if above in seen:
                raise DataError(f"the type {kind!r} lies below itself; correct :types")
            seen.add(above)


def _check_types(used: Iterable[str], types: Mapping[str, str]) -> None:
    known = [ROOT, *types]
    for kind in used:
        if kind not in known:
            raise DataError(
                f"unknown type {files.shown(kind)}{nearest(kind, files.usual(known))}; types: "
                f"{files.listed(known)}"
            )


def _typed(words: Sequence[Node], where: str) -> list[tuple[str, str]]:
    """Pairs of a name and its type, from `a b - type c`."""
    found: list[tuple[str, str]] = []
    waiting: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not isinstance(word, str):
            raise DataError(f"{where} holds {_show(word)}, where a name was expected")
        if word != "-":
            waiting.append(word)
            continue
        if not rest or not waiting or not isinstance(rest[0], str):
            got = _show(rest[0]) if rest else "nothing"
            raise DataError(
                f"{where}: a dash must stand between names and one type, got {got}; a choice of "
                "types (either ...) is not supported"
            )
        kind = str(rest.pop(0))
        found += [(name, kind) for name in waiting]
        waiting = []
    return found + [(name, ROOT) for name in waiting]


def _action(part: Sequence[Node], domain: Domain) -> Schema:
    name = _word(part[1:2], part)
    if len(part) % 2 or any(key not in _ACTION_PARTS for key in part[2::2]):
        wrong = next((key for key in part[2::2] if key not in _ACTION_PARTS), part[-1])
        raise DataError(
            f"the action {name} has {_show(wrong)}, where one of {', '.join(_ACTION_PARTS)} and "
            "its value were expected"
        )
    values = {str(key): value for key, value in zip(part[2::2], part[3::2], strict=True)}
    where = f"the action {name}"
    parameters = _typed(_list(values.get(":parameters", []), where), where)
    _check_types((kind for _, kind in parameters), domain.types)
    if len(dict(parameters)) != len(parameters) or any(v[0] != "?" for v, _ in parameters):
        raise DataError(f"{where}: the parameters must be different names that begin with '?'")
    needs, forbids = _literals(values.get(":precondition", []), where)
    adds, deletes = _literals(values.get(":effect", []), where)
    known = dict(parameters) | dict(domain.constants)
    faults = _faults([*needs, *forbids, *adds, *deletes], known, domain, where, loose=True)
    _refuse(faults)
    return Schema(
        name=name,
        parameters=tuple(parameters),
        needs=needs,
        forbids=forbids,
        adds=adds,
        deletes=deletes,
    )


def _literals(node: Node, where: str) -> tuple[tuple[Atom, ...], tuple[Atom, ...]]:
    """The atoms of a conjunction that must be true and those that must be false."""
    words = _list(node, where)
    if not words:
        return (), ()
    if words[0] == "and":
        parts = [_literals(part, where) for part in words[1:]]
        true, false = ([atom for part in parts for atom in part[side]] for side in (0, 1))
        return tuple(dict.fromkeys(true)), tuple(dict.fromkeys(false))
    if words[0] == "not" and len(words) == 2:
        true_part, false_part = _literals(words[1], where)
        if len(true_part) == 1 and not false_part and _list(words[1], where)[0] != "and":
            return (), true_part
        raise DataError(f"{where}: {_show(node)} is not supported; negate one atom at a time")
    plain = [word for word in words if isinstance(word, str)]
    if len(plain) != len(words) or plain[0] in _OPERATORS:
        raise DataError(
            f"{where}: {_show(node)} is not supported; conditions and effects are atoms, "
            "(not ATOM) and (and ...)"
        )
    return (tuple(plain),), ()


# Words of richer dialects that look like predicates where their arguments are plain words.
_OPERATORS = (
    *("=", "<", ">", "<=", ">=", "or", "not", "imply", "when", "forall", "exists"),
    *("increase", "decrease", "assign"),
)


def _faults(
    atoms: Iterable[Atom],
    objects: Mapping[str, str],
    domain: Domain,
    where: str,
    loose: bool = False,
) -> list[str]:
    """What is wrong with atoms; `loose` lets a variable of a wider type pass, as PDDL does."""
    found = []
    for atom in atoms:
        shown = _show([*atom])
        if atom[0] not in domain.predicates:
            near, name = nearest(atom[0], files.usual(domain.predicates)), files.shown(atom[0])
            known = files.listed(domain.predicates)
            found.append(f"{where}: unknown predicate {name}{near}; predicates: {known}")
            continue
        kinds = domain.predicates[atom[0]]
        if len(atom) - 1 != len(kinds):
            found.append(f"{where}: {shown} has {len(atom) - 1} arguments, expected {len(kinds)}")
            continue
        for word, kind in zip(atom[1:], kinds, strict=True):
            if word not in objects:
                what = "variable" if word[0] == "?" else "object"
                near, known = nearest(word, files.usual(objects)), files.listed(objects)
                name = files.shown(word)
                found.append(f"{where}: unknown {what} {name} in {shown}{near}; {what}s: {known}")
            elif not domain.is_a(objects[word], kind) and not (
                loose and domain.is_a(kind, objects[word])
            ):
                found.append(
                    f"{where}: {word} in {shown} has the type {objects[word]}, expected {kind}"
                )
    return found


def _refuse(faults: Sequence[str]) -> None:
    """Raise an error with the first faults, if there are any."""
    if faults:
        more = f"; and {len(faults) - _NAMED} more faults" if len(faults) > _NAMED else ""
        raise DataError("; ".join(faults[:_NAMED]) + more)


def _list(node: Node, where: str) -> list[Node]:
    if not isinstance(node, list):
        raise DataError(f"{where} holds {files.shown(node)}, where a list in brackets was expected")
    return node


def _word(words: Sequence[Node], node: Node | Sequence[Node]) -> str:
    if not words or not isinstance(words[0], str):
        raise DataError(f"a name was expected at the beginning of {_show(node)}")
    return words[0]


def _show(node: Node | Sequence[Node]) -> str:
    """A node in brackets, cut where it is long."""
    text = node if isinstance(node, str) else f"({' '.join(map(_show, node))})"
    text = printable(text)
    return text if len(text) <= 80 else f"{text[:77]}..."
