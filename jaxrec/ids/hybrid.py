"""Hybrid IDs, which combine two schemes in one ID.

- `append_item`: an ID, followed by a token of the item's own (sequential + independent).
- `replace_last`: an ID whose last code is replaced by such a token (collaborative or semantic +
  independent). That code is only a position within a cluster or category, so nothing is lost.
- `join`: the path of one ID without its last code, then another ID (semantic + collaborative).

Closed IDs are opened first, so the result may have different lengths (see `lengths.closed`).

Source: hybrid indexing (HID) of Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation
Foundation Models", 2023.

Shapes: `I` items, `L` levels.
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.ids.codes import ItemCodes
from jaxrec.ids.lengths import number_tokens, opened
from jaxrec.ids.statistics import code_statistics


def append_item(item_codes: ItemCodes) -> ItemCodes:
    """Return each ID followed by a token of the item's own; the given IDs may collide.

    Example:
      >>> shared = ItemCodes(codes=np.array([[0], [0]]), sizes=(1,), scheme="mine")
      >>> append_item(shared).codes.tolist()
      [[0, 0], [0, 1]]
    """
    codes = opened(item_codes).codes
    own = np.arange(len(codes))[:, None]
    return _hybrid("append_item", (item_codes,), _one_after_another(codes, own, len(codes)))


def replace_last(item_codes: ItemCodes) -> ItemCodes:
    """Return each ID with its last code replaced by a token of the item's own.

    Example:
      >>> paths = ItemCodes(codes=np.array([[1, 0], [0, 0], [1, 1]]), sizes=(2, 2), scheme="mine")
      >>> replace_last(paths).codes.tolist()
      [[1, 0], [0, 1], [1, 2]]
    """
    codes = _without_last(opened(item_codes))
    own = np.arange(len(codes))[:, None]
    return _hybrid("replace_last", (item_codes,), _one_after_another(codes, own, len(codes)))


def join(first: ItemCodes, second: ItemCodes, *, keep_last: bool = False) -> ItemCodes:
    """Return the path of the first ID followed by the second ID; unique if the second is unique.

    Args:
      first: IDs that end in a position within a cluster or category.
      second: IDs of the same items.
      keep_last: keep that position. If the first IDs are unique, the second then adds no
        distinction.

    Raises:
      DataError: the two schemes have different numbers of items.
    """
    if first.num_items != second.num_items:
        raise DataError(
            f"one scheme has {first.num_items} items and the other {second.num_items}; "
            "give IDs of the same items"
        )
    path = opened(first).codes if keep_last else _without_last(opened(first))
    other = opened(second)
    # Codes of different levels of the second ID may land on the same level, so each of its levels
    # gets numbers of its own.
    start = np.cumsum([0, *other.sizes[:-1]])
    shifted = np.where(other.codes < 0, -1, other.codes + start[None])
    rows = _one_after_another(path, shifted, sum(other.sizes))
    return _hybrid("join", (first, second), rows)


def _without_last(item_codes: ItemCodes) -> np.ndarray:
    """Return codes [I, L] with -1 in place of each ID's last code."""
    codes = item_codes.codes.copy()
    codes[np.arange(len(codes)), item_codes.lengths - 1] = -1
    return codes


def _one_after_another(path: np.ndarray, tail: np.ndarray, count: int) -> np.ndarray:
    """Return rows of tokens: each path [I, L], and directly after its end each tail [I, L'].

    Tokens of tails are below `count` and tokens of paths at or above it, so they never coincide.
    """
    items, lengths = len(path), (path >= 0).sum(axis=1)
    rows = np.full((items, path.shape[1] + tail.shape[1]), -1, np.int64)
    rows[:, : path.shape[1]] = np.where(path < 0, -1, path.astype(np.int64) + count)
    for level in range(tail.shape[1]):
        real = np.flatnonzero(tail[:, level] >= 0)
        rows[real, lengths[real] + level] = tail[real, level]
    return rows[:, (rows >= 0).any(axis=0)]


def _hybrid(how: str, parts: Sequence[ItemCodes], tokens: np.ndarray) -> ItemCodes:
    codes, sizes, _ = number_tokens(tokens)
    metadata = {"how": how, "parts": [part.scheme for part in parts]}
    return ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="hybrid",
        metadata={**metadata, **code_statistics(codes, sizes)},
    )
