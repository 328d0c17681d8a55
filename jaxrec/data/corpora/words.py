"""Splits of a document that several rules share, each made once: words, lines and sentences.

How words are split is a parameter, because it decides what the rules count. "plain" needs no
package: a word is a run of letters and digits, with inner apostrophes, full stops and hyphens, or
one other mark. "spacy" is the tokenizer of spaCy's blank English model, which DataTrove uses.
"""

import dataclasses
import functools
import importlib.util
import itertools
import re
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, nearest
from jaxrec.data.corpora.hashing import word_hashes

Splitter = Callable[[str], list[str]]
SplitterName = Literal["plain", "spacy"]

_WORD = re.compile(r"\w+(?:['’.\-]\w+)*|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…][\"'’”)\]]*(?=\s|$)")

# Characters that end a sentence in any script: Unicode's property Sentence_Terminal.
TERMINAL = frozenset(
    "!.?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964"
    "\u0965\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u17d6\u17d9\u17da\u1803"
    "\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c"
    "\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f"
    "\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb"
    "\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61\U00010a56\U00010a57\U00010f55\U00010f56"
    "\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87\U00010f88\U00010f89\U00011047\U00011048"
    "\U000110be\U000110bf\U000110c0\U000110c1\U00011141\U00011142\U00011143\U000111c5\U000111c6"
    "\U000111cd\U000111de\U000111df\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U0001144b"
    "\U0001144c\U000115c2\U000115c3\U000115c9\U000115ca\U000115cb\U000115cc\U000115cd\U000115ce"
    "\U000115cf\U000115d0\U000115d1\U000115d2\U000115d3\U000115d4\U000115d5\U000115d6\U000115d7"
    "\U00011641\U00011642\U0001173c\U0001173d\U0001173e\U00011944\U00011946\U00011a42\U00011a43"
    "\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8\U00011f43\U00011f44\U00016a6e"
    "\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44\U00016e98\U0001bc9f\U0001da88"
)
# Other punctuation and symbols, as far as words are concerned; control characters are among them.
_MARKS = (
    "\"#$%&'()*+,-/:;<=>@[\\]^_`{|}~\xab\xb4\xbb\u2013\u2014\u2019\u201c\u201d\u201e\u2026"
    "\u2236\u2501\u25ba\u3001\u3008\u3009\u300a\u300b\u300c\u300d\u3010\u3011\uff05\uff08\uff09"
    "\uff0c\uff11\uff1a\uff1b\uff5e"
)
_CONTROLS = "".join(map(chr, (*range(9), *range(11, 32), *range(127, 160))))
SYMBOLS = TERMINAL.union(_MARKS, _CONTROLS)


@dataclasses.dataclass(frozen=True)
class Splitters:
    """How a text is split into words and into sentences.

    Attributes:
      words: from a text to its words, none of them empty or blank.
      sentences: from a text to its sentences.
    """

    words: Splitter
    sentences: Splitter


class Parts:
    r"""A text and its splits, each made when a rule first asks for it.

    Example:
      >>> parts = Parts("A film.\nIt's good.", splitters("plain"))
      >>> parts.words
      ['A', 'film', '.', "It's", 'good', '.']
      >>> parts.lines
      ['A film.', "It's good."]
    """

    def __init__(self, text: str, split: Splitters) -> None:
        self.text, self.split = text, split

    @functools.cached_property
    def words(self) -> list[str]:
        """The words."""
        return self.split.words(self.text)

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines by every kind of line end."""
        return self.text.splitlines()

    @functools.cached_property
    def hashed(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of the words and powers of their lengths; see `word_hashes`."""
        return word_hashes(self.words)


def plain_words(text: str) -> list[str]:
    """Split a text into words and marks without any package.

    Example:
      >>> plain_words("The U.S. isn't well-known, is it?")
      ['The', 'U.S', '.', "isn't", 'well-known', ',', 'is', 'it', '?']
    """
    found: list[str] = []
    for chunk in text.split():
        if chunk.isalnum():
            found.append(chunk)
        else:
            found += _WORD.findall(chunk)
    return found


def plain_sentences(text: str) -> list[str]:
    """Split a text after the marks that end a sentence, where a space or the end follows.

    Example:
      >>> plain_sentences("It is 1.5 m. Is it? Yes")
      ['It is 1.5 m.', 'Is it?', 'Yes']
    """
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    parts = (text[a:b].strip() for a, b in itertools.pairwise(cuts))
    return [part for part in parts if part]


@functools.cache
def splitters(name: str) -> Splitters:
    """Return the splitters of a name.

    Raises:
      ConfigError: the name is unknown, or spaCy is not installed.

    Example:
      >>> splitters("plain").words("two words")
      ['two', 'words']
    """
    if name == "plain":
        return Splitters(plain_words, plain_sentences)
    if name == "spacy":
        return _spacy()
    names = get_args(SplitterName)
    raise ConfigError(
        f"--quality.words {name!r} is unknown{nearest(name, names)}; splitters: {', '.join(names)}"
    )


def _spacy() -> Splitters:
    if importlib.util.find_spec("spacy") is None:
        raise ConfigError(
            "--quality.words spacy needs the package spacy; pip install spacy, or choose plain"
        )
    import spacy

    model = spacy.blank("en")
    model.add_pipe("sentencizer")

    def split(text: str, take: Callable[[Any], list[str]]) -> list[str]:
        model.max_length = len(text) + 10
        with model.memory_zone():
            parts = [part.strip() for part in take(model(text))]
        return [part for part in parts if part]

    def words(text: str) -> list[str]:
        return split(text, lambda parsed: [token.text for token in parsed])

    def sentences(text: str) -> list[str]:
        return split(text, lambda parsed: [sentence.text for sentence in parsed.sents])

    return Splitters(words, sentences)
