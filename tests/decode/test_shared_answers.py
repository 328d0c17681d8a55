"""Questions that share their beginning get the answers of whole questions."""

import dataclasses

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data import TokenRows
from jaxrec.decode import answer_gaps, shared_answer_gaps
from jaxrec.models import ModelSpec
from jaxrec.testing import random_params, tiny_model

SHAPES = {
    "plain": {},
    "windows": {"window": 4, "global_every": 2, "depth": 2},
    "relative": {"positions": "relative"},
}
ANSWERS = (5, 9)


def questions(rng, groups, vocab):
    """Rows of different lengths; those of a group begin alike."""
    heads = {group: rng.integers(3, vocab, rng.integers(2, 30)) for group in set(groups)}
    texts = [
        np.concatenate([heads[group], rng.integers(3, vocab, rng.integers(1, 9))])
        for group in groups
    ]
    width = max(map(len, texts)) + 1
    tokens = np.zeros((len(texts), width), np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    answer = np.array([len(text) for text in texts], np.int32)
    valid = np.arange(width) <= answer[:, None]
    return TokenRows(tokens=tokens, valid=valid, weights=valid, answer=answer)


@pytest.mark.variants(2)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("virtual", [0, 3])
def test_gaps_are_those_of_whole_questions(shape, virtual):
    config = dataclasses.replace(tiny_model(24), **SHAPES[shape])
    model = ModelSpec("causal", config).build()
    rng, params = np.random.default_rng(0), random_params(model, scale=0.5)
    if virtual:
        prompt = rng.normal(size=(virtual, config.width)).astype(np.float32)
        params = {**params, "tuned": {"embedding": {"prompt": prompt}}}
    groups = [7] * 9 + [2] * 4 + [5] * 2 + [7] * 3 + [4]
    rows = questions(rng, groups, 24)
    whole = rows.with_virtual(config.vocab_size, virtual)
    wanted = answer_gaps(model, params, whole, ANSWERS, batch_size=4)
    found = shared_answer_gaps(model, params, rows, np.array(groups), ANSWERS, batch_size=4)
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_questions_that_are_one_another_s_beginning():
    model = ModelSpec("causal", tiny_model(24)).build()
    params = random_params(model, scale=0.5)
    tokens = np.tile(np.arange(3, 11, dtype=np.int32), (5, 1))
    answer = np.array([3, 4, 5, 6, 3], np.int32)
    rows = TokenRows(tokens=tokens, valid=tokens > 0, weights=tokens > 0, answer=answer)
    found = shared_answer_gaps(model, params, rows, np.zeros(5, int), ANSWERS)
    np.testing.assert_allclose(found, answer_gaps(model, params, rows, ANSWERS), atol=1e-4)
    with pytest.raises(ConfigError, match="3 groups for 5 questions"):
        shared_answer_gaps(model, params, rows, np.zeros(3, int), ANSWERS)
