"""Errors that a user can act on: each message names the thing, its value and the fix.

The command line prints the message on one line and exits with the error's `exit_code`.
"""

import difflib
from collections.abc import Iterable


class JaxrecError(Exception):
    """Base class of every error that jaxrec raises on purpose.

    Example:
      >>> try:
      ...     raise ConfigError("train.steps must be above 0, got -1")
      ... except JaxrecError as error:
      ...     print(error.exit_code, error)
      2 train.steps must be above 0, got -1
    """

    exit_code = 1


class ConfigError(JaxrecError, ValueError):
    """A setting is unknown, has the wrong type or value, or contradicts another setting."""

    exit_code = 2


class DataError(JaxrecError, ValueError):
    """A file is missing, malformed or damaged, or no usable data are left in it."""

    exit_code = 3


class ResourceError(JaxrecError, RuntimeError):
    """A resource of the machine is not available: disk space, memory, a lock."""

    exit_code = 4


class DivergedError(JaxrecError, ArithmeticError):
    """A loss or a parameter is not finite, or the loss explodes."""

    exit_code = 5


class Interrupted(JaxrecError):
    """A run was asked to stop and has saved its state; the same command resumes it.

    The exit code is EX_TEMPFAIL of sysexits.h, "try again".
    """

    exit_code = 75


def nearest(name: str, options: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the option closest to `name`; "" if none is close.

    Abbreviations of several words count as close: `lr` finds `learning-rate`.

    Example:
      >>> nearest("titel", ["title", "genres"])
      ", did you mean 'title'?"
      >>> nearest("xyz", ["title", "genres"])
      ''
    """
    options = list(options)
    same_initials = [o for o in options if name in _initials(o) or o in _initials(name)]
    matches = same_initials or difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""


def _initials(option: str) -> tuple[str, ...]:
    """Shorten the last part of a name: "--sasrec.max-items" to "--sasrec.mi".

    A name whose last part is one word has no abbreviation, because one letter fits any word.
    """
    head, dot, tail = option.rpartition(".")
    words = tail.lstrip("-").replace("_", "-").split("-")
    dashes = tail[: len(tail) - len(tail.lstrip("-"))]
    return (head + dot + dashes + "".join(word[:1] for word in words),) if len(words) > 1 else ()
