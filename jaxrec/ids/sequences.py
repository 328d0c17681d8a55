"""Histories written as ID tokens, aligned so that every item starts at the same column.

PAD PAD BOS a0 a1 b0 b1      L = 2, items a and b, room for 3 items
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.ids.vocabulary import BOS, PAD


def write_histories(
    histories: Sequence[np.ndarray],
    item_tokens: np.ndarray,
    max_items: int,
    starts: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Write each history's last `max_items` items as tokens, padded on the left.

    Args:
      histories: B arrays of items, oldest first; may be empty.
      item_tokens: `[I, L]` int32, tokens of each item.
      max_items: items a row has room for.
      starts: B tokens that take BOS's place, such as those of users; None for BOS.

    Returns:
      `[B, 1 + max_items * L]` int32: PAD ..., BOS, then the items' tokens.
    """
    starts = [BOS] * len(histories) if starts is None else starts
    levels = item_tokens.shape[1]
    tokens = np.full((len(histories), 1 + max_items * levels), PAD, np.int32)
    for row, history, first in zip(tokens, histories, starts, strict=True):
        recent = item_tokens[np.asarray(history[-max_items:], np.int64)].ravel()
        start = len(row) - len(recent)
        row[start:] = recent
        row[start - 1] = first
    return tokens


def pad_items(histories: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Items of each history in `[B, length]` int32, padded on the left with -1, newest last.

    Histories longer than `length` keep their newest items.
    """
    padded = np.full((len(histories), length), -1, np.int32)
    for row, history in zip(padded, histories, strict=True):
        recent = history[-length:]
        if len(recent):
            row[-len(recent) :] = recent
    return padded
