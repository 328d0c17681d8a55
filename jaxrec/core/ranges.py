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
from typing import Annotated, Any, Literal

import numpy as np

from jaxrec.core.errors import ConfigError
from jaxrec.core.hints import fits, shown

# Steps, sizes and counts enter compiled programs as int32, all other numbers as float32. Beyond the
# largest float32 a number is infinite there, and below the smallest normal one it is 0.
_LARGEST = 2**31 - 1
_LARGEST_FLOAT, _SMALLEST_FLOAT = 2.0**128 - 2.0**104, 2.0**-126


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting accepts; a number must be finite in float32 in any case.

    Attributes:
      low: smallest number.
      high: largest number.
      ends: a round bracket excludes the end on its side.

    Example:
      >>> dropout = Range(0, 1, "[)")
      >>> 0.5 in dropout, 1.0 in dropout, str(dropout)
      (True, False, 'in [0, 1)')
    """

    low: float = -math.inf
    high: float = math.inf
    ends: Literal["[]", "(]", "[)", "()"] = "[]"

    def __contains__(self, value: float) -> bool:
        """Whether the number, as a float32, is finite and inside; NaN is not."""
        if abs(value) < _SMALLEST_FLOAT:
            value = 0.0
        low = value > self.low if self.ends[0] == "(" else value >= self.low
        high = value < self.high if self.ends[1] == ")" else value <= self.high
        return bool(low and high and abs(value) <= _LARGEST_FLOAT)

    def __str__(self) -> str:
        """The range, to follow "must be"."""
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.high in (math.inf, _LARGEST):
            return f"{'above' if self.ends[0] == '(' else 'at least'} {self.low}"
        return f"in {self.ends[0]}{self.low}, {self.high}{self.ends[1]}"

    def explain(self, value: float) -> str:
        """What a number outside must be, to follow "must be"."""
        if self.high == _LARGEST and value > _LARGEST:
            return f"at most {_LARGEST}"
        if 0 < abs(value) < _SMALLEST_FLOAT:
            return f"{self} in float32, where this number is 0"
        infinite = value != value or abs(value) > _LARGEST_FLOAT
        return f"finite and {self}" if infinite and "finite" not in str(self) else str(self)


# Types of settings. A count is at least 1; a whole number may be 0, which often disables something.
Count = Annotated[int, Range(1, _LARGEST)]
Whole = Annotated[int, Range(0, _LARGEST)]
# A random key holds 32 bits of the seed; seeds that differ by 2^32 would draw the same numbers.
Seed = Annotated[int, Range(0, 2**32 - 1)]
Number = Annotated[float, Range()]
Positive = Annotated[float, Range(0, ends="(]")]
# Parameters are about 1 in size, so a larger step than this loses them.
LearningRate = Annotated[float, Range(0, 1000, "(]")]
NotNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, "(]")]
Rate = Annotated[float, Range(0, 1, "[)")]


def check_ranges(config: Any, prefix: str) -> None:
    """Reject numbers of a config that are out of range or not finite, and parts of another class.

    Args:
      config: a dataclass whose numeric fields have a `Range` in their types. Dataclasses inside it
        are checked too.
      prefix: where users find the settings on the command line, such as "--train.".

    Raises:
      ConfigError: the message names the option, the range or the class, and the value.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Train:
      ...     batch_size: Count = 5
      >>> check_ranges(Train(batch_size=0), "--train.")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --train.batch-size must be at least 1, got 0
    """
    check_made(config, prefix)
    kind: Any = type(config)
    hints = _hints(kind)
    for name, ranges in field_ranges(kind).items():
        value = getattr(config, name)
        check_type(value, hints[name], option(prefix + name), strict=False)
        for number in value if isinstance(value, tuple) else (value,):
            check_number(number, ranges, option(prefix + name), value)
    for field in dataclasses.fields(config):
        inner, hint = getattr(config, field.name), hints[field.name]
        if dataclasses.is_dataclass(hint) and not isinstance(inner, type):
            # Before anything reads a setting of another class, or of None.
            check_type(inner, hint, option(prefix + field.name))
        if dataclasses.is_dataclass(inner):
            check_ranges(inner, f"{prefix}{field.name}.")


def check_made(config: Any, name: str) -> None:
    """Reject a class in place of its settings, as `Config` for `Config()`.

    Args:
      config: the settings.
      name: what the message calls them, such as "--train."; "--" for the whole config.

    Raises:
      ConfigError: the message says what to write.

    Example:
      >>> check_made(Range, "--size.")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --size is the class Range; write Range()
    """
    if isinstance(config, type):
        where = option(name).rstrip("-.") or "the config"
        raise ConfigError(f"{where} is the class {config.__name__}; write {config.__name__}()")


def check_type(value: Any, hint: Any, name: str, *, strict: bool = True) -> None:
    """Reject a value that does not have the declared type.

    Args:
      value: the value of a setting.
      hint: its type; annotations in it are ignored.
      name: what the message calls the setting.
      strict: False to accept numbers of NumPy's types too.

    Raises:
      ConfigError: the message names the setting, the type and the value.

    Example:
      >>> check_type("many", int | None, "--steps")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --steps must be int | None, got 'many'
    """
    # How large a number may be is said by its range, which explains more.
    if fits(value, hint) or fits(_zeros(value), hint):
        return
    plain = value.item() if isinstance(value, np.number) else value
    if strict or not fits(_zeros(plain), hint):
        raise ConfigError(f"{name} must be {shown(hint)}, got {value!r:.60}")


def _zeros(value: Any) -> Any:
    """The value with 0 in place of every number."""
    if isinstance(value, tuple):
        return tuple(_zeros(part) for part in value)
    return type(value)(0) if type(value) in (int, float) else value


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
    found: dict[str, tuple[Range, ...]] = {}
    for field in dataclasses.fields(kind):
        parts = list(_parts(hints[field.name]))
        if parts:
            ranges = dict.fromkeys(one for one in parts if one is not None)
            found[field.name] = tuple(ranges) if None not in parts else ()
    return found


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


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
