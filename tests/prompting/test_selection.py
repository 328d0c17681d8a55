"""Selection of demonstrations, against plain computations and scikit-learn."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    Bm25,
    Demonstration,
    bm25_scores,
    encoder_scores,
    random_scores,
    select,
    tfidf_scores,
    tfidf_vectors,
)

INPUTS = [
    *("a red car on the road", "a blue bus", "the red road", "bus and car", "one bike"),
    *("blue road bike", "red red red", "a car, a bus and a bike"),
]
POOL = [Demonstration(text, str(n)) for n, text in enumerate(INPUTS)]
QUERIES = ["a red bike", "the bus on the road", "car"]


def by_hand(query):
    return np.array([[len(text) + len(q) for text in INPUTS] for q in query], float)


def test_the_best_scores_are_selected_best_first():
    assert select(POOL, by_hand, ["q"], 3) == [[7, 0, 5]]


def test_equal_scores_are_selected_in_the_order_of_the_pool():
    assert select(POOL, lambda queries: np.zeros((1, len(POOL))), ["q"], 3) == [[0, 1, 2]]


def test_a_demonstration_equal_to_the_query_is_left_out():
    (chosen,) = select(POOL, by_hand, [" A  car, a bus and a BIKE"], 3)
    assert chosen == [0, 5, 2]


def test_the_whole_pool_without_the_query_can_be_selected():
    (chosen,) = select(POOL, by_hand, ["one bike"], 7)
    assert sorted(chosen) == [0, 1, 2, 3, 5, 6, 7]
    with pytest.raises(ConfigError, match="count is 8, and the pool has 7"):
        select(POOL, by_hand, ["one bike"], 8)


def test_a_query_in_the_pool_is_refused_on_demand():
    assert select(POOL, by_hand, ["new"], 1, leaks="refuse") == [[7]]
    with pytest.raises(DataError, match="'One bike' is in the pool as demonstration 4"):
        select(POOL, by_hand, ["new", "One bike"], 1, leaks="refuse")


def test_tfidf_neighbours_are_those_of_scikit_learn():
    vectorizer = TfidfVectorizer(token_pattern=r"\b\w+\b").fit(INPUTS)
    referee = NearestNeighbors(metric="cosine", algorithm="brute").fit(vectorizer.transform(INPUTS))
    distances, _ = referee.kneighbors(vectorizer.transform(QUERIES), 3)
    scores = tfidf_scores(INPUTS)(QUERIES)
    for row, chosen, far in zip(
        scores, select(POOL, tfidf_scores(INPUTS), QUERIES, 3), distances, strict=True
    ):
        np.testing.assert_allclose(row[chosen], 1 - far, atol=1e-12)


def test_encoder_scores_of_tfidf_vectors_are_the_tfidf_scores():
    encode = tfidf_vectors(INPUTS)
    np.testing.assert_allclose(
        encoder_scores(INPUTS, encode)(QUERIES), tfidf_scores(INPUTS)(QUERIES), atol=1e-12
    )


def test_encoder_scores_are_cosines_and_not_products():
    lengths = {"short": [1.0, 0.0], "long": [9.0, 9.0], "q": [2.0, 0.2]}
    scores = encoder_scores(["short", "long"], lambda texts: np.array([lengths[t] for t in texts]))
    expected = [2 / np.hypot(2, 0.2), 2.2 / (np.hypot(2, 0.2) * np.sqrt(2))]
    np.testing.assert_allclose(scores(["q"]), [expected])


def test_a_vector_of_zeros_is_like_nothing():
    scores = encoder_scores(["a", "b"], lambda texts: np.zeros((len(texts), 2)))
    assert scores(["c"]).tolist() == [[0.0, 0.0]]


def test_bm25_scores_are_those_of_the_index():
    index = Bm25(INPUTS)
    expected = [index.scores(query) for query in QUERIES]
    np.testing.assert_array_equal(bm25_scores(INPUTS)(QUERIES), expected)


def test_random_scores_depend_on_the_seed_and_the_query_alone():
    alone = random_scores(INPUTS, 0)(["b"])
    np.testing.assert_array_equal(random_scores(INPUTS, 0)(["a", "b"])[1:], alone)
    assert not np.array_equal(random_scores(INPUTS, 1)(["b"]), alone)


def test_random_selection_takes_each_demonstration_equally_often():
    queries = [f"query {n}" for n in range(2000)]
    chosen = select(POOL, random_scores(INPUTS, 0), queries, 2)
    shares = np.bincount(np.ravel(chosen), minlength=len(POOL)) / len(queries)
    # Five standard deviations of a share of 1/4 in 2000 draws.
    np.testing.assert_allclose(shares, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 2000))


def test_no_queries_need_no_scores():
    assert select(POOL, by_hand, [], 1) == []


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"count": 0}, ConfigError, "count must be a whole number of at least 1, got 0"),
        ({"count": 1.5}, ConfigError, "count must be a whole number of at least 1, got 1.5"),
        ({"score": lambda queries: [["a"] * 8]}, DataError, "must be an array of numbers"),
        ({"queries": "car"}, ConfigError, "expected a list of queries"),
        ({"leaks": "keep"}, ConfigError, "leaks must be one of"),
        ({"score": lambda queries: np.zeros((1, 2))}, ConfigError, "must have the shape"),
        ({"score": lambda queries: np.full((1, 8), np.nan)}, DataError, "are not numbers"),
    ],
)
def test_unusable_selections_are_refused(settings, error, message):
    whole = {"pool": POOL, "score": by_hand, "queries": ["q"], "count": 1} | settings
    with pytest.raises(error, match=message):
        select(**whole)


@pytest.mark.parametrize("make", [tfidf_scores, bm25_scores, tfidf_vectors])
@pytest.mark.parametrize("inputs", [[], ["", " "], ["!", "?"], "one text"])
def test_a_pool_without_words_is_refused(make, inputs):
    with pytest.raises(ConfigError):
        make(inputs)


def test_vectors_that_do_not_belong_to_the_texts_are_refused():
    with pytest.raises(DataError, match="one finite vector to each of 2 texts"):
        encoder_scores(["a", "b"], lambda texts: np.zeros((1, 2)))


def test_random_scores_take_any_text_and_a_seed_from_zero_on():
    assert random_scores(["a"], 0)(["\ud800"]).shape == (1, 1)
    with pytest.raises(ConfigError, match="seed must be at least 0, got -1"):
        random_scores(["a"], -1)
