"""Errors, pytree helpers and sharding: nothing here knows about recommendation."""

from jaxrec.core.errors import (
    ConfigError,
    DataError,
    DivergedError,
    Interrupted,
    JaxrecError,
    ResourceError,
    nearest,
)

__all__ = [
    "ConfigError",
    "DataError",
    "DivergedError",
    "Interrupted",
    "JaxrecError",
    "ResourceError",
    "nearest",
]
