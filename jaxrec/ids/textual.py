"""Titles as IDs: the tokens of an item's text are its codes.

IDs are of different lengths, and one may begin another ("Alien", "Alien Resurrection"): END codes
(`lengths.closed`) tell them apart. Equal texts give equal IDs, which `collisions.repair` with
"suffix" parts. Codes number the tokens in use at each level; `tokens` gives the tokens back.

Source: title indexing (TID) of Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation
Foundation Models", 2023.

Shapes: `I` items, `L` levels (tokens of the longest text).
"""

from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.ids.codes import ItemCodes
from jaxrec.ids.lengths import number_tokens, opened, pad_rows
from jaxrec.ids.statistics import code_statistics

NO_TEXT = -1  # where `tokens` has no token: a text without any, or a suffix


def fit(
    texts: Sequence[str],
    tokenize: Callable[[str], Sequence[int]],
    *,
    max_tokens: int | None = None,
) -> ItemCodes:
    """Return the tokens of the texts as IDs; of different lengths, and they may collide.

    Args:
      texts: one text an item, such as its title.
      tokenize: from a text to token numbers, without special tokens; for a tokenizer of Hugging
        Face, `lambda text: tokenizer.encode(text, add_special_tokens=False)`.
      max_tokens: tokens of a text that count; None: all.

    Raises:
      ConfigError: max_tokens below 1.
      DataError: no items, or a negative token.
    """
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1 or None, got {max_tokens}")
    if len(texts) == 0:
        raise DataError("no items to give IDs to: no texts")
    rows = [[int(token) for token in tokenize(text)][:max_tokens] for text in texts]
    for item, row in enumerate(rows):
        if min(row, default=0) < 0:
            raise DataError(f"the tokenizer gives item {item} the negative token {min(row)}")
    # One up, so that 0 is free for texts without tokens: an ID must not be empty.
    codes, sizes, books = number_tokens(pad_rows([[t + 1 for t in row] or [0] for row in rows]))
    statistics = code_statistics(codes, sizes)
    metadata = {"max_tokens": max_tokens, "no_text": sum(not row for row in rows)}
    codebooks = {f"tokens_{level}": book - 1 for level, book in enumerate(books)}
    return ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="textual",
        metadata={**metadata, **statistics},
        codebooks=codebooks,
    )


def tokens(item_codes: ItemCodes) -> list[list[int]]:
    """Return the tokens of each ID, closed or not; `NO_TEXT` for suffixes and where there are none.

    The inverse of `fit`, up to max_tokens.
    """
    codes = opened(item_codes).codes
    books = item_codes.codebooks
    out = np.full(codes.shape, NO_TEXT, np.int64)
    for level in range(codes.shape[1]):
        book = books.get(f"tokens_{level}", np.zeros(0, np.int64))
        known = (codes[:, level] >= 0) & (codes[:, level] < len(book))
        out[known, level] = book[codes[known, level]]
    lengths = (codes >= 0).sum(axis=1).tolist()
    return [row[:length].tolist() for row, length in zip(out, lengths, strict=True)]
