"""IDs of different lengths: END codes, prefixes, and rows of tokens made into codes.

Where an ID ends, -1 follows (see `codes.ItemCodes`). `closed` writes the end as a code of its own,
one more at each level at which some ID has already ended:

    sizes  4  2  5              4  3    6
    codes  3  1  4      ->      3  1    4
           0 -1 -1              0  END  END        END_1 = 2, END_2 = 5

After that all rows are of one length, and vocabulary, trie, loss and beam search take them as they
take any others. It also settles what a prefix means: where one ID is the beginning of another
("Alien", "Alien Resurrection"), END is a choice that the model makes; where none is, each END is
the only legal code at its node.

Shapes: `I` items, `L` levels (longest ID), `C` codes a level.
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
    """Return IDs of one length: an END code (the level's old size) stands where an ID has ended.

    Unchanged where all IDs are of one length. Metadata name the codes under "end_codes" (None at
    levels without) and keep "mean_length", that without ENDs; all else there counts ENDs as codes.
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
    """Return the IDs that `closed` was given; unchanged where it changed nothing."""
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
    """Whether `closed` gave these IDs END codes."""
    return item_codes.metadata.get(_ENDS) is not None


def check_prefix_free(item_codes: ItemCodes) -> None:
    """Check that an ID can be recognised without looking for its end.

    Only who decodes IDs without END codes needs that. Equal IDs are prefixes of one another.

    Raises:
      DataError: the ID of one item begins that of another; names both.
    """
    codes = opened(item_codes).codes
    order = sort_order_with_ends(codes, item_codes.sizes)
    ranked = codes[order]
    # What begins any row begins the next one too: rows are sorted, prefixes first.
    begins = ((ranked[:-1] == ranked[1:]) | (ranked[:-1] < 0)).all(axis=1)
    if begins.any():
        at = int(begins.argmax())
        short, long = (row[row >= 0].tolist() for row in ranked[at : at + 2])
        raise DataError(
            f"the ID of item {order[at]}, {tuple(short)}, begins that of item {order[at + 1]}, "
            f"{tuple(long)}; give IDs END codes with ids.closed, or make them unique with "
            "collisions.repair"
        )


def pad_rows(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Write rows of numbers below one another, int64 [I, L], with -1 after each end."""
    lengths = np.array([len(row) for row in rows], np.int64)
    padded = np.full((len(rows), max(int(lengths.max(initial=0)), 1)), -1, np.int64)
    filled = np.arange(padded.shape[1])[None, :] < lengths[:, None]
    padded[filled] = np.fromiter(itertools.chain.from_iterable(rows), np.int64, lengths.sum())
    return padded


def number_tokens(
    tokens: np.ndarray,
) -> tuple[np.ndarray, tuple[int, ...], list[np.ndarray]]:
    """Number the tokens of each level in ascending order, so that no code lies idle.

    Args:
      tokens: whole numbers from 0 on, [I, L], with -1 after each end.

    Returns:
      codes, int32 [I, L], -1 where tokens are; sizes; and for each level the token of each code.
    """
    codes = np.full(tokens.shape, -1, np.int32)
    books = []
    for level, column in enumerate(tokens.T):
        real = column >= 0
        book, numbers = np.unique(column[real], return_inverse=True)
        codes[real, level] = numbers
        books.append(book)
    return codes, tuple(max(len(book), 1) for book in books), books
