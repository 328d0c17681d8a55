"""Settings as nested frozen dataclasses: list their names, check types, build them from JSON."""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from jaxrec.core.errors import ConfigError, nearest

T = TypeVar("T")


def flatten(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return names and values of all settings, nested ones with dots.

    Example:
      >>> from jaxrec.core import MeshConfig
      >>> flatten(MeshConfig(data=2), "mesh.")
      [('mesh.data', 2), ('mesh.model', 1)]
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
    """Build a config dataclass from the result of `dataclasses.asdict`; lists become tuples.

    Args:
      kind: the dataclass.
      values: values by name.
      prefix: path of the dataclass within the settings, such as "train.", for error messages.

    Raises:
      ConfigError: a name is unknown, or a value has the wrong type.

    Example:
      >>> from jaxrec.core import MeshConfig
      >>> from_dict(MeshConfig, {"data": 2}, "mesh.")
      MeshConfig(data=2, model=1)
    """
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, value in values.items():
        if name not in hints:
            raise ConfigError(f"unknown setting {prefix + name!r}{nearest(name, hints)}")
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(typing.cast(type, hints[name]), value, f"{prefix}{name}.")
        elif isinstance(value, list):
            value = tuple(value)
        arguments[name] = value
    result = kind(**arguments)
    check_types(result, prefix)
    return result


def check_types(config: Any, prefix: str = "") -> None:
    """Reject settings whose value does not have the declared type.

    Raises:
      ConfigError: a value has the wrong type; the message names the setting, value and type.

    Example:
      >>> from jaxrec.core import MeshConfig
      >>> check_types(MeshConfig(data=2.5), "mesh.")
      Traceback (most recent call last):
      ...
      jaxrec.core.errors.ConfigError: mesh.data must be int, got 2.5
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if dataclasses.is_dataclass(value) and isinstance(value, hint):
            check_types(value, f"{prefix}{field.name}.")
        elif not _fits(value, hint):
            shown = getattr(hint, "__name__", None) if isinstance(hint, type) else None
            wanted = shown or str(hint).replace("typing.", "")
            raise ConfigError(f"{prefix}{field.name} must be {wanted}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(part, arguments[0]) for part in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
