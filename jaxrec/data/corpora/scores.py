"""Filters by a score: the language, the perplexity of a small model, a classifier of quality.

Each takes any function of a text; the models here are small ones that are fitted on reference texts
in seconds. Features are hashed, so that no vocabulary is kept.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.corpora.hashing import mix, ngram_hashes, word_hashes
from jaxrec.data.corpora.minhash import normalize

Scorer = Callable[[str], float]
Identify = Callable[[str], tuple[str, float]]

_FEATURES = 1 << 18  # hashed features of a linear model
_SLOTS = 1 << 20  # counters of an n-gram model
_MOST_CHARACTERS = 20_000  # of a text that are looked at to tell its language


class NgramModel:
    """An interpolated model of n-grams of words, whose counts lie in a table of fixed size.

    P(w | h) interpolates n-grams with those of a word less by Witten-Bell smoothing, and the
    unigrams with a uniform distribution over one more word than it has seen. Two n-grams that share
    a counter add up, which a table much larger than the text makes rare.

    Args:
      texts: what the model is fitted on.
      order: words of the longest n-gram.
      slots: counters of each order.

    Raises:
      DataError: the texts have no words.

    Example:
      >>> model = NgramModel(["the cat sat on the mat"] * 3, order=2)
      >>> model.perplexity("the cat sat") < model.perplexity("sat the cat")
      True
    """

    def __init__(self, texts: Iterable[str], order: int = 3, slots: int = _SLOTS) -> None:
        self.order, self._slots = order, np.uint64(slots)
        self._counts = [np.zeros(slots, np.int64) for _ in range(order)]  # of n-grams
        # Of the words after each context: how many there are, and how many distinct ones.
        self._next = [np.zeros(slots, np.int64) for _ in range(order)]
        self._kinds = [np.zeros(slots, np.int64) for _ in range(order)]
        self._total = 0
        for text in texts:
            runs = self._runs(text)
            self._total += len(runs[0]) if runs else 0
            for n, hashes in enumerate(runs):
                self._add(n, hashes, runs[n - 1][: len(hashes)] if n else None)
        if not self._total:
            raise DataError(
                "the reference texts of the n-gram model have no words; check the files"
            )
        self._distinct = int((self._counts[0] > 0).sum())

    def _runs(self, text: str) -> list[np.ndarray]:
        hashed = word_hashes(normalize(text).split())
        return [mix(runs) % self._slots for runs in ngram_hashes(*hashed, self.order, spaced=True)]

    def _add(self, n: int, slots: np.ndarray, contexts: np.ndarray | None) -> None:
        first, times = np.unique(slots, return_index=True, return_counts=True)[1:]
        new = first[self._counts[n][slots[first]] == 0]
        self._counts[n][slots[first]] += times
        if contexts is not None:
            np.add.at(self._next[n], contexts, 1)
            np.add.at(self._kinds[n], contexts[new], 1)

    def log_probabilities(self, text: str) -> np.ndarray:
        """Return the natural logarithm of each word's probability, float64 [n]."""
        runs = self._runs(text)
        if not runs:
            return np.zeros(0)
        count = self._counts[0][runs[0]]
        known, total = self._distinct, self._total
        chance = (count + known / (known + 1)) / (total + known)
        for n in range(1, len(runs)):
            before = runs[n - 1][: len(runs[n])]
            seen, kinds = self._next[n][before], self._kinds[n][before]
            both = np.minimum(self._counts[n][runs[n]], seen)
            mixed = (both + kinds * chance[n:]) / np.maximum(seen + kinds, 1)
            # A context that was never continued says nothing.
            chance[n:] = np.where(kinds > 0, mixed, chance[n:])
        return np.log(chance)

    def perplexity(self, text: str) -> float:
        """Return the exponential of the mean cross-entropy a word; infinity without words."""
        logs = self.log_probabilities(text)
        return math.exp(-float(logs.mean())) if len(logs) else math.inf


class QualityClassifier:
    """Logistic regression on hashed words: the probability that a text is like the good ones.

    Args:
      good: reference texts of high quality.
      bad: texts of the kind that is to be filtered.
      seed: of the fit.

    Raises:
      DataError: one of the two has no texts.

    Example:
      >>> good, bad = ["a fine essay on films"] * 5, ["buy cheap pills now"] * 5
      >>> score = QualityClassifier(good, bad)
      >>> score("an essay on films") > 0.5 > score("buy pills")
      True
    """

    def __init__(self, good: Iterable[str], bad: Iterable[str], seed: int = 0) -> None:
        texts, labels = [*good], []
        labels = [1] * len(texts)
        texts += list(bad)
        labels += [0] * (len(texts) - len(labels))
        self._model = _Linear("word", texts, labels, seed)

    def __call__(self, text: str) -> float:
        """Return the probability, in [0, 1]."""
        return float(self._model(text)[1])


class LanguageModel:
    """Logistic regression on hashed runs of characters: the language of a text.

    Args:
      samples: texts by language.
      seed: of the fit.

    Raises:
      DataError: fewer than two languages, or one without texts.

    Example:
      >>> samples = {"en": ["the film is good and so is that"], "de": ["der Film ist gut und das"]}
      >>> LanguageModel(samples)("and the film")[0]
      'en'
    """

    def __init__(self, samples: Mapping[str, Sequence[str]], seed: int = 0) -> None:
        self.languages = list(samples)
        texts = [text for found in samples.values() for text in found]
        labels = [n for n, found in enumerate(samples.values()) for _ in found]
        self._model = _Linear("char_wb", texts, labels, seed)

    def __call__(self, text: str) -> tuple[str, float]:
        """Return the most probable language and its probability."""
        chances = self._model(text[:_MOST_CHARACTERS])
        best = int(np.argmax(chances))
        return self.languages[best], float(chances[best])


class _Linear:
    """A linear classifier of hashed features; `kind` is that of scikit-learn's vectorizer."""

    def __init__(self, kind: str, texts: list[str], labels: list[int], seed: int) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.linear_model import LogisticRegression

        if len(set(labels)) < 2:
            raise DataError(
                "a classifier needs texts of at least two classes, and the reference files have "
                f"those of {len(set(labels))}; check the files"
            )
        lengths = (1, 2) if kind == "word" else (1, 3)
        self._features: Any = HashingVectorizer(
            analyzer=kind, ngram_range=lengths, n_features=_FEATURES, alternate_sign=False
        )
        self._fit: Any = LogisticRegression(C=100.0, max_iter=200, random_state=seed)
        self._fit.fit(self._features.transform(texts), labels)

    def __call__(self, text: str) -> np.ndarray:
        return self._fit.predict_proba(self._features.transform([text]))[0]


def pareto_keeps(score: float, identity: str, alpha: float, seed: int = 0) -> bool:
    """Keep a document if a Pareto variate is above 1 - score, so that some bad ones stay.

    The variate depends on the document and the seed alone, not on the order of the documents.

    Args:
      score: in [0, 1], 1 for the best.
      identity: of the document.
      alpha: shape of the Pareto (Lomax) distribution; 9 for GPT-3 (arXiv:2005.14165, appendix A).
      seed: changes all variates.

    Example:
      >>> pareto_keeps(1.0, "a#0", 9), sum(pareto_keeps(0.5, str(n), 9) for n in range(10_000))
      (True, 285)
    """
    raw = hashlib.blake2b(f"{seed} {identity}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(raw, "little") + 0.5) / 2**64
    return uniform ** (-1 / alpha) - 1 > 1 - score
