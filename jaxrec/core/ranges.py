"""Ranges of numeric settings: declared in the type of the field, checked before any work starts.

A config class writes `steps: Count = 2000`, and its `__post_init__` calls `check_ranges`. A test
fails for a config with a number that has no range, or whose `__post_init__` does not check it.
"""

import dataclasses
import functools
import math
import numbers
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from jaxrec.core.errors import ConfigError

# Steps, sizes and counts enter compiled programs as int32.
_LARGEST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting accepts; a number must be finite in any case.

    Attributes:
      low: smallest number.
      high: largest number.
      above: `low` itself is not accepted.
      below: `high` itself is not accepted.

    Example:
      >>> dropout = Range(0, 1, below=True)
      >>> 0.5 in dropout, 1.0 in dropout, str(dropout)
      (True, False, 'in [0, 1)')
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether the number is finite and inside; NaN is not."""
        low = value > self.low if self.above else value >= self.low
        high = value < self.high if self.below else value <= self.high
        return bool(low and high and abs(value) != math.inf)

    def __str__(self) -> str:
        """The range, to follow "must be"."""
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.high in (math.inf, _LARGEST):
            return f"above {self.low}" if self.above else f"at least {self.low}"
        opening, closing = "(" if self.above else "[", ")" if self.below else "]"
        return f"in {opening}{self.low}, {self.high}{closing}"

    def explain(self, value: float) -> str:
        """What a number outside must be, to follow "must be"."""
        if self.high == _LARGEST and value > _LARGEST:
            return f"at most {_LARGEST}"
        finite = math.isfinite(value) or "finite" in str(self)
        return str(self) if finite else f"finite and {self}"


# Types of settings. A count is at least 1; a whole number may be 0, which often disables something.
Count = Annotated[int, Range(1, _LARGEST)]
Whole = Annotated[int, Range(0, _LARGEST)]
# A random key holds 32 bits of the seed; seeds that differ by 2^32 would draw the same numbers.
Seed = Annotated[int, Range(0, 2**32 - 1)]
Number = Annotated[float, Range()]
Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, above=True)]
Rate = Annotated[float, Range(0, 1, below=True)]


def check_ranges(config: Any, prefix: str) -> None:
    """Reject numbers of a config that are out of range or not finite.

    Args:
      config: a dataclass whose numeric fields have a `Range` in their types. Dataclasses inside it
        are checked too.
      prefix: where users find the settings on the command line, such as "--train.".

    Raises:
      ConfigError: the message names the option, the range and the value.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Train:
      ...     batch_size: Count = 5
      >>> check_ranges(Train(batch_size=0), "--train.")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --train.batch-size must be at least 1, got 0
    """
    for name, ranges in field_ranges(type(config)).items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            check_number(number, ranges, option(prefix + name), value)
    for field in dataclasses.fields(config):
        inner = getattr(config, field.name)
        if dataclasses.is_dataclass(inner):
            check_ranges(inner, f"{prefix}{field.name}.")


def check_number(number: Any, ranges: tuple[Range, ...], name: str, shown: Any) -> None:
    """Reject a number that is in none of the ranges; other values belong to `check_types`.

    Args:
      number: the number to check.
      ranges: alternatives.
      name: what the message calls the setting.
      shown: the whole value of the setting, for the message.

    Raises:
      ConfigError: the message names the setting, the range and the value.

    Example:
      >>> check_number(5, (Range(0, 10),), "--size", 5)
    """
    if not ranges or not isinstance(number, numbers.Real) or isinstance(number, bool):
        return
    if any(typing.cast(float, number) in one for one in ranges):
        return
    wanted = " or ".join(one.explain(typing.cast(float, number)) for one in ranges)
    raise ConfigError(f"{name} must be {wanted}, got {shown!r}")


def option(name: str) -> str:
    """A setting's name as the command line spells it, if it begins with the dashes of an option.

    Example:
      >>> option("--train.batch_size"), option("Sweep.all_rows")
      ('--train.batch-size', 'Sweep.all_rows')
    """
    return name.replace("_", "-") if name.startswith("--") else name


@functools.cache
def field_ranges(kind: type) -> dict[str, tuple[Range, ...]]:
    """The ranges in the types of a config's own fields, by name; a number without one has ().

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Model:
      ...     width: Count = 64
      ...     window: Whole | None = None
      ...     title: str = ""
      >>> {name: [str(one) for one in ranges] for name, ranges in field_ranges(Model).items()}
      {'width': ['at least 1'], 'window': ['at least 0']}
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for field in dataclasses.fields(kind):
        parts = list(_parts(hints[field.name]))
        if parts:
            ranges = dict.fromkeys(one for one in parts if one is not None)
            found[field.name] = tuple(ranges) if None not in parts else ()
    return found


def _parts(hint: Any) -> Iterator[Range | None]:
    """The range of each number in a type; None for a number that has none."""
    if hint in (int, float):
        yield None
    elif typing.get_origin(hint) is Annotated:
        ranges = [extra for extra in hint.__metadata__ if isinstance(extra, Range)]
        yield from ranges or _parts(hint.__origin__)
    elif typing.get_origin(hint) is not typing.Literal:
        for part in typing.get_args(hint):
            yield from _parts(part)
