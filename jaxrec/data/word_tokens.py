"""Words as a tokenizer's tokens, and where the tokens of each word begin.

A tagger scores words, and an encoder reads tokens, of which a word may have several. The state of a
word is that of its first token (Devlin et al. 2019, section 5.3). A text that is longer than a row
is cut between words into several rows, so that every word is in exactly one row.

Shapes: `N` rows, `T` tokens, `W` words of a row.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class WordRows:
    """Rows of tokens, padded on the right.

    Attributes:
      tokens: `[N, T]` int32, with the special tokens at both ends.
      valid: `[N, T]` bool, False for padding.
      first: `[N, W]` int32, place of the first token of each word; 0 for padding.
      present: `[N, W]` bool, whether there is a word.
      text: `[N]` int32, number of the text that a row is a part of.
      offset: `[N]` int32, number of the first word of a row in its text.
      shortened: number of words that lost tokens, because they are longer than a row.
    """

    tokens: np.ndarray
    valid: np.ndarray
    first: np.ndarray
    present: np.ndarray
    text: np.ndarray
    offset: np.ndarray
    shortened: int

    def __len__(self) -> int:
        return len(self.tokens)

    def spread(self, values: Sequence[np.ndarray], fill: Any) -> np.ndarray:
        """Put values of the words of each text into the rows: `[N, W, ...]`.

        Args:
          values: of each text, `[words, ...]`.
          fill: value of padding.
        """
        shape = (*self.present.shape, *np.shape(values[0])[1:])
        rows = np.full(shape, fill, np.asarray(values[0]).dtype)
        for row, (text, start, count) in enumerate(self._places()):
            rows[row, :count] = values[text][start : start + count]
        return rows

    def collect(self, rows: np.ndarray) -> list[np.ndarray]:
        """Put values of rows, `[N, W, ...]`, together by text: the reverse of `spread`."""
        parts: dict[int, list[np.ndarray]] = {}
        for row, (text, _, count) in enumerate(self._places()):
            parts.setdefault(text, []).append(rows[row, :count])
        return [np.concatenate(parts[text]) for text in sorted(parts)]

    def _places(self) -> list[tuple[int, int, int]]:
        """Text, first word and number of words of each row."""
        counts = self.present.sum(axis=1)
        columns = (self.text.tolist(), self.offset.tolist(), counts.tolist())
        return list(zip(*columns, strict=True))


def encode_words(
    tokenizer: Any, texts: Sequence[Sequence[str]], max_length: int, multiple: int = 8
) -> WordRows:
    """Tokenize texts of words.

    A word of which the tokenizer makes nothing, such as a control character, becomes the unknown
    token. A word that does not fit into a row loses its last tokens, and is counted.

    Args:
      tokenizer: of transformers, with a fast backend and the special tokens of an encoder.
      texts: words of each text.
      max_length: most tokens of a row, with the special ones.
      multiple: the length of the rows is rounded up to a multiple of this.

    Raises:
      ConfigError: the tokenizer lacks what is needed, or rows are too short for a token.
      DataError: no texts, or one without words.

    Example:
      >>> from transformers import BertTokenizerFast
      >>> names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "know", "py", "##thon"]
      >>> tokenizer = BertTokenizerFast(vocab={name: n for n, name in enumerate(names)})
      >>> rows = encode_words(tokenizer, [["Python", "know"]], max_length=32)
      >>> rows.tokens.tolist(), rows.first.tolist()
      ([[2, 5, 6, 4, 3, 0, 0, 0]], [[1, 3]])
    """
    _check(tokenizer, texts, max_length)
    room = max_length - 2
    encoded = tokenizer(
        [list(words) for words in texts],
        is_split_into_words=True,
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        truncation=False,
        verbose=False,
    )
    rows: list[tuple[int, int, list[list[int]]]] = []  # text, first word, tokens of its words
    shortened = 0
    for text, words in enumerate(texts):
        pieces: list[list[int]] = [[] for _ in words]
        for token, word in zip(encoded["input_ids"][text], encoded.word_ids(text), strict=True):
            pieces[word].append(token)
        shortened += sum(len(piece) > room for piece in pieces)
        used = room + 1  # the first word begins a row
        for word, piece in enumerate(pieces):
            piece = piece[:room] or [tokenizer.unk_token_id]
            if used + len(piece) > room:
                rows.append((text, word, []))
                used = 0
            rows[-1][2].append(piece)
            used += len(piece)
    return _padded(tokenizer, rows, multiple, shortened)


def _padded(
    tokenizer: Any, rows: list[tuple[int, int, list[list[int]]]], multiple: int, shortened: int
) -> WordRows:
    lengths = [2 + sum(map(len, words)) for *_, words in rows]
    length = -(-max(lengths) // multiple) * multiple
    tokens = np.zeros((len(rows), length), np.int32)
    first = np.zeros((len(rows), max(len(words) for *_, words in rows)), np.int32)
    for row, (*_, words) in enumerate(rows):
        flat = [tokenizer.cls_token_id, *(t for w in words for t in w), tokenizer.sep_token_id]
        tokens[row, : len(flat)] = flat
        starts = 1 + np.cumsum([0, *map(len, words)])[:-1]
        first[row, : len(words)] = starts
    return WordRows(
        tokens=tokens,
        valid=np.arange(length)[None] < np.array(lengths)[:, None],
        first=first,
        present=first > 0,
        text=np.array([text for text, *_ in rows], np.int32),
        offset=np.array([word for _, word, _ in rows], np.int32),
        shortened=shortened,
    )


def _check(tokenizer: Any, texts: Sequence[Sequence[str]], max_length: int) -> None:
    special = ("cls_token_id", "sep_token_id", "unk_token_id")
    missing = [name for name in special if getattr(tokenizer, name, None) is None]
    if missing or not getattr(tokenizer, "is_fast", False):
        what = missing[0].removesuffix("_id") if missing else "fast backend"
        raise ConfigError(
            f"the tokenizer has no {what}; give an encoder such as BERT with its own tokenizer"
        )
    if max_length < 3:
        raise ConfigError(f"max_length {max_length} must be at least 3, for a token of a word")
    if not len(texts):
        raise DataError("there are no texts to tokenize")
    for number, words in enumerate(texts):
        if not len(words):
            raise DataError(f"text {number} has no words; leave it out")
