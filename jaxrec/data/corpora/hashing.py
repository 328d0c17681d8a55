"""64-bit hashes of words and of runs of words, computed with NumPy for a whole document at once.

The hash of a text is a polynomial in its characters modulo 2^64, so the hash of two texts in a row
follows from theirs: H(ab) = H(a) * p^|b| + H(b). One pass over the characters therefore gives the
n-grams of every length.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

# An odd multiplier; powers of it stay odd, so no character is ever multiplied away.
_BASE = np.uint64(0x9E3779B97F4A7C15)
_LONGEST = 1 << 12  # characters of a word that enter the polynomial; longer words hash as a whole
_SPACE = np.uint64(32)


def word_hashes(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of words that are not empty, and the power of the base for each length.

    Returns:
      uint64 [n] hashes and uint64 [n] powers p^|word|; see `ngram_hashes`.

    Example:
      >>> hashes, _ = word_hashes(["film", "a", "film"])
      >>> bool(hashes[0] == hashes[2]), bool(hashes[0] == hashes[1])
      (True, False)
    """
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    if not len(lengths):
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    if lengths.max() > _LONGEST:
        whole = {
            w: _digest(w) for w, n in zip(words, lengths.tolist(), strict=True) if n > _LONGEST
        }
        hashes, powers = word_hashes([word if word not in whole else "_" for word in words])
        for at in np.flatnonzero(lengths > _LONGEST).tolist():
            hashes[at] = whole[words[at]]
        return hashes, powers
    raw = "".join(words).encode("utf-32-le", "surrogatepass")
    ends = np.cumsum(lengths)
    powers = _powers()
    behind = np.repeat(ends - 1, lengths) - np.arange(ends[-1])  # characters after each in its word
    terms = np.frombuffer(raw, np.uint32) * powers[behind]
    return np.add.reduceat(terms, ends - lengths), powers[lengths]


def ngram_hashes(
    hashes: np.ndarray, powers: np.ndarray, longest: int, *, spaced: bool = False
) -> Iterator[np.ndarray]:
    """Yield the hashes of all runs of 1, 2, ..., `longest` words, as if each run were one text.

    Args:
      hashes: uint64 [n] of `word_hashes`.
      powers: uint64 [n] of `word_hashes`.
      longest: words of the longest run; the iterator ends early where the text has fewer.
      spaced: whether a space stands between the words of a run.

    Yields:
      uint64 [n - k + 1] for runs of k words.

    Example:
      >>> one, two = ngram_hashes(*word_hashes(["a", "film"]), 2, spaced=True)
      >>> bool(two[0] == word_hashes(["a film"])[0][0])
      True
    """
    runs = hashes
    for length in range(1, min(longest, len(hashes)) + 1):
        if length > 1:
            rest = slice(length - 1, None)
            runs = runs[:-1] * _BASE + _SPACE if spaced else runs[:-1]
            runs = runs * powers[rest] + hashes[rest]
        yield runs


def mix(hashes: np.ndarray) -> np.ndarray:
    """Return the hashes with every bit spread over all bits (SplitMix64's finalizer), uint64.

    Example:
      >>> mix(np.array([1, 2], np.uint64)).tolist()
      [6238072747940578789, 15839785061582574730]
    """
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def text_hash(text: str) -> int:
    """Return a hash of 64 bits of a text of any length, the same on every machine.

    Example:
      >>> text_hash("a film") == text_hash("a film"), text_hash("") < 2**64
      (True, True)
    """
    return _digest(text)


def _digest(text: str) -> int:
    raw = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


@functools.cache
def _powers() -> np.ndarray:
    powers = np.full(_LONGEST + 1, _BASE)
    powers[0] = 1
    return np.multiply.accumulate(powers)
