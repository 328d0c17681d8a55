"""Near-duplicates: shingles, MinHash signatures in bands, and the true Jaccard similarity.

Two documents are candidates if one band of their signatures agrees, which has the probability
1 - (1 - J^r)^b for b bands of r rows and the Jaccard similarity J of their shingles: .924 at .8 and
.9996 at .9 for 14 bands of 8. Candidates are verified by J itself.

Sources: Broder, On the resemblance and containment of documents, 1997; Penedo et al.,
arXiv:2406.17557 (14 bands of 8 rows over runs of 5 words).
"""

import re

import numpy as np

from jaxrec.data.corpora.hashing import mix, ngram_hashes, text_hash, word_hashes

_WORD = re.compile(r"[^\W_]+")
_CHUNK = 1 << 10  # shingles that are hashed at a time


def normalize(text: str) -> str:
    r"""Return a text in lower case, without punctuation, its words separated by single spaces.

    Example:
      >>> normalize("A film -- isn't it?\t")
      'a film isn t it'
    """
    return " ".join(_WORD.findall(text.lower()))


def shingles(normal: str, words: int) -> np.ndarray:
    """Return the hashes of all runs of `words` words of a normalized text.

    A text with fewer words has one run, the whole of it. Without that, all short texts would be
    alike.

    Returns:
      uint64 [n]; a run that occurs twice is there twice.

    Example:
      >>> len(shingles("a b c a b c", 3)), len(shingles("a b", 3)), len(shingles("", 3))
      (4, 1, 1)
    """
    parts = normal.split()
    if len(parts) < words:
        return np.array([text_hash(normal)], np.uint64)
    *_, runs = ngram_hashes(*word_hashes(parts), words, spaced=True)
    return mix(runs)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of two sets' union that both have; the arrays are sorted and distinct.

    Example:
      >>> jaccard(np.array([1, 2, 3]), np.array([2, 3, 4]))
      0.5
    """
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


class MinHash:
    """Signatures of sets of shingles, hashed band by band.

    Args:
      bands: b.
      rows: r, hashes of a band.
      seed: of the hash functions.

    Example:
      >>> hasher = MinHash(bands=14, rows=8)
      >>> a = hasher.bands_of(shingles("the same text in both", 2))
      >>> b = hasher.bands_of(shingles("the same text in both", 2))
      >>> a.shape, bool((a == b).all())
      ((14,), True)
    """

    def __init__(self, bands: int, rows: int, seed: int = 0) -> None:
        self.bands, self.rows = bands, rows
        rng = np.random.default_rng(seed)
        # Odd factors permute the 64-bit numbers; the shingles' bits are mixed already.
        draw = rng.integers(0, 2**64, (bands * rows, 1), np.uint64, endpoint=False)
        self._factors = draw | np.uint64(1)
        self._weights = rng.integers(
            0, 2**64, (bands, rows), np.uint64, endpoint=False
        ) | np.uint64(1)

    def signature(self, hashes: np.ndarray) -> np.ndarray:
        """Return the smallest value of each hash function over the shingles, uint64 [b * r]."""
        least = np.full(len(self._factors), np.iinfo(np.uint64).max, np.uint64)
        for begin in range(0, len(hashes), _CHUNK):
            values = self._factors * hashes[begin : begin + _CHUNK]  # [b * r, n]
            np.minimum(least, values.min(axis=1), out=least)
        return least

    def bands_of(self, hashes: np.ndarray) -> np.ndarray:
        """Return one hash of each band of the signature, uint64 [b]."""
        least = mix(self.signature(hashes)).reshape(self.bands, self.rows)
        return mix((least * self._weights).sum(axis=1, dtype=np.uint64))
