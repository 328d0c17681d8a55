"""Names, lists of names, numbers and flags as callers of Python functions hand them in.

A wrong type is rejected with its value. Turned into text, `True` and a missing value of pandas
would be names that an item may have, and the letters of "12" would be two items.
"""

import numbers
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core.errors import ConfigError
from jaxrec.core.text import shown_value


def name_text(value: Any, what: str) -> str:
    """Return an ID or a title as text.

    Args:
      value: a text or a whole number, of Python, numpy or Arrow.
      what: what the message calls the value, such as "histories, row 3".

    Raises:
      ConfigError: anything else, such as a missing value, a fraction, bytes or a list; or
        a text with half a character, which no file can hold.

    Example:
      >>> name_text(50, "items"), name_text("Heat", "items")
      ('50', 'Heat')
      >>> name_text(float("nan"), "items")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: items: expected a text or a whole number, got nan
    """
    if type(value) is str and value.isascii():  # nearly all, and there may be millions
        return value
    given = value.as_py() if hasattr(value, "as_py") else value  # a scalar of Arrow
    whole = isinstance(given, numbers.Integral) and not isinstance(given, bool)
    if not whole and not isinstance(given, str):
        raise ConfigError(f"{what}: expected a text or a whole number, got {shown_value(given)}")
    text = str(given)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{what}: {shown_value(text)} holds half a character; give valid text"
        ) from error
    return text


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table is empty: None, NaN, a missing value of pandas, or "".

    Example:
      >>> is_missing(None), is_missing(float("nan")), is_missing(""), is_missing(0)
      (True, True, True, False)
    """
    if value is None or isinstance(value, str):
        return not value
    # pandas' NA is neither true nor false; its NaT, like NaN, differs from itself.
    return type(value).__name__ == "NAType" or (not is_list(value) and value != value)


def name_list(values: Any, what: str, *, ordered: bool = False) -> list[Any]:
    """Return the entries of a list of names, which are not checked.

    Args:
      values: a list, tuple, array, series or another iterable.
      what: what the message calls it.
      ordered: reject sets, because their order is arbitrary.

    Raises:
      ConfigError: a text, bytes, a mapping, a table, or no iterable at all.

    Example:
      >>> name_list(("50", "7"), "items")
      ['50', '7']
      >>> name_list("50", "items")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: items must be a list, got '50'; give ['50']
    """
    if hasattr(values, "columns"):
        kind = type(values).__name__
        raise ConfigError(f"{what} must be a list, got a {kind}; give one of its columns")
    if not is_list(values):
        fix = f"; give [{shown_value(values)}]" if isinstance(values, str | int) else ""
        raise ConfigError(f"{what} must be a list, got {shown_value(values)}{fix}")
    if ordered and isinstance(values, set | frozenset):
        raise ConfigError(
            f"{what} must be in order, and {shown_value(values)} is a set, which has none; give a "
            "list"
        )
    return list(values)


def is_list(value: Any) -> bool:
    """Return whether a value holds entries, as lists, arrays and series do.

    Example:
      >>> is_list(["50"]), is_list("50"), is_list({"50": 1})
      (True, False, False)
    """
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def whole_number(value: Any, what: str) -> int:
    """Return a whole number.

    Raises:
      ConfigError: a value of another type, such as 2.5, "5" or True.

    Example:
      >>> whole_number("5", "top")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: top must be a whole number, got '5'
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise ConfigError(f"{what} must be a whole number, got {shown_value(value)}")
    return int(value)


def path_of(value: Any, what: str) -> Path:
    """Return a path.

    Raises:
      ConfigError: neither a text nor a path, or an empty one.

    Example:
      >>> path_of(None, "directory")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: directory must be a path, got None; give a text or a Path
    """
    place = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(place, str) or not place:
        raise ConfigError(f"{what} must be a path, got {shown_value(value)}; give a text or a Path")
    return Path(place)


def flag(value: Any, what: str) -> bool:
    """Return a flag; a text such as "false" would count as true.

    Raises:
      ConfigError: anything but `True` or `False`, of Python or numpy.

    Example:
      >>> flag("false", "seen")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: seen must be True or False, got 'false'
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ConfigError(f"{what} must be True or False, got {shown_value(value)}")
