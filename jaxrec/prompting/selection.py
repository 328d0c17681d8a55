"""Which demonstrations a query gets: scores of the pool, and the selection by them.

A scorer maps queries to scores of all demonstrations of a pool, and `select` takes the best.
Scorers by similarity find the nearest neighbours of a query, which helped GPT-3 more than random
demonstrations (Liu et al. 2022, "KATE", arXiv:2101.06804). Shapes: B queries, N demonstrations of
the pool.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting.bm25 import Bm25
from jaxrec.prompting.demonstrations import Demonstration, normal_input

Scorer = Callable[[Sequence[str]], np.ndarray]
Leaks = Literal["leave_out", "refuse"]


def select(
    pool: Sequence[Demonstration],
    score: Scorer,
    queries: Sequence[str],
    count: int,
    *,
    leaks: Leaks = "leave_out",
) -> list[list[int]]:
    """Select demonstrations for each query.

    A demonstration with the input of the query would give the answer away. It is never selected,
    whatever its score. Inputs are compared without capital letters and superfluous white space.

    Args:
      pool: N demonstrations.
      score: from one of the functions of this module, made of the inputs of the same pool.
      queries: B inputs.
      count: k, number of demonstrations of each query.
      leaks: "leave_out" passes over a demonstration with the query's input; "refuse" is an error,
        for pools that should be apart from the queries.

    Returns:
      For each query k numbers of the pool, the best first; of equal scores the first of the pool.

    Raises:
      ConfigError: `count` below 1 or above what the pool has left, or scores of another shape.
      DataError: a query is in the pool, and `leaks` is "refuse"; or a score is not a number.

    Example:
      >>> from jaxrec.prompting import Demonstration, select, tfidf_scores
      >>> pool = [Demonstration(x, "?") for x in ("a red car", "a red bus", "one blue bike")]
      >>> select(pool, tfidf_scores([d.input for d in pool]), ["A red car", "blue bike"], 2)
      [[1, 2], [2, 0]]
    """
    if leaks not in get_args(Leaks):
        raise ConfigError(f"leaks must be one of {get_args(Leaks)}, got {leaks!r}")
    if isinstance(queries, str):
        raise ConfigError(f"expected a list of queries, got one text: [{queries[:20]!r}]")
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"count must be a whole number of at least 1, got {count!r}")
    known = np.array([normal_input(demonstration.input) for demonstration in pool], object)
    same = np.array([known == normal_input(query) for query in queries], bool)
    same = same.reshape(len(queries), len(pool))
    if leaks == "refuse" and same.any():
        row, place = np.argwhere(same)[0]
        raise DataError(
            f"the query {queries[row][:60]!r} is in the pool as demonstration {place}; keep the "
            'queries out of the pool, or pass over them with leaks="leave_out"'
        )
    left = len(pool) - int(same.sum(axis=1).max(initial=0))
    if count > left:
        raise ConfigError(
            f"count is {count}, and the pool has {left} demonstrations that are not the query "
            "itself; lower count or add demonstrations"
        )
    if not len(queries):
        return []
    try:
        scores = np.array(score(queries), np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"scores of demonstrations must be an array of numbers: {error}") from error
    if scores.shape != same.shape:
        raise ConfigError(
            f"scores of {len(queries)} queries and {len(pool)} demonstrations must have the shape "
            f"{same.shape}, got {scores.shape}; make the scorer of the inputs of this pool"
        )
    if np.isnan(scores).any():
        raise DataError(f"{np.isnan(scores).sum()} scores of demonstrations are not numbers")
    scores[same] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :count].tolist()


def random_scores(inputs: Sequence[str], seed: int) -> Scorer:
    """Return a scorer that draws scores at random.

    The draws for a query depend on the seed and its text alone, whatever other queries there are.

    Args:
      inputs: of the N demonstrations.
      seed: seed of the draws, at least 0.

    Raises:
      ConfigError: a seed below 0.

    Example:
      >>> random_scores(["a", "b"], 0)(["one query"]).shape
      (1, 2)
    """
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")

    def score(queries: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng([seed, _number(query)]) for query in queries]
        return np.array([rng.random(len(inputs)) for rng in rows]).reshape(-1, len(inputs))

    return score


def tfidf_scores(inputs: Sequence[str]) -> Scorer:
    """Return a scorer by the cosine of TF-IDF vectors of words, as scikit-learn weighs them.

    Words are runs of letters, digits and underscores, of any length, in lower case. Inverse
    document frequencies are those of the pool.

    Args:
      inputs: of the N demonstrations.

    Raises:
      ConfigError: no input has a word.

    Example:
      >>> tfidf_scores(["a red car", "a blue bus"])(["red bike"]).round(2).tolist()
      [[0.63, 0.0]]
    """
    vectorizer = _fit_tfidf(inputs)
    vectors = vectorizer.transform(inputs)

    def score(queries: Sequence[str]) -> np.ndarray:
        return np.asarray((vectorizer.transform(queries) @ vectors.T).toarray())

    return score


def tfidf_vectors(texts: Sequence[str]) -> Callable[[Sequence[str]], np.ndarray]:
    """Return an encoder to TF-IDF vectors of unit length, fitted to texts; see `tfidf_scores`.

    Args:
      texts: whose words and document frequencies count; other words are ignored.

    Raises:
      ConfigError: no text has a word.

    Example:
      >>> tfidf_vectors(["red car", "red"])(["red bike"]).tolist()
      [[0.0, 1.0]]
    """
    vectorizer = _fit_tfidf(texts)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(vectorizer.transform(texts).toarray())

    return encode


def _fit_tfidf(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    check_inputs(texts)
    try:
        return TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").fit(texts)
    except ValueError as error:  # nothing but punctuation
        raise ConfigError(f"none of the {len(texts)} texts has a word") from error


def bm25_scores(inputs: Sequence[str]) -> Scorer:
    """Return a scorer by BM25; see `Bm25`, whose library `bm25s` is an optional dependency.

    Args:
      inputs: of the N demonstrations.

    Raises:
      ConfigError: no input has a word, or `bm25s` is not installed.

    Example:
      >>> (bm25_scores(["a red car", "a blue bus"])(["red bike"]) > 0).tolist()
      [[True, False]]
    """
    check_inputs(inputs)
    index = Bm25(inputs)

    def score(queries: Sequence[str]) -> np.ndarray:
        return np.array([index.scores(query) for query in queries]).reshape(-1, len(inputs))

    return score


def encoder_scores(inputs: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray]) -> Scorer:
    """Return a scorer by the cosine of text vectors, such as those of a sentence encoder.

    Args:
      inputs: of the N demonstrations.
      encode: maps texts to vectors `[n, D]`, such as `jaxrec.models.SentenceEncoder.encode`.

    Raises:
      DataError: vectors of another shape, or values that are not finite.

    Example:
      >>> letters = lambda texts: np.array([[text.count(c) for c in "abc"] for text in texts])
      >>> encoder_scores(["aab", "ccc"], letters)(["ab"]).round(2).tolist()
      [[0.95, 0.0]]
    """
    check_inputs(inputs)
    pool = _unit(encode(inputs), len(inputs))

    def score(queries: Sequence[str]) -> np.ndarray:
        return _unit(encode(queries), len(queries)) @ pool.T

    return score


def check_inputs(inputs: Sequence[str]) -> None:
    """Reject a pool that nothing can be found in.

    Raises:
      ConfigError: a single text, no texts, or none with a word.
    """
    if isinstance(inputs, str) or not any(text.strip() for text in inputs):
        raise ConfigError(
            f"a pool needs a list of inputs, at least one of them with a word, got {inputs!r:.60}"
        )


def _unit(vectors: np.ndarray, count: int) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
        raise DataError(
            f"an encoder must give one finite vector to each of {count} texts, got the shape "
            f"{vectors.shape}"
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)


def _number(text: str) -> int:
    """A number of a text that is the same in every process."""
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")
