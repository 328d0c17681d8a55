"""Answers to prompts against brute force: every answer scored by a full forward pass."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import add_id_tokens, train_unigram
from jaxrec.data.encoded_prompts import encode_texts
from jaxrec.decode import (
    Answers,
    Prompts,
    Request,
    SearchOptions,
    choose_answers,
    score_answers,
    score_candidates,
    write_answers,
)
from jaxrec.ids import ItemCodes
from jaxrec.models import EncoderDecoder
from jaxrec.testing import random_params, tiny_model

TEXTS = ("yes", "no", "maybe yes", "item 12", "item 1", "item 123")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    tokenizer: object
    model: EncoderDecoder
    params: object
    tokens: np.ndarray
    valid: np.ndarray

    @property
    def prompts(self):
        return Prompts(tokens=self.tokens, valid=self.valid)


@pytest.fixture(scope="module")
def case():
    tokenizer = train_unigram([*TEXTS, "ask me now", "what is it ?"], 400, words=["yes"])
    add_id_tokens(tokenizer, (3, 4))
    model = EncoderDecoder(tiny_model(len(tokenizer)))
    # Large enough that probabilities differ, small enough that no answer is certain.
    params = random_params(model, scale=0.3)
    tokens, valid = encode_texts(
        tokenizer, ["ask me now", "what is it ?", "now", "is it me ?", "no"]
    )
    return Case(tokenizer=tokenizer, model=model, params=params, tokens=tokens, valid=valid)


def _options(beams):
    return SearchOptions(beams=beams, normalize="vocabulary")


def _brute_force(case, rows):
    """Log-probability of each row of tokens, up to its end, after each prompt."""
    apply = jax.jit(case.model.apply)
    found = np.zeros((len(case.tokens), len(rows)))
    longest = max(map(len, rows))
    for a, row in enumerate(rows):
        read = [0, *row[:-1], *[0] * (longest - len(row))]
        written = jnp.asarray([read] * len(case.tokens), jnp.int32)
        logits = apply(case.params, case.tokens, case.valid, written, written >= 0)
        logs = jax.nn.log_softmax(logits, axis=-1)
        found[:, a] = sum(np.asarray(logs[:, t, token]) for t, token in enumerate(row))
    return found


def test_every_text_has_its_probability(case):
    answers = Answers.of_texts(case.tokenizer, TEXTS, len(case.tokenizer))
    found = score_answers(case.model, case.params, answers, case.prompts, batch_size=2)
    ends = [case.tokenizer(text)["input_ids"] for text in TEXTS]
    length = max(map(len, ends))
    assert len({len(row) for row in ends}) > 1
    # Shorter texts are filled with the end token, which costs nothing.
    rows = [[*row, *[case.tokenizer.eos_token_id] * (length - len(row))] for row in ends]
    np.testing.assert_array_equal(answers.tokens, rows)
    np.testing.assert_allclose(found, _brute_force(case, ends), atol=1e-4)


def test_the_best_ids_are_those_of_brute_force(case):
    codes = np.array([[0, 1], [0, 3], [1, 0], [2, 2], [2, 3]], np.int32)
    first = len(case.tokenizer) - 7
    answers = Answers.of_codes(ItemCodes(codes=codes, sizes=(3, 4), scheme="random"), first)
    rows = codes + np.array([[first, first + 3]])
    np.testing.assert_array_equal(answers.tokens, rows)
    scores = _brute_force(case, rows.tolist())
    ask = (case.model, case.params, answers, case.prompts)
    items, found = choose_answers(*ask, _options(5))
    np.testing.assert_array_equal(items, np.argsort(-scores, axis=1))
    np.testing.assert_allclose(found, -np.sort(-scores, axis=1), atol=1e-4)

    barred = [items[row, :2] for row in range(len(items))]
    left, _ = choose_answers(*ask, _options(4), Request.excluding(barred))
    np.testing.assert_array_equal(left[:, :3], items[:, 2:])
    assert (left[:, 3] == -1).all()

    allowed = np.zeros((len(items), 5), bool)
    np.put_along_axis(allowed, items[:, 1:4], True, axis=1)
    kept, _ = choose_answers(*ask, _options(3), Request(allowed=allowed))
    np.testing.assert_array_equal(kept, items[:, 1:4])


def test_candidates_of_each_prompt_have_the_probabilities_of_brute_force(case):
    answers = Answers.of_texts(case.tokenizer, TEXTS, len(case.tokenizer))
    ends = [case.tokenizer(text)["input_ids"] for text in TEXTS]
    assert answers.lengths.tolist() == [len(row) for row in ends]
    every = _brute_force(case, ends)
    # More candidates than one row holds, some of them twice.
    rng = np.random.default_rng(0)
    candidates = rng.integers(len(TEXTS), size=(len(case.tokens), 60))
    ask = (case.model, case.params, answers, case.prompts)
    found = score_candidates(*ask, candidates, batch_size=4)
    np.testing.assert_allclose(found, np.take_along_axis(every, candidates, axis=1), atol=1e-4)

    # What is written before an answer is a condition: P(b | a) = P(a b) / P(a).
    before = [case.tokenizer(text)["input_ids"][:-1] for text in ("no", "yes", "me", "it", "no")]
    # One call for all rows, because each length is compiled.
    table = _brute_force(case, [*before, *([*own, *row] for own in before for row in ends)])
    places, size = np.arange(len(before)), len(ends)
    alone = table[places, places]
    both = table[:, len(before) :].reshape(len(before), len(before), size)[places, places]
    order = np.tile(np.arange(len(TEXTS)), (len(before), 1))
    found = score_candidates(*ask, order, written=before, batch_size=4)
    np.testing.assert_allclose(found, both - alone[:, None], atol=1e-4)

    codes = np.array([[0, 1], [0, 3], [1, 0]], np.int32)
    first = len(case.tokenizer) - 7
    ids = Answers.of_codes(ItemCodes(codes=codes, sizes=(3, 4), scheme="random"), first)
    assert ids.lengths.tolist() == [2, 2, 2]
    found = score_candidates(case.model, case.params, ids, case.prompts, order[:, :3])
    rows = codes + np.array([[first, first + 3]])
    np.testing.assert_allclose(found, _brute_force(case, rows.tolist()), atol=1e-4)


def test_candidates_that_are_no_answers_or_of_other_prompts_are_refused(case):
    answers = Answers.of_texts(case.tokenizer, TEXTS, len(case.tokenizer))
    ask = (case.model, case.params, answers, case.prompts)
    with pytest.raises(DataError, match="candidates"):
        score_candidates(*ask, np.full((5, 2), len(TEXTS)))
    with pytest.raises(DataError, match="candidates"):
        score_candidates(*ask, np.full((5, 2), -1))
    with pytest.raises(ConfigError, match="5 prompts"):
        score_candidates(*ask, np.zeros((4, 2), int))
    with pytest.raises(ConfigError, match="2 of written tokens"):
        score_candidates(*ask, np.zeros((5, 2), int), written=[[1], [2]])


def test_a_free_search_that_is_wide_enough_ranks_answers_as_brute_force_does():
    codes = np.array([[0, 1], [0, 2], [1, 0], [1, 1], [1, 2]], np.int32)
    answers = Answers.of_codes(ItemCodes(codes=codes, sizes=(2, 3), scheme="random"), 2)
    model = EncoderDecoder(tiny_model(7))
    params = random_params(model, scale=0.3)
    tokens = np.random.default_rng(0).integers(2, 7, (4, 6)).astype(np.int32)
    case = Case(tokenizer=None, model=model, params=params, tokens=tokens, valid=tokens > 0)
    scores = _brute_force(case, [[*row, 1] for row in answers.tokens.tolist()])
    # There are fewer than 343 texts of up to three tokens of 7, so none is ever dropped.
    ask = (model, params, answers, case.prompts)
    free = write_answers(*ask, beams=343, end=1, batch_size=3)
    for row, order in zip(free, np.argsort(-scores, axis=1), strict=True):
        assert row[row >= 0].tolist() == order.tolist()
    # What the trie finds is ranked without the end token, which is no choice there.
    items, _ = choose_answers(*ask, _options(5))
    inside = _brute_force(case, answers.tokens.tolist())
    np.testing.assert_array_equal(items, np.argsort(-inside, axis=1))
    narrow = write_answers(*ask, beams=4, end=1)
    assert narrow.shape == (4, 4) and narrow.min() >= -1


def test_texts_are_looked_up_to_their_end(case):
    answers = Answers.of_texts(case.tokenizer, TEXTS, len(case.tokenizer))
    tokens = np.stack([answers.tokens[3], answers.tokens[4], answers.tokens[0] + 1])
    assert answers.look_up(tokens, np.full(3, tokens.shape[1]), 1).tolist() == [3, 4, -1]
    # Cut before its end, "item 12" would be another text.
    cut = answers.tokens[5].tolist().index(1)
    assert answers.look_up(tokens[:1], np.array([cut - 1]), 1).tolist() != [5]


def test_equal_texts_and_too_many_beams_are_refused(case):
    with pytest.raises(DataError):
        Answers.of_texts(case.tokenizer, ["yes", "yes"], len(case.tokenizer))
    answers = Answers.of_texts(case.tokenizer, TEXTS, len(case.tokenizer))
    with pytest.raises(ConfigError, match="between 1 and the 6 answers, got 7"):
        choose_answers(case.model, case.params, answers, case.prompts, _options(7))
