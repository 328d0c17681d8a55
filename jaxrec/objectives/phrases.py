"""Phrases that are masked as one (ERNIE: Sun et al. 2019, arXiv:1904.09223, section 3.2).

If single words of a phrase are masked, the rest of the phrase gives them away. A model that must
predict the whole phrase learns from the text around it, such as which skills belong together.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.data.corpora import encode_documents


@dataclasses.dataclass(frozen=True, eq=False)
class Phrases:
    """Known phrases as sequences of tokens.

    Attributes:
      known: tokens of each phrase, by its first token, the longest first.

    Example:
      >>> phrases = Phrases.of([(7, 8), (7, 8, 9)])
      >>> phrases.join(np.array([5, 7, 8, 9, 7, 8]), np.ones(6, bool)).tolist()
      [True, True, False, False, True, False]
    """

    known: dict[int, tuple[tuple[int, ...], ...]]

    @classmethod
    def of(cls, phrases: Sequence[Sequence[int]]) -> "Phrases":
        """Phrases by their tokens.

        Args:
          phrases: tokens of each phrase.
        """
        found: dict[int, set[tuple[int, ...]]] = {}
        for tokens in phrases:
            if len(tokens):
                found.setdefault(int(tokens[0]), set()).add(tuple(map(int, tokens)))
        return cls({first: tuple(sorted(own, key=len)[::-1]) for first, own in found.items()})

    @classmethod
    def encode(cls, tokenizer: Any, phrases: Sequence[str]) -> "Phrases":
        """Phrases by their text, as they are inside a sentence and at its beginning.

        Args:
          tokenizer: of transformers.
          phrases: texts; a phrase is found as it is written and with a large first letter.
        """
        written = {form for text in phrases if text for form in (text, text[0].upper() + text[1:])}
        places = [f"{space}{form}" for form in sorted(written) for space in ("", " ")]
        return cls.of(encode_documents(tokenizer, places))

    def join(self, tokens: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Mark the tokens of a phrase, except the first one, as continuing a word.

        Args:
          tokens: `[n]` int32.
          starts: `[n]` bool, whether a token begins a word.

        Returns:
          `[n]` bool, whether a token begins a word or a phrase.
        """
        joined = np.array(starts, bool)
        for begin, end in self.spans(tokens, starts):
            joined[begin] = True
            joined[begin + 1 : end] = False
        return joined

    def cover(self, tokens: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Mark the tokens that belong to a phrase.

        Args:
          tokens: `[n]` int32.
          starts: `[n]` bool, whether a token begins a word.

        Returns:
          `[n]` bool.

        Example:
          >>> phrases = Phrases.of([(7, 8)])
          >>> phrases.cover(np.array([5, 7, 8, 9]), np.ones(4, bool)).tolist()
          [False, True, True, False]
        """
        covered = np.zeros(len(tokens), bool)
        for begin, end in self.spans(tokens, starts):
            covered[begin:end] = True
        return covered

    def spans(self, tokens: np.ndarray, starts: np.ndarray) -> list[tuple[int, int]]:
        """Find phrases: the longest wins, from left to right, and none is found inside of a word.

        Args:
          tokens: `[n]` int32.
          starts: `[n]` bool, whether a token begins a word.

        Returns:
          First place of each phrase, and the place after its last token.
        """
        text, found, place = tokens.tolist(), [], 0
        while place < len(text):
            end = place + 1
            for phrase in self.known.get(text[place], ()):
                stop = place + len(phrase)
                whole = stop >= len(text) or bool(starts[stop])
                # A single token may also be a part of a longer word.
                whole &= len(phrase) > 1 or bool(starts[place])
                if whole and tuple(text[place:stop]) == phrase:
                    found.append((place, stop))
                    end = stop
                    break
            place = end
        return found
