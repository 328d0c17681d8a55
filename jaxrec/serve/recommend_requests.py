"""Requests for recommendations, checked before anything is computed."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxrec.core import Count, check_ranges, shown_value
from jaxrec.serve.request_errors import RequestError

# Most characters of an ID or a title.
_LONGEST = 500
_LARGEST = 2**63
# Largest penalty of a diverse list in nats: far beyond where it changes anything.
_DIVERSE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecommendLimits:
    """Limits of one request.

    Attributes:
      rows: most users or histories.
      history: most items of a history.
      items: most items of all lists of a request together.
      explained: most items of a history whose recommendation is explained.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> RecommendLimits(rows=10).rows
      10
    """

    rows: Count = 256
    history: Count = 10_000
    items: Count = 200_000
    explained: Count = 100

    def __post_init__(self) -> None:
        check_ranges(self, "limits.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecommendBody:
    """A checked request; the arguments of `OpenRecommender.recommend` by other types.

    Attributes:
      users: see `recommend`.
      histories: see `recommend`.
      top: length of the lists; None for 10, or for all items of a smaller catalogue.
      beams: width of the search; None for that of the run.
      diversity: penalty of a diverse list in nats; None or 0 for the best items.
      allowed: see `recommend`.
      exclude: see `recommend`.
      seen: see `recommend`.
    """

    users: list[str] | None = None
    histories: list[list[str]] | dict[str, list[str]] | None = None
    top: int | None = None
    beams: int | None = None
    diversity: float | None = None
    allowed: list[Any] | None = None
    exclude: list[Any] | None = None
    seen: bool = False


def read_recommend(body: Mapping[str, Any], limits: RecommendLimits) -> RecommendBody:
    """Check the body of a request for recommendations.

    Raises:
      RequestError: what is wrong, by the name of the parameter.

    Example:
      >>> read_recommend({"users": ["ann", 7]}, RecommendLimits()).users
      ['ann', '7']
    """
    given = _known(body, [field.name for field in dataclasses.fields(RecommendBody)])
    users, histories = given.get("users"), given.get("histories")
    if (users is None) == (histories is None):
        found = "both" if users is not None else "none"
        raise RequestError(f"give users or histories, got {found} of them", param="users")
    budget = _Budget(limits)
    if users is not None:
        users = _names(users, "users", limits.rows)
        rows = len(users)
    else:
        histories = _histories(histories, budget)
        rows = len(histories)
    if not 1 <= rows <= limits.rows:
        raise RequestError(
            f"a request has 1 to {limits.rows} users or histories, got {rows}",
            param="users" if users is not None else "histories",
        )
    top, beams, diversity = given.get("top"), given.get("beams"), given.get("diversity")
    return RecommendBody(
        users=users,
        histories=histories,
        top=None if top is None else _whole(top, "top"),
        beams=None if beams is None else _whole(beams, "beams"),
        diversity=None if diversity is None else _number(diversity, "diversity", _DIVERSE),
        allowed=_lists(given.get("allowed"), "allowed", rows, budget),
        exclude=_lists(given.get("exclude"), "exclude", rows, budget),
        seen=_flag(given.get("seen", False), "seen"),
    )


@dataclasses.dataclass(frozen=True)
class ExplainBody:
    """A checked request for an explanation.

    Attributes:
      history: items, oldest first.
      item: that is explained.
      user: whose history it is, for models that read who the user is; None for nobody.
    """

    history: list[str]
    item: str
    user: str | None = None


def read_explain(body: Mapping[str, Any], limits: RecommendLimits) -> ExplainBody:
    """Check the body of a request for an explanation.

    Raises:
      RequestError: what is wrong, by the name of the parameter.

    Example:
      >>> read_explain({"history": ["7", "9"], "item": "50", "user": 3}, RecommendLimits())
      ExplainBody(history=['7', '9'], item='50', user='3')
    """
    given = _known(body, ["history", "item", "user"])
    history = _names(given.get("history"), "history", limits.explained)
    if not history:
        raise RequestError("history is empty; there is nothing to explain by", param="history")
    user = given.get("user")
    return ExplainBody(
        history, _name(given.get("item"), "item"), None if user is None else _name(user, "user")
    )


def _known(body: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    for name in body:
        if name not in names:
            word = shown_value(name).strip("'")
            raise RequestError(
                f"there is no parameter {word}; parameters: {', '.join(names)}", param=word
            )
    return {name: value for name, value in body.items() if value is not None}


class _Budget:
    """How many items a request may still name."""

    def __init__(self, limits: RecommendLimits) -> None:
        self.limits, self._left = limits, limits.items

    def spend(self, count: int, what: str) -> None:
        self._left -= count
        if self._left < 0:
            raise RequestError(
                f"a request names at most {self.limits.items} items; send several requests",
                param=what,
            )


def _histories(value: Any, budget: _Budget) -> list[list[str]] | dict[str, list[str]]:
    most = budget.limits.history
    read: Callable[[Any, str], list[str]] = lambda row, what: _names(row, what, most)  # noqa: E731
    if isinstance(value, dict):
        found: Any = {}
        for number, (user, row) in enumerate(value.items()):
            found[_name(user, "histories")] = read(row, f"histories, row {number}")
        every = found.values()
    elif isinstance(value, list):
        found = [read(row, f"histories, row {number}") for number, row in enumerate(value)]
        every = found
    else:
        raise RequestError(
            f"histories must be a list of lists of items, or an object with a list for each user; "
            f"got {shown_value(value)}",
            param="histories",
        )
    for row in every:
        budget.spend(len(row), "histories")
    return found


def _lists(value: Any, what: str, rows: int, budget: _Budget) -> list[Any] | None:
    """One list for all rows, or a list of lists."""
    if value is None:
        return None
    most = budget.limits.items
    if isinstance(value, list) and any(isinstance(row, list) for row in value):
        if len(value) != rows:
            raise RequestError(
                f"{what} has {len(value)} lists for {rows} users or histories; give one for each, "
                "or one list for all",
                param=what,
            )
        lists = [_names(row, f"{what}, row {number}", most) for number, row in enumerate(value)]
        for row in lists:
            budget.spend(len(row), what)
        return lists
    names = _names(value, what, most)
    budget.spend(len(names), what)
    return names


def _names(value: Any, what: str, most: int) -> list[str]:
    param = what.partition(",")[0]
    if not isinstance(value, list):
        raise RequestError(f"{what} must be a list of IDs, got {shown_value(value)}", param=param)
    if len(value) > most:
        raise RequestError(f"{what} has {len(value)} entries; give at most {most}", param=param)
    return [_name(name, what) for name in value]


def _name(value: Any, what: str) -> str:
    param = what.partition(",")[0]
    if type(value) is int and abs(value) < _LARGEST:
        return str(value)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise RequestError(
            f"{what}: an ID or a title is a text of 1 to {_LONGEST} characters or a whole number; "
            f"got {shown_value(value)}",
            param=param,
        )
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RequestError(f"{what} holds half a character", param=param)
    return value


def _whole(value: Any, what: str) -> int:
    if type(value) is not int or not 1 <= value < 2**31:
        raise RequestError(
            f"{what} must be a whole number of at least 1, got {shown_value(value)}", param=what
        )
    return value


def _number(value: Any, what: str, most: int) -> float:
    # A comparison with NaN is false, and a whole number of any size has one.
    if type(value) not in (int, float) or not 0 <= value <= most:
        raise RequestError(
            f"{what} must be a number from 0 to {most}, got {shown_value(value)}", param=what
        )
    return float(value)


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise RequestError(f"{what} must be true or false, got {shown_value(value)}", param=what)
    return value
