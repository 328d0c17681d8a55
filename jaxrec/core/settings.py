"""Settings as nested frozen dataclasses: list their names, check types, build them from JSON."""

import dataclasses
import functools
import typing
from typing import Any, TypeVar

from jaxrec.core.errors import ConfigError
from jaxrec.core.ranges import check_made, check_ranges, check_type, option
from jaxrec.core.suggestions import nearest

T = TypeVar("T")


def flatten(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values of all settings, in the order of their declaration.

    Args:
      config: a dataclass whose fields are settings, or dataclasses of settings.
      prefix: stands before every name.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Train:
      ...     steps: int = 5
      >>> @dataclasses.dataclass(frozen=True)
      ... class Run:
      ...     name: str = "a"
      ...     train: Train = Train()
      >>> flatten(Run())
      [('name', 'a'), ('train.steps', 5)]
    """
    rows: list[tuple[str, Any]] = []
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            rows += flatten(value, name + ".")
        else:
            rows.append((name, value))
    return rows


def from_dict(kind: type[T], values: dict[str, Any], prefix: str) -> T:
    """Build a config dataclass from what `dataclasses.asdict` gave, read back from JSON.

    Args:
      kind: the dataclass.
      values: settings by name; a setting that is left out keeps its default.
      prefix: stands before the names in messages.

    Raises:
      ConfigError: an unknown name, or a value of the wrong type.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Train:
      ...     steps: int = 5
      >>> from_dict(Train, {"steps": 7}, "")
      Train(steps=7)
    """
    if not isinstance(values, dict):
        where = prefix.rstrip(".") or kind.__name__
        raise ConfigError(f"{where} must be settings by name, got {values!r:.60}")
    hints = _hints(typing.cast(Any, kind))
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    arguments = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"unknown setting {prefix + name!r:.60}{nearest(name, known)}")
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(typing.cast(type, hints[name]), value, f"{prefix}{name}.")
        else:
            value = tuple(value) if isinstance(value, list) else value
            # Before the dataclass compares values of the wrong type with numbers.
            check_type(value, hints[name], option(f"--{prefix}{name}"))
        arguments[name] = value
    result = kind(**arguments)
    check_types(result, f"--{prefix}")
    return result


def check_types(config: Any, prefix: str = "--") -> None:
    """Reject settings whose value does not have the declared type, or is out of its range.

    Args:
      config: a dataclass, checked with all dataclasses inside it.
      prefix: stands before the names in messages, which spell them as the command line does if the
        prefix begins with "--".

    Raises:
      ConfigError: the message names the setting, the value, and the type or the range.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Train:
      ...     steps: int = 5
      >>> check_types(Train(steps="many"))
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --steps must be int, got 'many'
    """
    check_made(config, prefix)
    _check_types(config, prefix)
    check_ranges(config, prefix)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _check_types(config: Any, prefix: str) -> None:
    kind: Any = type(config)
    hints = _hints(kind)
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if dataclasses.is_dataclass(value) and isinstance(value, hint):
            _check_types(value, f"{prefix}{field.name}.")
        else:
            check_type(value, hint, option(prefix + field.name))
