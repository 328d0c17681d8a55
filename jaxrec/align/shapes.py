"""Checks of the arrays of one loss, which work while a program is traced."""

from typing import Any

from jaxrec.core import ConfigError, check_mask


def check_same(mask: Any = None, **arrays: Any) -> None:
    """Reject arrays of different shapes or types, and a mask that is not bool of that shape.

    Args:
      mask: bool of the same shape; None for no mask.
      arrays: the arrays by the names that messages call them.

    Raises:
      ConfigError: naming both arrays and what they are.

    Example:
      >>> import jax.numpy as jnp
      >>> check_same(log_p=jnp.zeros((2, 3)), log_old=jnp.zeros((2, 4)))
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: log_old is float32 [2, 4] and log_p is float32 [2, 3]; ...
    """
    first, *others = arrays
    for name in others:
        if _kind(arrays[name]) != _kind(arrays[first]):
            raise ConfigError(
                f"{name} is {_kind(arrays[name])} and {first} is {_kind(arrays[first])}; give "
                "arrays of one shape and type"
            )
    if mask is not None:
        check_mask(mask, arrays[first].shape, "mask")


def _kind(array: Any) -> str:
    return f"{array.dtype} [{', '.join(map(str, array.shape))}]"
