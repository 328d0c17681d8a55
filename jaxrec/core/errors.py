"""Errors that a user can act on: each names the thing, its value and the fix.

The command line prints the message on one line and exits with `exit_code`.
"""

import difflib
from collections.abc import Iterable


class JaxrecError(Exception):
    """Base of every error that jaxrec raises on purpose."""

    exit_code = 1


class ConfigError(JaxrecError, ValueError):
    """A setting is unknown, has the wrong type, or contradicts another."""

    exit_code = 2


class DataError(JaxrecError, ValueError):
    """A file is missing, malformed or corrupted, or nothing is left of it."""

    exit_code = 3


class ResourceError(JaxrecError, RuntimeError):
    """The machine ran out of something: disk, memory, a lock."""

    exit_code = 4


class DivergedError(JaxrecError, ArithmeticError):
    """A loss or a parameter is not finite, or a loss explodes."""

    exit_code = 5


class Interrupted(JaxrecError):
    """A run was asked to stop, and has saved what it takes to go on: the same command resumes it.

    The code is EX_TEMPFAIL of sysexits.h, "try again".
    """

    exit_code = 75


def nearest(name: str, options: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the option closest to `name`, else "".

    Abbreviations count: the initials of `learning-rate` are `lr`.
    """
    options = list(options)
    same_initials = [o for o in options if _initials(o) == name or o == _initials(name)]
    found = same_initials or difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f", did you mean {found[0]!r}?" if found else ""


def _initials(option: str) -> str:
    """Shorten the last part: "--sasrec.max-items" to "--sasrec.mi"."""
    head, dot, tail = option.rpartition(".")
    return head + dot + "".join(word[:1] for word in tail.replace("_", "-").split("-"))
