"""Texts with marked answers as tokens: what a model learns to write, and what it only reads.

    Below is an instruction ... ### Response:Paris</s>
    . . . . . . . . . . . . . . . . . . . . . 1 1 1       learned

A text is tokenized as a whole, and a token is learned if it holds a character of an answer.
Tokenizing prompt and answer separately would move the boundary between them.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data.corpora import encode_documents

_CHUNK = 4096  # texts that are tokenized at once


@dataclasses.dataclass(frozen=True)
class MarkedText:
    """A text, and the parts of it that a model learns to write.

    Attributes:
      text: the whole text.
      spans: begin and end of each answer in characters, ascending.
      complete: the text has all of its special tokens, as a chat template writes them, so the
        tokenizer adds none and no end-of-text token follows.

    Raises:
      DataError: no answer, or spans that are not inside the text in ascending order.

    Example:
      >>> from jaxrec.data import MarkedText
      >>> MarkedText("2 + 2 = 4", ((8, 9),)).answers
      ['4']
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    complete: bool = False

    def __post_init__(self) -> None:
        flat = [place for span in self.spans for place in span]
        if not flat or flat != sorted(flat) or flat[0] < 0 or flat[-1] > len(self.text):
            raise DataError(
                f"the answers of the text {self.text[:40]!r} are at {self.spans}; give at least "
                f"one, ascending and inside its {len(self.text)} characters"
            )

    @property
    def answers(self) -> list[str]:
        """The parts that a model learns to write."""
        return [self.text[begin:end] for begin, end in self.spans]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TokenTexts:
    """Texts of different lengths as tokens, one after the other.

    Attributes:
      tokens: `[M]` int32, the tokens of all texts.
      learned: `[M]` bool, tokens that a model learns to write.
      starts: `[N + 1]` int64, where each text begins; the last is M.
      source: `[N]` int64, number of each text among those that were given.
      cut: number of texts that were longer than allowed and were shortened.
      rejected: number of texts that were left out because no answer fits.
      places: `[M, 2]` int32, begin and end of each token in the characters of its text; -1 for an
        added end-of-text token, and for all tokens of a text that was cut. None if they were not
        asked for.
    """

    tokens: np.ndarray
    learned: np.ndarray
    starts: np.ndarray
    source: np.ndarray
    cut: int = 0
    rejected: int = 0
    places: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """`[N]` int64, number of tokens of each text."""
        return np.diff(self.starts)

    def text(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of one text, and which of them are learned."""
        place = slice(*self.starts[number : number + 2])
        return self.tokens[place], self.learned[place]


def encode_marked(
    tokenizer: Any, texts: Sequence[MarkedText], max_length: int, *, with_places: bool = False
) -> TokenTexts:
    """Tokenize texts and find the tokens of their answers.

    A text that is too long is shortened so that no answer is cut. A text with one answer at its end
    loses tokens at its front, after the token that the tokenizer begins every text with. A text
    that is `complete` ends after the last answer that fits. If no whole answer is left, or no token
    before it, the text is rejected and counted.

    Args:
      tokenizer: of transformers, with a fast backend and an end-of-text token.
      texts: N texts.
      max_length: most tokens of a text.
      with_places: also return where each token stands in its text.

    Raises:
      ConfigError: the tokenizer is slow or has no end-of-text token.
      DataError: no texts.

    Example:
      >>> from jaxrec.data import MarkedText, encode_marked, train_bpe
      >>> tokenizer = train_bpe(["2 + 2 = 4"], 270)
      >>> encoded = encode_marked(tokenizer, [MarkedText("2 + 2 = 4", ((8, 9),))], 16)
      >>> tokenizer.decode(encoded.tokens[encoded.learned])
      '4</s>'
    """
    if not texts:
        raise DataError("no instructions to encode")
    end = tokenizer.eos_token_id
    if end is None or not tokenizer.is_fast:
        raise ConfigError(
            "instructions need a fast tokenizer with an end-of-text token, and this one is "
            f"{'fast' if tokenizer.is_fast else 'slow'} with the token {tokenizer.eos_token!r}"
        )
    rows: list[np.ndarray] = []
    marks: list[np.ndarray] = []
    places: list[np.ndarray] = []
    source, cut = [], 0
    for first in range(0, len(texts), _CHUNK):
        chunk = texts[first : first + _CHUNK]
        for place, (tokens, offsets) in enumerate(_tokenize(tokenizer, chunk)):
            learned = _learned(chunk[place], offsets)
            if not chunk[place].complete:
                if not len(tokens) or tokens[-1] != end:
                    tokens, learned = np.append(tokens, end), np.append(learned, False)
                learned[-1] |= chunk[place].spans[-1][1] == len(chunk[place].text)
            shorter = _shorten(tokens, learned, max_length, tokenizer, chunk[place].complete)
            if shorter is None:
                continue
            cut += len(shorter[0]) < len(tokens)
            if with_places:
                places.append(_places(offsets, len(tokens), len(shorter[0])))
            rows.append(shorter[0])
            marks.append(shorter[1])
            source.append(first + place)
    lengths = np.array([0, *map(len, rows)], np.int64)
    return TokenTexts(
        tokens=np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32),
        learned=np.concatenate([np.zeros(0, bool), *marks]),
        starts=np.cumsum(lengths),
        source=np.array(source, np.int64),
        cut=cut,
        rejected=len(texts) - len(rows),
        places=np.concatenate([np.zeros((0, 2), np.int32), *places]) if with_places else None,
    )


def encode_joined(tokenizer: Any, texts: Sequence[str], length: int) -> TokenTexts:
    """Join texts by the end-of-text token and cut them into equal rows, all of which is learned.

    Args:
      tokenizer: of transformers, with an end-of-text token.
      texts: N texts, in the order in which they are joined.
      length: tokens of a row; the last row may be shorter, and has at least 2.

    Raises:
      ConfigError: the tokenizer has no end-of-text token, or a row has less than 2 tokens.
      DataError: no texts.

    Example:
      >>> from jaxrec.data import encode_joined, train_bpe
      >>> tokenizer = train_bpe(["abc"], 260)
      >>> encode_joined(tokenizer, ["abc", "ab"], 4).lengths.tolist()
      [4, 3]
    """
    stop = tokenizer.eos_token_id
    if stop is None:
        raise ConfigError("plain texts need a tokenizer with an end-of-text token")
    if not texts:
        raise DataError("no texts to encode")
    if length < 2:
        raise ConfigError(f"rows of {length} tokens have no target; give at least 2")
    rows: list[int] = []
    for first in range(0, len(texts), _CHUNK):
        for tokens in encode_documents(tokenizer, texts[first : first + _CHUNK]):
            rows += [*tokens, stop]
    # A row of one token has no target.
    end = len(rows) - (len(rows) % length == 1)
    starts = np.append(np.arange(0, end, length), end)
    whole = np.array(rows[:end], np.int32)
    return TokenTexts(
        tokens=whole,
        learned=np.ones(len(whole), bool),
        starts=starts.astype(np.int64),
        source=np.arange(len(starts) - 1),
    )


def _tokenize(tokenizer: Any, texts: Sequence[MarkedText]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return tokens `[T]` and their character offsets `[T, 2]` of each text."""
    found: list[Any] = [None] * len(texts)
    for complete in (False, True):
        chosen = [n for n, text in enumerate(texts) if text.complete == complete]
        if not chosen:
            continue
        encoded = tokenizer(
            [texts[n].text for n in chosen],
            return_offsets_mapping=True,
            add_special_tokens=not complete,
        )
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for n, (tokens, offsets) in zip(chosen, pairs, strict=True):
            found[n] = np.array(tokens, np.int32), np.array(offsets, np.int64).reshape(-1, 2)
    return found


def _learned(text: MarkedText, offsets: np.ndarray) -> np.ndarray:
    """Which tokens hold a character of an answer: `[T]` bool."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    learned = np.zeros(len(offsets), bool)
    for begin, end in text.spans:
        # A token that crosses the boundary holds part of the answer.
        after = np.flatnonzero(ends > begin)
        first = after[0] if len(after) else len(offsets)
        if end == len(text.text):
            learned[first:] = True
        else:
            learned[first:] |= starts[first:] < end
    return learned


def _places(offsets: np.ndarray, whole: int, kept: int) -> np.ndarray:
    """Where the tokens of a text stand; -1 for an added end, and for all of a shortened text."""
    places = np.full((kept, 2), -1, np.int32)
    if kept == whole:
        places[: len(offsets)] = offsets
    return places


def _shorten(
    tokens: np.ndarray, learned: np.ndarray, most: int, tokenizer: Any, complete: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Fit a text into `most` tokens without cutting an answer; None where that is impossible."""
    surplus = max(len(tokens) - most, 0)
    answer = int(learned.argmax())
    if complete:
        # The end of the last answer that fits whole: the next token is not learned.
        ends = np.flatnonzero(learned & ~np.append(learned[1:], False)) + 1
        ends = ends[ends <= most]
        if not len(ends):
            return None
        kept = int(ends[-1]) if surplus else len(tokens)
        return (tokens[:kept], learned[:kept]) if answer else None
    # Models are trained with this token in front, and many give worse answers without it.
    first = int(tokenizer.bos_token_id is not None and tokens[0] == tokenizer.bos_token_id)
    if surplus >= answer - (first if surplus else 0):
        return None
    rest = slice(first + surplus, None)
    return (
        np.concatenate([tokens[:first], tokens[rest]]),
        np.concatenate([learned[:first], learned[rest]]),
    )
