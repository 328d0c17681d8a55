"""Checks of arguments that are numbers of things, such as items, or masks over all of them.

Numbers count from 0, and -1 stands for "none" wherever a number may be missing, as in padding.
NumPy and JAX would read -1 as the last thing, and JAX would read a number beyond the end as the
last one too, so whatever takes numbers from outside checks them here first.

Values of a JAX array are not checked, because that would wait for the device, and is impossible
while a program is traced. There, a number outside the range counts as "none".
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxrec.core.errors import ConfigError, DataError


def check_numbers(rows: Any, count: int, what: str, *, missing: bool = True) -> None:
    """Reject numbers outside 0..count-1, and arrays that hold no whole numbers.

    Args:
      rows: an integer array of any shape, or a sequence of arrays of different lengths. Of a JAX
        array only the type is checked.
      count: how many things there are.
      what: what messages call the numbers, such as "history".
      missing: whether -1 may stand for "none".

    Raises:
      DataError: naming the first such number and its row.

    Example:
      >>> check_numbers([[0, 2], [-1, 1]], 3, "history")
      >>> check_numbers([[0, 2], [-1, 3]], 3, "history")
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: history: row 1 holds 3, which is not in 0..2; leave it out
    """
    ragged = isinstance(rows, Sequence) and any(np.ndim(row) for row in rows)
    if isinstance(rows, jax.Array):
        if not np.issubdtype(rows.dtype, np.integer):
            raise DataError(_not_whole(what, rows.dtype))
        return
    lists = [np.asarray(row).ravel() for row in rows] if ragged else []
    filled = [row for row in lists if row.size]
    values = np.concatenate(filled) if filled else np.zeros(0, int) if ragged else np.asarray(rows)
    if not values.size:
        return
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(_not_whole(what, values.dtype))
    wrong = (values < (-1 if missing else 0)) | (values >= count)
    if wrong.any():
        place = np.argwhere(wrong)[0]
        row = int(place[0]) if place.size else 0
        if ragged:
            row = int(np.searchsorted(np.cumsum([len(items) for items in lists]), row, "right"))
        raise DataError(
            f"{what}: row {row} holds {values[tuple(place)]}, which is not in 0..{count - 1}; "
            "leave it out"
        )


def present(row: Any) -> np.ndarray:
    """Return the numbers of one row without those that stand for "none": int64 `[n]`.

    Example:
      >>> present([4, -1, 2]).tolist()
      [4, 2]
    """
    values = np.asarray(row, np.int64)
    return values[values >= 0]


def check_mask(mask: Any, shape: Sequence[int | None], what: str) -> None:
    """Reject a mask of another type or shape; a program that is traced can check both.

    Args:
      mask: bool array.
      shape: expected size of each axis; None for any size.
      what: what messages call the mask.

    Raises:
      ConfigError: naming both shapes.

    Example:
      >>> check_mask(np.ones((2, 3), bool), (None, 4), "allowed items")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: allowed items: expected bool [any, 4], got bool [2, 3]
    """
    fits = len(mask.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, mask.shape, strict=True)
    )
    if not fits or mask.dtype != np.bool_:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ConfigError(
            f"{what}: expected bool [{wanted}], got {mask.dtype} "
            f"[{', '.join(map(str, mask.shape))}]"
        )


def _not_whole(what: str, dtype: Any) -> str:
    return f"{what}: expected whole numbers, got {dtype}; give the numbers themselves, not a mask"
