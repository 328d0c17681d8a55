"""Memory: the scores are the formula of the paper, and reading changes no record in place."""

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import minmax_scale

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    MemoryRecord,
    RecallOptions,
    fit_tfidf,
    load_memory,
    recall,
    recall_scores,
    remember,
    save_memory,
)

VECTORS = {"north": [0.0, 2.0], "east": [3.0, 0.0], "both": [1.0, 1.0], "none": [0.0, 0.0]}


def embed(texts):
    return np.array([VECTORS[text] for text in texts])


def record(**changes):
    return MemoryRecord(**{"text": "x", "vector": (1.0,), "created": 0.0, "read": 0.0} | changes)


def test_scores_are_the_sum_of_three_scaled_parts():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 6))
    memory = tuple(
        record(vector=tuple(v), read=float(r), importance=float(i))
        for v, r, i in zip(vectors, rng.uniform(0, 90, 20), rng.integers(0, 11, 20), strict=True)
    )
    question = rng.normal(size=(1, 6))
    options = RecallOptions(recency=0.5, importance=3.0, relevance=2.0, decay=0.99)
    found = recall_scores(memory, "?", 100.0, lambda texts: question, options)
    expected = (
        0.5 * minmax_scale(0.99 ** (100 - np.array([m.read for m in memory])))
        + 3.0 * minmax_scale(np.array([m.importance for m in memory]) / 10)
        + 2.0 * minmax_scale(cosine_similarity(vectors, question)[:, 0])
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_scores_by_hand():
    memory = remember((), ["north"], [0], 0.0, embed)
    memory = remember(memory, ["east"], [10], 20.0, embed)
    memory = remember(memory, ["both"], [5], 10.0, embed)
    # Recency 0.995^20, 1 and 0.995^10; importance 0, 1, 0.5; cosine with north 1, 0, 1/sqrt 2.
    low, middle = 0.995**20, 0.995**10
    third = (middle - low) / (1 - low) + 0.5 + 1 / np.sqrt(2)
    np.testing.assert_allclose(recall_scores(memory, "north", 20.0, embed), [1.0, 2.0, third])


def test_each_part_alone_decides_the_order():
    memory = remember((), ["north"], [9], 0.0, embed)
    memory = remember(memory, ["east"], [1], 5.0, embed)
    memory = remember(memory, ["both"], [5], 3.0, embed)
    nothing = {"recency": 0.0, "importance": 0.0, "relevance": 0.0}
    orders = {}
    for part in nothing:
        found, _ = recall(memory, "east", 6.0, embed, options=RecallOptions(**nothing | {part: 1}))
        orders[part] = [one.record.text for one in found]
    assert orders == {
        "recency": ["east", "both", "north"],
        "importance": ["north", "both", "east"],
        "relevance": ["east", "both", "north"],
    }


def test_equal_values_are_one_half_and_keep_the_order():
    memory = remember((), ["north", "north", "none"], [5, 5, 5], 0.0, embed)
    np.testing.assert_array_equal(recall_scores(memory, "none", 9.0, embed), [1.5] * 3)
    found, _ = recall(memory, "none", 9.0, embed, count=2)
    assert [one.place for one in found] == [0, 1]
    (alone,), _ = recall(memory[:1], "north", 9.0, embed)
    assert alone.score == 1.5


def test_reading_makes_a_memory_recent_and_leaves_the_old_one_as_it_was():
    memory = remember((), ["north", "east"], [5, 5], 0.0, embed)
    found, after = recall(memory, "east", 48.0, embed, count=1)
    assert [one.place for one in found] == [1] and found[0].record is memory[1]
    assert [one.read for one in memory] == [0.0, 0.0]
    assert [one.read for one in after] == [0.0, 48.0]
    assert [one.created for one in after] == [0.0, 0.0]
    only_recency = RecallOptions(importance=0.0, relevance=0.0)
    later, _ = recall(after, "north", 50.0, embed, options=only_recency)
    assert [one.place for one in later] == [1, 0]
    assert recall((), "north", 0.0, embed) == ((), ())


def test_tfidf_vectors_are_those_of_scikit_learn():
    texts = ["a heist film with a chase", "rain in Paris", "a film about rain"]
    memory = remember((), texts, [5, 5, 5], 0.0, fit_tfidf(texts))
    vectorizer = TfidfVectorizer().fit(texts)
    cosines = cosine_similarity(vectorizer.transform(texts), vectorizer.transform(["rain film"]))
    only = RecallOptions(recency=0.0, importance=0.0)
    scores = recall_scores(memory, "rain film", 0.0, fit_tfidf(texts), only)
    np.testing.assert_allclose(scores, minmax_scale(cosines[:, 0]))
    with pytest.raises(DataError, match=r"no words to weigh in 1 texts, such as '...'; a word"):
        fit_tfidf(["..."])
    with pytest.raises(ConfigError, match="texts must be a list, got 'rain'"):
        fit_tfidf("rain")


def test_memories_survive_a_file(tmp_path):
    memory = remember((), ["north", "both"], [2.5, 7], 1.25, embed)
    _, memory = recall(memory, "north", 3.1, embed, count=1)
    path = tmp_path / "memory.jsonl"
    save_memory(path, memory)
    assert load_memory(path) == memory
    assert all(set(json.loads(line)) for line in path.read_text().splitlines())
    save_memory(path, ())
    assert load_memory(path) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"importance": 11}, r"line 2.*'importance' must be in \[0, 10\], got 11"),
        ({"vector": [1.0, "a"]}, r"line 2.*'vector' must be finite numbers"),
        ({"vector": [1.0, 2.0]}, r"line 2.*'vector' has 2 numbers, but the first line has 1"),
        ({"text": " "}, r"line 2.*'text' must be a text"),
        ({"read": -1.0}, r"line 2.*'read' \(-1.0\) is before 'created' \(0.0\)"),
        ({"created": True}, r"line 2.*'created' must be a finite number, got True"),
        ({"mood": 1}, r"line 2.*the keys are .*mood"),
    ],
)
def test_a_damaged_file_is_refused_by_line(tmp_path, changes, message):
    good = {"text": "a", "vector": [1.0], "created": 0.0, "read": 0.0, "importance": 5}
    path = tmp_path / "memory.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good | changes)}\n")
    with pytest.raises(DataError, match=message):
        load_memory(path)


