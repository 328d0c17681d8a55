"""Histories as ID tokens, aligned on the right, so that items start at the same columns.

PAD PAD BOS a0 a1 b0 b1      L = 2, items a and b, room for 3 items
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.core import check_numbers, present
from jaxrec.ids.vocabulary import BOS, PAD


def write_histories(
    histories: Sequence[np.ndarray],
    item_tokens: np.ndarray,
    max_items: int,
    starts: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Write the last `max_items` items of each history as tokens, padded on the left.

    Args:
      histories: B arrays of items, oldest first; an array may be empty. -1 is no item.
      item_tokens: `[I, L]` int32, tokens of each item.
      max_items: number of items for which a row has room.
      starts: B tokens that replace BOS, such as tokens of users; None for BOS.

    Returns:
      `[B, 1 + max_items * L]` int32: PAD ..., BOS, then the tokens of the items.

    Raises:
      DataError: an item that has no tokens.

    Example:
      >>> item_tokens = np.array([[2, 4], [3, 5]], np.int32)
      >>> write_histories([np.array([0, 1]), np.array([1])], item_tokens, 2).tolist()
      [[1, 2, 4, 3, 5], [0, 0, 1, 3, 5]]
    """
    check_numbers(histories, len(item_tokens), "items of a history")
    starts = [BOS] * len(histories) if starts is None else starts
    levels = item_tokens.shape[1]
    tokens = np.full((len(histories), 1 + max_items * levels), PAD, np.int32)
    for row, history, first in zip(tokens, histories, starts, strict=True):
        recent = item_tokens[present(history)[-max_items:]].ravel()
        start = len(row) - len(recent)
        row[start:] = recent
        row[start - 1] = first
    return tokens


def pad_items(histories: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Return the newest items of each history, `[B, length]` int32, padded on the left with -1.

    Example:
      >>> pad_items([np.array([5]), np.array([1, 2, 3])], 2).tolist()
      [[-1, 5], [2, 3]]
    """
    padded = np.full((len(histories), length), -1, np.int32)
    for row, history in zip(padded, histories, strict=True):
        recent = history[-length:]
        if len(recent):
            row[-len(recent) :] = recent
    return padded
