"""Parts of documents that occur earlier in the corpus: runs of sentences, and runs of words.

A document has units: every run of n sentences, or every run of n words. The hashes of all units of
the corpus lie on disk, with the place of each. They are looked through in portions by value, so
that memory does not grow with the corpus. A unit that occurs earlier is removed from its document.

Runs of words are those that a suffix array finds: `suffix_repeats` builds one of a corpus in memory
and gives the same answer.

Sources: three sentences, Raffel et al., arXiv:1910.10683, section 2.2; 50 tokens, Lee et al.,
arXiv:2107.06499.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from jaxrec.data.corpora.hashing import mix, ngram_hashes, text_hash, word_hashes
from jaxrec.data.corpora.minhash import normalize

_CHUNK = re.compile(r"\S+")
_PORTION = 1 << 22  # hashes that are looked through at a time


class Units(Protocol):
    """The units of a text, and how they are removed."""

    def hashes(self, text: str) -> np.ndarray:
        """Return the hash of every unit, uint64 [m]."""

    def remove(self, text: str, repeated: np.ndarray) -> tuple[str, str]:
        """Return the text without the repeated units (bool [m]), and a reason to drop it or ""."""


class SentenceRuns:
    """Runs of `count` sentences.

    Args:
      count: sentences of a run.
      sentences: splits a text into sentences.
      min_sentences: a text that loses some and is left with fewer is dropped.
      min_words: a text that loses some and is left with fewer is dropped.

    Example:
      >>> from jaxrec.data.corpora import splitters
      >>> runs = SentenceRuns(2, splitters("plain").sentences, min_sentences=1, min_words=1)
      >>> text = "One is a film. Two is one. Three is none. Four."
      >>> len(runs.hashes(text)), runs.remove(text, np.array([False, False, True]))
      (3, ('One is a film. Two is one.', ''))
    """

    def __init__(
        self,
        count: int,
        sentences: Callable[[str], list[str]],
        *,
        min_sentences: int,
        min_words: int,
    ) -> None:
        self.count, self.sentences = count, sentences
        self.min_sentences, self.min_words = min_sentences, min_words

    def hashes(self, text: str) -> np.ndarray:
        """Return the hash of every run of sentences, uint64 [m]."""
        normal = [normalize(sentence) for sentence in self.sentences(text)]
        runs = [" ".join(normal[n : n + self.count]) for n in range(len(normal) - self.count + 1)]
        # Runs of marks alone have no text to repeat; their own place keeps them distinct.
        hashes = [
            text_hash(run) if run.strip() else text_hash(f"{text}\0{n}")
            for n, run in enumerate(runs)
        ]
        return np.array(hashes, np.uint64)

    def remove(self, text: str, repeated: np.ndarray) -> tuple[str, str]:
        """Return the text without the sentences of repeated runs, and a reason to drop it or ""."""
        parts = self.sentences(text)
        gone = _covered(repeated, self.count, len(parts))
        ends, at = [], 0
        for part in parts:
            at = text.index(part, at) + len(part)
            ends.append(at)
        # What stands between two sentences belongs to the later one, but the first one's indent.
        cuts = [0, *ends[:-1], len(text)]
        kept = [
            text[a:b] for (a, b), out in zip(itertools.pairwise(cuts), gone, strict=True) if not out
        ]
        left = "".join(kept).lstrip()
        if len(kept) < self.min_sentences:
            return left, "too few sentences are left"
        if len(left.split()) < self.min_words:
            return left, "too few words are left"
        return left, ""


class WordRuns:
    """Runs of `count` words, where a word is what stands between spaces.

    Example:
      >>> runs = WordRuns(2)
      >>> len(runs.hashes("one two three four"))
      3
      >>> runs.remove("one two three four", np.array([False, True, False]))
      ('one four', '')
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def hashes(self, text: str) -> np.ndarray:
        """Return the hash of every run of words, uint64 [m]."""
        words = text.split()
        if len(words) < self.count:
            return np.zeros(0, np.uint64)
        *_, runs = ngram_hashes(*word_hashes(words), self.count, spaced=True)
        return mix(runs)

    def remove(self, text: str, repeated: np.ndarray) -> tuple[str, str]:
        """Return the text without the words of repeated runs; one without words is dropped."""
        spans = [match.span() for match in _CHUNK.finditer(text)]
        gone = _covered(repeated, self.count, len(spans))
        begins = [begin for begin, _ in spans]
        cuts = [0, *begins[1:], len(text)]  # the space after a word goes with it
        pairs = zip(itertools.pairwise(cuts), gone, strict=True)
        left = "".join(text[a:b] for (a, b), out in pairs if not out).rstrip()
        return left, "" if left else "every word is repeated"


