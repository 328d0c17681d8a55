"""Whether a value, read from a file or given as a setting, has the type that a hint declares."""

import types
import typing
from typing import Any

_SHOWN = 60  # most characters of a wrong value that a message repeats
# Numbers beyond this are damage: no count, size or index of ours comes near.
_LARGEST = 2**63
_WHOLE = "the content"


def mismatch(value: Any, hint: Any, name: str) -> str | None:
    """Say in which part a value differs from the type that it must have.

    Args:
      value: what was read.
      hint: a class, `Literal`, a union, `list[T]`, `tuple[T, ...]`, `dict[str, T]`, or a
        `TypedDict`: an object that has these keys and may have others. A `float` may be a whole
        number and must not be NaN.
      name: of the value, to begin the message; "" for the content of a file.

    Returns:
      One clause that names the part, the type and the value; None if the value fits.

    Example:
      >>> mismatch({"weight_map": {"a": 3}}, dict[str, dict[str, str]], "index")
      "index['weight_map']['a'] must be str, got 3"
      >>> mismatch([1, 2], list[int] | None, "sizes") is None
      True
    """
    if hint is Any:
        return None
    if typing.is_typeddict(hint):
        return _table(value, hint, name)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        found = [mismatch(value, part, name) for part in arguments]
        return None if None in found else _clause(value, hint, name)
    if origin is dict and isinstance(value, dict):
        parts = ((_at(name, key), part) for key, part in value.items())
        return next((m for at, part in parts if (m := mismatch(part, arguments[1], at))), None)
    if origin in (list, tuple) and isinstance(value, origin):
        parts = ((_at(name, at), part) for at, part in enumerate(value))
        return next((m for at, part in parts if (m := mismatch(part, arguments[0], at))), None)
    return None if _is(value, hint, origin, arguments) else _clause(value, hint, name)


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has a type; see `mismatch`."""
    return mismatch(value, hint, "") is None


def shown(hint: Any) -> str:
    """Return how a message writes a type.

    Example:
      >>> shown(int), shown(int | None), shown(list[dict[str, int]])
      ('int', 'int | None', 'list[object]')
    """
    if typing.is_typeddict(hint) or typing.get_origin(hint) is dict:
        return "an object"
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    if typing.get_origin(hint) in (list, tuple):
        # Names of our own classes of rows tell a reader of a message nothing.
        parts = ("..." if part is ... else shown(part) for part in typing.get_args(hint))
        inside = ", ".join(part.removeprefix("an ") for part in parts)
        return f"{typing.get_origin(hint).__name__}[{inside}]"
    plain = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if plain else str(hint).replace("typing.", "")


def _table(value: Any, hint: Any, name: str) -> str | None:
    if not isinstance(value, dict):
        return f"{name or _WHOLE} must be an object, got {_short(value)}"
    for key, part in typing.get_type_hints(hint).items():
        if key not in value:
            if key in hint.__required_keys__:
                return f"{name or _WHOLE} has no {key!r}"
        elif found := mismatch(value[key], part, _at(name, key)):
            return found
    return None


def _is(value: Any, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    if origin is typing.Literal:
        # True equals 1, but is not the choice 1.
        return any(
            value == choice and isinstance(value, bool) == isinstance(choice, bool)
            for choice in arguments
        )
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and value == value and (isinstance(value, float) or _small(value))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and _small(value)
    return isinstance(value, origin or hint)


def _small(value: int) -> bool:
    return -_LARGEST <= value < _LARGEST


def _clause(value: Any, hint: Any, name: str) -> str:
    return f"{name or _WHOLE} must be {shown(hint)}, got {_short(value)}"


def _at(name: str, key: Any) -> str:
    return f"{name}[{_short(key)}]" if name else _short(key)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or _small(value) else "an enormous number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
