"""Errors, pytree helpers and sharding: nothing here knows about recommendation."""

from jaxrec.core.errors import ConfigError, DataError, JaxrecError, ResourceError, nearest

__all__ = ["ConfigError", "DataError", "JaxrecError", "ResourceError", "nearest"]