def _covered(repeated: np.ndarray, count: int, parts: int) -> np.ndarray:
    """Return which of a text's parts belong to a repeated run, bool [parts]."""
    steps = np.zeros(parts + 1, np.int64)
    places = np.flatnonzero(repeated)
    np.add.at(steps, places, 1)
    np.add.at(steps, places + count, -1)
    return np.cumsum(steps[:-1]) > 0


def occurs_earlier(
    columns: Sequence[np.ndarray], repeated: np.ndarray, portion: int = _PORTION
) -> None:
    """Mark every hash that occurs earlier in the corpus.

    Args:
      columns: the hashes of each shard, uint64 [m]; they may lie on disk.
      repeated: bool [sum of m], False; the marks are written here, and it may lie on disk.
      portion: number of hashes in memory at a time, about.

    Example:
      >>> marks = np.zeros(5, bool)
      >>> occurs_earlier([np.array([3, 5, 3], np.uint64), np.array([5, 7], np.uint64)], marks)
      >>> marks.tolist()
      [False, False, True, True, False]
    """
    starts = np.cumsum([0, *map(len, columns)])
    parts = max(1, -(-int(starts[-1]) // portion))
    for part in range(parts):
        hashes, places = [], []
        for start, column in zip(starts[:-1].tolist(), columns, strict=True):
            inside = np.flatnonzero(np.asarray(column) % np.uint64(parts) == part)
            hashes.append(np.asarray(column)[inside])
            places.append(inside + start)
        here = np.concatenate([np.zeros(0, np.uint64), *hashes])
        order = np.argsort(here, kind="stable")
        again = here[order[1:]] == here[order[:-1]]
        repeated[np.concatenate([np.zeros(0, np.int64), *places])[order[1:][again]]] = True


def suffix_repeats(texts: Sequence[Sequence[int]], length: int) -> list[np.ndarray]:
    """Return which runs of tokens occur earlier, by a suffix array of all texts.

    Suffixes are sorted by their first `length` tokens (prefix doubling: Manber and Myers 1993, cut
    off at `length`), so that equal runs lie side by side; nothing is hashed. The memory is about 40
    bytes a token.

    Args:
      texts: the tokens of each text.
      length: tokens of a run; a run does not reach over the end of its text.

    Returns:
      bool [m] for each text, one for each run that begins in it.

    Example:
      >>> [marks.tolist() for marks in suffix_repeats([[1, 2, 3], [2, 3, 2, 3]], 2)]
      [[False, False], [True, False, True]]
    """
    sizes = [len(text) for text in texts]
    tokens = np.concatenate([np.zeros(0, np.int64), *(np.asarray(t, np.int64) for t in texts)])
    rank = np.unique(tokens, return_inverse=True)[1].astype(np.int64)
    width = 1
    while width < length:
        step = min(width, length - width)
        # Runs beyond the end of the corpus are cut off; those of no text are dropped below.
        later = np.concatenate([rank[step:] + 1, np.zeros(min(step, len(rank)), np.int64)])
        rank = np.unique(rank * (len(rank) + 2) + later, return_inverse=True)[1].astype(np.int64)
        width += step
    starts = np.cumsum([0, *sizes])
    begins = [
        np.arange(a, a + max(size - length + 1, 0))
        for a, size in zip(starts[:-1].tolist(), sizes, strict=True)
    ]
    places = np.concatenate([np.zeros(0, np.int64), *begins])
    marks = np.zeros(len(places), bool)
    occurs_earlier([rank[places].astype(np.uint64)], marks, portion=max(len(places), 1))
    return np.split(marks, np.cumsum([len(begin) for begin in begins])[:-1])
