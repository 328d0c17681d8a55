"""Overlap with evaluation sets: documents that share a long run of words with one are dropped.

Source: Brown et al., arXiv:2005.14165, appendix C: runs of 13 words, in lower case and without
punctuation.
"""

from collections.abc import Iterable

import numpy as np

from jaxrec.data.corpora.hashing import mix, ngram_hashes, word_hashes
from jaxrec.data.corpora.minhash import normalize


class Overlap:
    """The runs of `words` words of some evaluation texts, 8 bytes a run.

    Texts with fewer words have no run, and are not looked for.

    Example:
      >>> seen = Overlap(["Which film won the prize in 1994?"], words=5)
      >>> seen("They asked which film won the prize, again."), seen("A film won the prize.")
      (True, False)
    """

    def __init__(self, texts: Iterable[str], words: int = 13) -> None:
        self.words = words
        found = [np.unique(self._runs(text)) for text in texts]
        self.runs = np.unique(np.concatenate([np.zeros(0, np.uint64), *found]))

    def __call__(self, text: str) -> bool:
        """Whether a text shares a run with the evaluation texts."""
        runs = self._runs(text)
        if not len(runs) or not len(self.runs):
            return False
        places = np.searchsorted(self.runs, runs)
        return bool((self.runs[np.minimum(places, len(self.runs) - 1)] == runs).any())

    def _runs(self, text: str) -> np.ndarray:
        words = normalize(text).split()
        if len(words) < self.words:
            return np.zeros(0, np.uint64)
        *_, runs = ngram_hashes(*word_hashes(words), self.words, spaced=True)
        return mix(runs)