def test_bad_calls_are_refused():
    memory = remember((), ["north"], [5], 4.0, embed)
    with pytest.raises(ConfigError, match=r"now is 3.0 hours, but a memory was read at 4.0"):
        recall(memory, "north", 3.0, embed)
    with pytest.raises(ConfigError, match="count must be a whole number of at least 1, got 0"):
        recall(memory, "north", 5.0, embed, count=0)
    with pytest.raises(ConfigError, match="weights of RecallOptions are all 0"):
        RecallOptions(recency=0.0, importance=0.0, relevance=0.0)
    with pytest.raises(DataError, match=r"array of shape \[1, 3\] for 1 texts, expected \[1, 2\]"):
        recall(memory, "north", 5.0, lambda texts: np.ones((1, 3)))
    with pytest.raises(DataError, match="not finite"):
        remember(memory, ["north"], [5], 4.0, lambda texts: np.full((1, 2), np.nan))


@pytest.mark.parametrize(
    ("texts", "importance", "kind", "message"),
    [
        (["north", "east"], [5], ConfigError, "must have one length, got 2 and 1"),
        (["..."], [5, 5], ConfigError, "must have one length, got 1 and 2"),
        ("...", [5, 5], ConfigError, r"texts must be a list, got '...'; give \['...'\]"),
        (["north"], 5, ConfigError, r"importance must be a list, got 5; give \[5\]"),
        (["north", " "], [5, 5], DataError, r"texts\[1\] must be a text with characters, got ' '"),
        ([None], [5], DataError, r"texts\[0\] must be a text with characters, got None"),
        (["north"], ["x"], DataError, r"importance\[0\] must be a number from 0 to 10, got 'x'"),
        (["north"], [10.5], DataError, r"importance\[0\] must be .* got 10.5"),
    ],
)
def test_what_cannot_be_remembered_is_named_before_it_is_embedded(texts, importance, kind, message):
    def fails(texts):
        raise AssertionError("asked for vectors")

    with pytest.raises(kind, match=message):
        remember((), texts, importance, 0.0, fails)


@pytest.mark.parametrize("shape", [(), (2,), (1, 2), (2, 2, 1)])
def test_vectors_of_a_wrong_shape_are_rejected(shape):
    with pytest.raises(DataError, match=r"for 2 texts, expected \[2, width\]"):
        remember((), ["a", "b"], np.array([5, 5]), 0.0, lambda texts: np.ones(shape))


@pytest.mark.parametrize("now", ["noon", None, float("nan")])
def test_a_time_is_a_number(now):
    with pytest.raises(ConfigError, match="now must be a finite number of hours, got"):
        remember((), ["north"], [5], now, lambda texts: np.ones((len(texts), 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 1.5}, "count must be a whole number of at least 1, got 1.5"),
        ({"question": 5}, "the question must be a text, got 5"),
        ({"now": None}, "now must be a finite number of hours, got None"),
    ],
)
def test_questions_of_other_types_are_named(change, message):
    def embed(texts):
        return np.ones((len(texts), 2))

    asked = {"question": "north", "now": 1.0, "embed": embed} | change
    with pytest.raises(ConfigError, match=message):
        recall(remember((), ["north"], [5], 0.0, embed), **asked)
