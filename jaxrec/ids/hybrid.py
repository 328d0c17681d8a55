"""Hybrid IDs: two schemes in one ID.

- `append_item`: an ID, then a token that only this item has: sequential + independent.
- `replace_last`: the last code of an ID gives way to such a token: collaborative or semantic +
  independent. The last code is a mere place within a cluster or category, so nothing is lost.
- `join`: the path of one ID without its last code, then another ID: semantic + collaborative.

IDs of different lengths stay so (`lengths.closed`); closed ones are opened first.

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
    """Return each ID followed by a token of the item's own; the IDs may have collided before."""
    codes = opened(item_codes).codes
    own = np.arange(len(codes))[:, None]
    return _hybrid("append_item", (item_codes,), _one_after_another(codes, own, len(codes)))


def replace_last(item_codes: ItemCodes) -> ItemCodes:
    """Return each ID with its last code replaced by a token of the item's own."""
    codes = _without_last(opened(item_codes))
    own = np.arange(len(codes))[:, None]
    return _hybrid("replace_last", (item_codes,), _one_after_another(codes, own, len(codes)))


def join(first: ItemCodes, second: ItemCodes, *, keep_last: bool = False) -> ItemCodes:
    """Return the path of the first ID followed by the second ID; unique if the second is.

    Args:
      first: IDs that end in a place within a cluster or category.
      second: IDs of the same items.
      keep_last: keep that place; unique first IDs then leave the second nothing to tell apart.

    Raises:
      DataError: IDs of different numbers of items.
    """
    if first.num_items != second.num_items:
        raise DataError(f"{first.num_items} items in one scheme, {second.num_items} in the other")
    path = opened(first).codes if keep_last else _without_last(opened(first))
    other = opened(second)
    # Codes of different levels of the second ID may come to stand at one level: each level gets
    # numbers of its own.
    start = np.cumsum([0, *other.sizes[:-1]])
    shifted = np.where(other.codes < 0, -1, other.codes + start[None])
    rows = _one_after_another(path, shifted, sum(other.sizes))
    return _hybrid("join", (first, second), rows)


def _without_last(item_codes: ItemCodes) -> np.ndarray:
    """Codes [I, L] with -1 in place of each ID's last."""
    codes = item_codes.codes.copy()
    codes[np.arange(len(codes)), item_codes.lengths - 1] = -1
    return codes


def _one_after_another(path: np.ndarray, tail: np.ndarray, count: int) -> np.ndarray:
    """Rows of tokens: each path [I, L] and right after its end each tail [I, L'] below `count`.

    Tails are numbered below paths, so that no token of one is one of the other.
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
