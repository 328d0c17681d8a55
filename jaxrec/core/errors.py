"""Errors that a user can act on: each message names the thing, its value and the fix.

The command line prints the message on one line and exits with the error's `exit_code`.
"""


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


class OutOfMemory(ResourceError):
    """The memory of the host or of a device is too small for these settings."""


class DivergedError(JaxrecError, ArithmeticError):
    """A loss or a parameter is not finite, or the loss explodes."""

    exit_code = 5


class Interrupted(JaxrecError):
    """A run was asked to stop and has saved its state; the same command resumes it.

    The exit code is EX_TEMPFAIL of sysexits.h, "try again".
    """

    exit_code = 75
