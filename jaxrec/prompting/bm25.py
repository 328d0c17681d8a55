"""BM25: which documents have the words of a query (Robertson et al. 1994; Lucene's variant).

The library `bm25s` (Lù 2024, arXiv:2407.03618) computes the scores; it is an optional dependency.
Words are runs of letters, digits and underscores, in lower case, without stop words or stems, so
that titles such as "It" and "Us" can be found.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError

_WORD = re.compile(r"\w+")


@dataclasses.dataclass(frozen=True, eq=False)
class Bm25:
    """An index of documents.

    Attributes:
      documents: N texts.
      k1: how fast further occurrences of a word count less.
      b: how much long documents are discounted, from 0 to 1.

    Raises:
      ConfigError: no documents, none with a word, a setting out of range, or `bm25s` is not
        installed.

    Example:
      >>> index = Bm25(["a film about dogs", "a film about cats", "cats and more cats"])
      >>> [number for number, _ in index.search("Cats!", 2)]
      [2, 1]
    """

    documents: Sequence[str]
    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        if isinstance(self.documents, str) or not len(self.documents):
            raise ConfigError("an index needs a list of at least one document")
        if not self.k1 >= 0 or not 0 <= self.b <= 1:
            raise ConfigError(f"k1 must be at least 0 and b in [0, 1], got {self.k1} and {self.b}")
        if not any(map(_WORD.search, self.documents)):
            raise ConfigError(f"none of the {len(self.documents)} documents has a word")
        # Building it here lets a missing library be an error before any work.
        self._index  # noqa: B018

    def scores(self, query: str) -> np.ndarray:
        """Return the score of each document, `[N]` float32; 0 if it has no word of the query."""
        words = [word for word in _words(query) if word in self._index.vocab_dict]
        if not words:
            return np.zeros(len(self.documents), np.float32)
        return np.asarray(self._index.get_scores(words), np.float32)

    def search(self, query: str, count: int) -> list[tuple[int, float]]:
        """Return the best documents that have a word of the query.

        Args:
          query: any text.
          count: most documents to return.

        Returns:
          Numbers and scores, the best first; of equal ones the first document.

        Raises:
          ConfigError: `count` below 1.
        """
        if count < 1:
            raise ConfigError(f"count must be at least 1, got {count}")
        scores = self.scores(query)
        best = np.argsort(-scores, kind="stable")[:count]
        return [(int(number), float(scores[number])) for number in best if scores[number] > 0]

    @functools.cached_property
    def _index(self) -> Any:
        try:
            import bm25s
        except ImportError as error:
            raise ConfigError("BM25 needs bm25s: pip install 'jaxrec[search]'") from error
        index = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
        index.index([_words(text) for text in self.documents], show_progress=False)
        return index


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
