"""A function with some of its arguments, such that equal ones share compiled programs."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Bound:
    """A function with keyword arguments, like `functools.partial`, but equal if its parts are.

    `jax.jit` compiles a static argument that is new to it again. Two partials are always different,
    and two of these are equal if they have the same function and equal settings.

    Attributes:
      function: what is called.
      settings: names and values of keyword arguments, which must be hashable.

    Example:
      >>> Bound.of(int, base=2)("101"), Bound.of(int, base=2) == Bound.of(int, base=2)
      (5, True)
    """

    function: Callable[..., Any]
    settings: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, function: Callable[..., Any], **settings: Any) -> "Bound":
        """Bind keyword arguments to a function."""
        return cls(function, tuple(sorted(settings.items())))

    def __call__(self, *args: Any) -> Any:
        """Call the function with its settings."""
        return self.function(*args, **dict(self.settings))
