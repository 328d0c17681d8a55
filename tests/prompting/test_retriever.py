"""A retriever that learns which demonstrations help."""

import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    Demonstration,
    RetrieverOptions,
    ScriptedModel,
    Verbalizer,
    select,
    tfidf_scores,
    tfidf_vectors,
    train_retriever,
)
from jaxrec.prompting.retriever import score_recalled

F = Verbalizer(query="{input} ->", separator="\n")
TOPICS, STYLES = 8, 3


def make_pool(count, seed):
    """Inputs of a topic and three words of style. Only the topic decides the answer."""
    rng = np.random.default_rng(seed)
    topics = rng.permutation(np.arange(count) % TOPICS)
    styles = rng.integers(STYLES, size=count)
    return [
        Demonstration(f"topic{t} style{s} manner{s} tone{s} id{seed}x{n}", f"y{t}")
        for n, (t, s) in enumerate(zip(topics, styles, strict=True))
    ]


def helpful(prompt, answer):
    """A demonstration helps if its topic is that of the query, whatever its style."""
    *shown, query = prompt.split("\n")
    topic = query.split()[0]
    same = any(text.split()[0] == topic for text in shown)
    return math.log(0.9 if same else 0.2)


MODEL = ScriptedModel(logprob=helpful)


def hits(score, pool, queries):
    """Share of selected demonstrations with the topic of their query."""
    chosen = select(pool, score, [q.input for q in queries], 8)
    return np.mean(
        [
            pool[n].input.split()[0] == query.input.split()[0]
            for row, query in zip(chosen, queries, strict=True)
            for n in row
        ]
    )


def test_the_retriever_finds_what_helps_and_not_what_looks_alike():
    pool, queries = make_pool(96, 1), make_pool(60, 2)
    inputs = [shown.input for shown in pool]
    options = RetrieverOptions(recall=60)
    retriever = train_retriever(MODEL, F, pool, tfidf_vectors(inputs), options)
    # Three words of style outweigh the topic in TF-IDF.
    assert hits(tfidf_scores(inputs), pool, queries) < 0.6
    assert hits(retriever, pool, queries) > 0.8
    assert retriever.losses[-1] < retriever.losses[0] / 2


def test_positives_are_the_best_recalled_and_negatives_the_last():
    pool = make_pool(40, 1)
    options = RetrieverOptions(recall=39, positives=2, negatives=3)
    best, last = score_recalled(MODEL, F, pool, options)
    assert best.shape == (40, 2)
    assert last.shape == (40, 3)
    topics = np.array([shown.input.split()[0] for shown in pool])
    assert (topics[best] == topics[:, None]).all()
    assert (topics[last] != topics[:, None]).all()
    assert (best != np.arange(40)[:, None]).all()


def test_only_recalled_demonstrations_are_scored():
    model = ScriptedModel(logprob=helpful)
    options = RetrieverOptions(recall=10)
    score_recalled(model, F, make_pool(30, 1), options)
    assert len(model.calls) == 30 * (10 + 1)


def test_the_same_seed_gives_the_same_retriever():
    pool = make_pool(30, 1)
    encode = tfidf_vectors([shown.input for shown in pool])
    options = RetrieverOptions(recall=20, epochs=1)
    one, two = (train_retriever(MODEL, F, pool, encode, options)(["topic1"]) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_too_small_a_pool_is_refused_before_the_model_is_asked():
    model = ScriptedModel()
    with pytest.raises(ConfigError, match="recall is 50, and the pool has 29"):
        train_retriever(model, F, make_pool(30, 1), tfidf_vectors(["topic1"]))
    assert not model.calls


def test_recall_must_hold_positives_and_negatives():
    with pytest.raises(ConfigError, match="fewer than 5 positives and 5 negatives"):
        RetrieverOptions(recall=9)


def test_vectors_of_another_shape_are_refused():
    options = RetrieverOptions(recall=20, epochs=1)
    with pytest.raises(DataError, match="one finite vector to each of 30 texts"):
        train_retriever(MODEL, F, make_pool(30, 1), lambda texts: np.zeros((1, 2)), options)
