"""IDs of different lengths: END codes, prefixes, and codes for rows of tokens.

An ID that ends early is followed by -1 (see `codes.ItemCodes`). `closed` replaces -1 by an END
code, an additional code at each level at which some ID has already ended:

    sizes  4  2  5              4  3    6
    codes  3  1  4      ->      3  1    4
           0 -1 -1              0  END  END        END_1 = 2, END_2 = 5

Then all rows have one length, and vocabulary, trie, loss and beam search treat them like any other
IDs. It also settles the meaning of prefixes. If one ID is a prefix of another ("Alien", "Alien
Resurrection"), END is a choice of the model; otherwise END is the only legal code at its node.

Shapes: `I` items, `L` levels (longest ID), `C` codes per level.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.ids.codes import ItemCodes, sort_order_with_ends
from jaxrec.ids.statistics import code_statistics

_ENDS = "end_codes"


def closed(item_codes: ItemCodes) -> ItemCodes:
    """Return IDs of one length, in which END codes fill the levels after the end of an ID.

    The END code of a level is its old codebook size. If all IDs have one length, they are returned
    unchanged. The metadata list the END codes under "end_codes" (None for a level without one).
    "mean_length" there does not count ENDs; all other statistics treat them as codes.

    Example:
      >>> titles = ItemCodes(codes=np.array([[3, 1], [0, -1]]), sizes=(4, 2), scheme="mine")
      >>> both = closed(titles)
      >>> both.codes.tolist(), both.sizes
      ([[3, 1], [0, 2]], (4, 3))
      >>> opened(both).codes.tolist()
      [[3, 1], [0, -1]]
    """
    shortest, longest = int(item_codes.lengths.min()), item_codes.levels
    if shortest == longest:
        return item_codes
    ends = [size if l >= shortest else None for l, size in enumerate(item_codes.sizes)]
    sizes = tuple(size + (l >= shortest) for l, size in enumerate(item_codes.sizes))
    codes = np.where(item_codes.codes < 0, np.array([item_codes.sizes], np.int32), item_codes.codes)
    metadata = {
        **item_codes.metadata,
        **code_statistics(codes, sizes),
        "mean_length": float(item_codes.lengths.mean()),
        _ENDS: ends,
    }
    return dataclasses.replace(item_codes, codes=codes, sizes=sizes, metadata=metadata)


def opened(item_codes: ItemCodes) -> ItemCodes:
    """Return the IDs as they were before `closed`; IDs without END codes are returned unchanged.

    Example:
      >>> titles = ItemCodes(codes=np.array([[3, 1], [0, -1]]), sizes=(4, 2), scheme="mine")
      >>> opened(closed(titles)).sizes
      (4, 2)
    """
    ends = item_codes.metadata.get(_ENDS)
    if ends is None:
        return item_codes
    end = np.array([-2 if e is None else e for e in ends], np.int32)
    codes = np.where(item_codes.codes == end[None], np.int32(-1), item_codes.codes)
    sizes = tuple(size - (e is not None) for size, e in zip(item_codes.sizes, ends, strict=True))
    kept = {name: value for name, value in item_codes.metadata.items() if name != _ENDS}
    metadata = {**kept, **code_statistics(codes, sizes)}
    return dataclasses.replace(item_codes, codes=codes, sizes=sizes, metadata=metadata)


def is_closed(item_codes: ItemCodes) -> bool:
    """Whether these IDs have END codes from `closed`."""
    return item_codes.metadata.get(_ENDS) is not None


def check_prefix_free(item_codes: ItemCodes) -> None:
    """Check that no ID is a prefix of another, so that IDs can be decoded without END codes.

    Equal IDs are prefixes of each other.

    Raises:
      DataError: one ID is a prefix of another; the message names both items.

    Example:
      >>> check_prefix_free(ItemCodes(codes=np.array([[0, 1], [1, -1]]), sizes=(2, 2), scheme="a"))
    """
    codes = opened(item_codes).codes
    order = sort_order_with_ends(codes, item_codes.sizes)
    ranked = codes[order]
    # Rows are sorted with prefixes first, so a prefix of any row is also a prefix of the next row.
    begins = ((ranked[:-1] == ranked[1:]) | (ranked[:-1] < 0)).all(axis=1)
    if begins.any():
        at = int(begins.argmax())
        short, long = (row[row >= 0].tolist() for row in ranked[at : at + 2])
        raise DataError(
            f"the ID of item {order[at]}, {tuple(short)}, is a prefix of the ID of item "
            f"{order[at + 1]}, {tuple(long)}; add END codes with ids.closed, or make IDs unique "
            "with ids.repair"
        )


def pad_rows(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Stack rows of numbers of different lengths as int64 [I, L], with -1 after each end."""
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.full((len(rows), max(int(lengths.max(initial=0)), 1)), -1, np.int64)
    filled = np.arange(padded.shape[1])[None, :] < lengths[:, None]
    padded[filled] = np.fromiter(itertools.chain.from_iterable(rows), np.int64, lengths.sum())
    return padded


def number_tokens(
    tokens: np.ndarray,
) -> tuple[np.ndarray, tuple[int, ...], list[np.ndarray]]:
    """Number the tokens of each level in ascending order, so that every code is in use.

    Args:
      tokens: whole numbers of at least 0, [I, L], with -1 after each end.

    Returns:
      Codes, int32 [I, L], with -1 where tokens have it; the codebook sizes; and for each level the
      token of each code.
    """
    codes = np.full(tokens.shape, -1, np.int32)
    books = []
    for level, column in enumerate(tokens.T):
        real = column >= 0
        book, numbers = np.unique(column[real], return_inverse=True)
        codes[real, level] = numbers
        books.append(book)
    return codes, tuple(max(len(book), 1) for book in books), books
