"""Which of several names somebody meant who typed one that does not exist.

Only near names are suggested, because a wrong suggestion costs more than none.
"""

import re
from collections.abc import Iterable

# How the parts of two names before the last ones are related, the nearest first.
_SAME_PLACE, _LEFT_OUT, _DEEP, _ELSEWHERE = range(4)
# How the last parts are related: equal up to signs, one abbreviates the other, one typing error,
# the option begins with the name or the reverse, several typing errors, it ends with the name.
_EQUAL, _INITIALS, _ONE_ERROR, _BEGINS, _ERRORS, _ENDS = range(6)
# Most names that a message suggests.
_MOST = 3


def nearest(name: str, options: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the options closest to `name`; "" if none is close.

    Close is an option that has the same last part (`--lr` finds `--train.lr`), that the name
    abbreviates (`lr` finds `learning-rate`), that differs by few typing errors for its length, or
    that begins or ends with the name.

    Example:
      >>> nearest("titel", ["title", "genres"])
      ", did you mean 'title'?"
      >>> nearest("--seed", ["--ids.seed", "--train.seed"])
      ", did you mean '--ids.seed' or '--train.seed'?"
      >>> nearest("xyz", ["title", "genres"])
      ''
    """
    options = [option for option in options if option != name]
    # `--train` is a group of settings and none of them.
    if any(option.startswith(f"{name}.") for option in options):
        return ""
    ranks = {option: rank for option in options if (rank := _rank(name, option)) is not None}
    best = min(ranks.values(), default=None)
    found = [option for option, rank in ranks.items() if rank == best]
    if not found:
        return ""
    _, how, _ = ranks[found[0]]
    if how in (_BEGINS, _ENDS) and len(found) > _MOST:
        return ""
    shown = [repr(option) for option in found[: 1 if how in (_ONE_ERROR, _ERRORS) else _MOST]]
    return f", did you mean {' or '.join([', '.join(shown[:-1]), shown[-1]][len(shown) < 2 :])}?"


def _rank(name: str, option: str) -> tuple[int, int, int] | None:
    """How far an option is from a name, smaller for nearer; None if it is too far."""
    (*place, last), (*other_place, other_last) = _parts(name), _parts(option)
    how = _relation(last, other_last, bool(place))
    if len(place) == len(other_place):
        errors = [_errors(one, other) for one, other in zip(place, other_place, strict=True)]
        few = [count for count in errors if count is not None]
        if len(few) == len(errors) and how is not None:
            return (_SAME_PLACE, how[0], how[1] + sum(few))
    if not place and how is not None:
        # The more is left out, the more the rest must agree.
        deep = len(other_place) > 1 or "/" in option
        short = how[0] == _BEGINS and len(last) < 4
        if how[0] == _EQUAL or not (deep or short):
            return (_DEEP if deep else _LEFT_OUT, *how)
    # Two files of one name in different directories have nothing else in common.
    elsewhere = bool(place and other_place) and "/" not in name + option
    if elsewhere and how is not None and how[0] == _EQUAL and len(last) > 1:
        return (_ELSEWHERE, *how)
    if option.startswith(f"{name}/"):
        return (_ELSEWHERE, _BEGINS, 0)
    return None


def _relation(one: str, other: str, has_place: bool) -> tuple[int, int] | None:
    """How the last parts of a name and of an option are related, and by how many errors."""
    if one and one.replace("-", "") == other.replace("-", ""):
        return _EQUAL, 0
    if one in _initials(other) or other in _initials(one):
        return _INITIALS, 0
    errors = _errors(one, other)
    if errors == 1:
        return _ONE_ERROR, 1
    short, long = sorted((one, other), key=len)
    if len(short) > 2 and long.startswith(short):
        return _BEGINS, 0
    if errors is not None:
        return _ERRORS, errors
    if len(short) > 2 and long.endswith(short):
        return _ENDS, 0
    # A short part is near where its place is right: `runs/aa` and `runs/a`.
    if has_place and short and len(long) - len(short) == 1 and long.startswith(short):
        return _ONE_ERROR, 1
    return None


def _parts(name: str) -> list[str]:
    """The parts of a dotted name or of a path, without case, leading dashes and underscores."""
    return re.split("[./]", name.lower().lstrip("-").replace("_", "-"))


def _initials(part: str) -> tuple[str, ...]:
    """Shorten "learning-rate" to "lr".

    A single word has no abbreviation, because one letter fits any word.
    """
    words = part.split("-")
    return ("".join(word[:1] for word in words),) if len(words) > 1 else ()


def _errors(one: str, other: str) -> int | None:
    """Number of typing errors between two words; None if they are too many for their length."""
    most = min(max(len(one), len(other)) // 3, 3)
    if abs(len(one) - len(other)) > most:
        return None
    count = _distance(one, other)
    return count if count <= most else None


def _distance(one: str, other: str) -> int:
    """Letters inserted, dropped, replaced or swapped (Damerau 1964, each place edited once)."""
    last: list[int] = []
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        last, before, row = before, row, [at]
        for to, wanted in enumerate(other, 1):
            best = min(before[to] + 1, row[-1] + 1, before[to - 1] + (letter != wanted))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == wanted:
                best = min(best, last[to - 2] + 1)
            row.append(best)
    return row[-1]
