"""What the functions that make up an agent or a search may return, checked where it is read."""

from typing import TypeVar

from jaxrec.core import ConfigError

T = TypeVar("T")


def returned(value: object, kind: type[T], part: str, fix: str) -> T:
    """Return what a part returned, if it is what its caller reads.

    Args:
      value: what it returned.
      kind: class that it must have.
      part: what the message calls the part.
      fix: what to do, to end the message.

    Raises:
      ConfigError: a value of another class.

    Example:
      >>> returned("right", str, "the planner", "")
      'right'
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{part} must return {_named(kind)}, got {value!r:.60}; {fix}")
    return value


def _named(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
