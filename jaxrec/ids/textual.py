"""Textual IDs: the tokens of an item's title are its codes.

IDs differ in length, and one may be a prefix of another ("Alien", "Alien Resurrection"); END codes
tell them apart (see `lengths.closed`). Equal texts give equal IDs, which `ids.repair` with "suffix"
separates. Codes number the tokens in use at each level; `tokens` returns the tokens again.

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

NO_TEXT = -1  # stands for a text without tokens and for suffixes in the result of `tokens`


def fit(
    texts: Sequence[str],
    tokenize: Callable[[str], Sequence[int]],
    *,
    max_tokens: int | None = None,
) -> ItemCodes:
    """Return the tokens of the texts as IDs, which differ in length and may collide.

    Args:
      texts: one text per item, such as its title.
      tokenize: function from a text to token numbers without special tokens. For a tokenizer of
        Hugging Face it is `lambda text: tokenizer.encode(text, add_special_tokens=False)`.
      max_tokens: number of tokens used of each text; None uses all.

    Raises:
      ConfigError: `max_tokens` is below 1.
      DataError: there are no items, or a token is negative.

    Example:
      >>> words = {"alien": 7, "resurrection": 9}
      >>> titles = ["alien", "alien resurrection"]
      >>> codes = fit(titles, lambda title: [words[word] for word in title.split()])
      >>> codes.codes.tolist(), tokens(codes)
      ([[0, -1], [0, 0]], [[7], [7, 9]])
    """
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1 or None, got {max_tokens}")
    if len(texts) == 0:
        raise DataError("there are no items to give IDs to; give one text per item")
    rows = [[int(token) for token in tokenize(text)][:max_tokens] for text in texts]
    for item, row in enumerate(rows):
        if min(row, default=0) < 0:
            raise DataError(f"the tokenizer gives item {item} the negative token {min(row)}")
    # Tokens are raised by one, so that 0 is free for empty texts: an ID must not be empty.
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
    """Return the tokens of each ID, closed or not; `NO_TEXT` for suffixes and for empty texts.

    This inverts `fit`, up to `max_tokens`.
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
