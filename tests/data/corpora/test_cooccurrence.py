"""Vectors of tokens from co-occurrence: planted topics, a count by hand, and what is refused."""

import collections
import itertools
import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data.corpora import cooccurrence_vectors
from jaxrec.data.corpora.cooccurrence import _pairs, _positive_information

TOPICS, EACH = 4, 10
SIZE = TOPICS * EACH + 5  # the last five tokens never occur


def planted(count=400, common=True):
    """Documents of words of one topic each, beside token 0, which is in all of them."""
    rng = np.random.default_rng(0)
    documents = []
    for number in range(count):
        words = (number % TOPICS) * EACH + rng.choice(np.arange(1, EACH), 5, replace=False)
        documents.append(np.array([*([0] if common else []), *words], np.int32))
    return documents


def test_words_of_one_topic_are_nearer_than_words_of_two():
    found = cooccurrence_vectors(planted(), SIZE, 8, window=16)
    words = np.array([w for w in range(TOPICS * EACH) if w % EACH])
    cosines = found[words] @ found[words].T
    same = (words[:, None] // EACH) == (words // EACH)
    apart = ~np.eye(len(words), dtype=bool)
    assert cosines[same & apart].min() > cosines[~same].max() + 0.2


def test_vectors_have_length_one_and_tokens_that_never_occur_have_none():
    found = cooccurrence_vectors(planted(), SIZE, 8, window=16)
    lengths = np.linalg.norm(found, axis=1)
    occurring = np.unique(np.concatenate(planted()))
    assert found.shape == (SIZE, 8) and found.dtype == np.float32
    # Token 0 stands beside all others alike, so it tells nothing of them and may have none.
    words = occurring[occurring > 0]
    np.testing.assert_allclose(lengths[words], 1, rtol=1e-5)
    others = np.setdiff1d(np.arange(SIZE), occurring)
    assert not found[others].any()


def test_the_same_texts_and_seed_give_the_same_vectors():
    first, again, other = (
        cooccurrence_vectors(planted(), SIZE, 8, window=16, seed=seed) for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist()
    # Another seed gives nearly the same cosines; the decomposition is only drawn differently.
    cosines = [(vectors @ vectors.T).ravel() for vectors in (first, other)]
    assert np.corrcoef(*cosines)[0, 1] > 0.99


def test_information_is_that_of_counts_by_hand():
    rng = np.random.default_rng(1)
    documents = [rng.integers(0, 12, rng.integers(1, 30)).astype(np.int32) for _ in range(60)]
    window = 7
    together: collections.Counter = collections.Counter()
    for text in documents:
        for begin in range(0, len(text), window):
            piece = set(text[begin : begin + window].tolist())
            together.update(itertools.permutations(piece, 2))
    each: collections.Counter = collections.Counter()
    for (a, _), count in together.items():
        each[a] += count
    total = sum(together.values())
    expected = np.zeros((12, 12))
    for (a, b), count in together.items():
        expected[a, b] = max(0.0, math.log(count * total / (each[a] * each[b])))
    found = _positive_information(_pairs(documents, 12, window)).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_cosines_are_those_of_the_full_decomposition():
    """The referee is NumPy's singular value decomposition of the dense matrix."""
    documents = planted(common=False)
    matrix = _positive_information(_pairs(documents, SIZE, 16)).toarray()
    left, values, _ = np.linalg.svd(matrix)
    vectors = left[:, :8] * np.sqrt(values[:8])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = vectors / np.maximum(lengths, 1e-12)
    known = np.unique(np.concatenate(documents))
    found = cooccurrence_vectors(documents, SIZE, 8, window=16)[known]
    cosines = expected[known] @ expected[known].T
    assert np.corrcoef((found @ found.T).ravel(), cosines.ravel())[0, 1] > 0.98


def test_texts_that_cannot_fill_the_width_are_refused():
    with pytest.raises(DataError, match="width 64 from co-occurrence need more than 64 different"):
        cooccurrence_vectors(planted(), SIZE, 64, window=16)
    with pytest.raises(DataError, match="and the texts have 0; give more text"):
        cooccurrence_vectors([], SIZE, 8, window=16)
    with pytest.raises(DataError, match="encode them with its tokenizer"):
        cooccurrence_vectors(planted(), 12, 8, window=16)
    with pytest.raises(ConfigError, match="a window of 1 tokens holds no pair"):
        cooccurrence_vectors(planted(), SIZE, 8, window=1)
