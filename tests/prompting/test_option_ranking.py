"""Rank classification, against a table of probabilities that is counted by hand."""

import itertools
import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import (
    Demonstration,
    ScriptedModel,
    Verbalizer,
    calibrate,
    content_free_scores,
    option_probabilities,
    score_options,
)

# P(next word | last word) of a language of three words, in which every prompt ends with a word.
TABLE = {
    "a": {"a": 0.5, "b": 0.3, "c": 0.2},
    "b": {"a": 0.1, "b": 0.1, "c": 0.8},
    "c": {"a": 0.6, "b": 0.3, "c": 0.1},
}


def logprob(prompt, continuation):
    """Log-probability of a continuation, by the chain rule."""
    words = [prompt.split()[-1], *continuation.split()]
    return math.fsum(math.log(TABLE[x][y]) for x, y in itertools.pairwise(words))


MODEL = ScriptedModel(logprob=logprob)
OPTIONS = [" a", " b c", " c a b"]


def probability(prompt, option):
    """Multiply the table's probabilities."""
    product, last = 1.0, prompt.split()[-1]
    for word in option.split():
        product, last = product * TABLE[last][word], word
    return product


def test_sums_are_the_probabilities_of_the_table():
    scores = score_options(MODEL, ["a", "x b", "c"], OPTIONS)
    expected = [[probability(p, o) for o in OPTIONS] for p in ("a", "b", "c")]
    np.testing.assert_allclose(np.exp(scores), expected)


def test_the_mean_is_the_geometric_mean_of_a_words_probability():
    scores = score_options(MODEL, ["b"], OPTIONS, "mean")
    expected = [[probability("b", o) ** (1 / len(o.split())) for o in OPTIONS]]
    np.testing.assert_allclose(np.exp(scores), expected)


def test_length_normalization_changes_the_answer():
    # P(a | b) = .1 and P(c a b | b) = .8 x .6 x .3 = .144; P(b c | b) = .08, a mean of .283.
    assert score_options(MODEL, ["b"], OPTIONS[:2]).argmax() == 0
    assert score_options(MODEL, ["b"], OPTIONS[:2], "mean").argmax() == 1


def test_pmi_is_the_ratio_to_the_neutral_prompt():
    scores = score_options(MODEL, ["b", "a"], OPTIONS, "pmi", neutral="c")
    expected = [[probability(p, o) / probability("c", o) for o in OPTIONS] for p in ("b", "a")]
    np.testing.assert_allclose(np.exp(scores), expected)


def test_pmi_of_the_neutral_prompt_itself_is_zero():
    np.testing.assert_allclose(score_options(MODEL, ["c"], OPTIONS, "pmi", neutral="c"), 0.0)


def test_no_prompts_have_no_scores():
    assert score_options(MODEL, [], OPTIONS).shape == (0, 3)


def test_calibration_is_the_affine_map_of_the_paper():
    scores = score_options(MODEL, ["a", "b", "c"], OPTIONS)
    free = np.log(np.array([0.7, 0.2, 0.1]))
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    weights = np.linalg.inv(np.diag([0.7, 0.2, 0.1]))
    expected = (weights @ chances.T).T
    found = calibrate(scores, free)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    # Equal up to a factor of each row.
    ratio = np.exp(found) / expected
    np.testing.assert_allclose(ratio, np.tile(ratio[:, :1], 3))


def test_calibration_makes_content_free_inputs_indifferent():
    scores = np.log([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(option_probabilities(calibrate(scores, scores[0])), 1 / 3)


def test_each_prompt_can_have_its_own_calibration():
    scores = np.log([[0.6, 0.4], [0.6, 0.4]])
    free = np.log([[0.5, 0.5], [0.9, 0.1]])
    assert calibrate(scores, free).argmax(axis=1).tolist() == [0, 1]


def test_content_free_scores_average_normalized_probabilities():
    f = Verbalizer(query="{input} :", separator="\n")
    shares = {"N/A": (0.2, 0.1), "": (0.3, 0.3)}

    def biased(prompt, option):
        content = prompt.split("\n")[-1].removesuffix(":").strip()
        return math.log(shares[content][option == " no"])

    model = ScriptedModel(logprob=biased)
    shown = [Demonstration("x", "yes")]
    found = content_free_scores(model, f, shown, [" yes", " no"], contents=("N/A", ""))
    np.testing.assert_allclose(np.exp(found), [(2 / 3 + 1 / 2) / 2, (1 / 3 + 1 / 2) / 2])
    assert all(call.prompt.startswith("x : yes\n") for call in model.calls)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"options": [" a"]}, "at least two different"),
        ({"options": [" a", " a"]}, "at least two different"),
        ({"options": "ab"}, "at least two different"),
        ({"by": "product"}, "by must be one of"),
        ({"by": "pmi"}, "do not fit"),
        ({"neutral": "c"}, "do not fit"),
        ({"prompts": "a"}, "prompts must be a list of texts, got one"),
    ],
)
def test_unusable_options_are_refused(settings, message):
    whole = {"model": MODEL, "prompts": ["a"], "options": OPTIONS} | settings
    with pytest.raises(ConfigError, match=message):
        score_options(**whole)


def test_contents_are_needed():
    with pytest.raises(ConfigError, match="contents must be a list"):
        content_free_scores(MODEL, Verbalizer(), [], OPTIONS, contents=())


@pytest.mark.parametrize(
    ("free", "message"), [([0.0], "are needed"), ([0.0, -np.inf], "has no chance")]
)
def test_unusable_calibrations_are_refused(free, message):
    with pytest.raises(DataError, match=message):
        calibrate(np.zeros((1, 2)), np.array(free))


def test_scores_that_are_no_numbers_are_never_compared():
    broken = ScriptedModel(logprob=lambda prompt, option: np.nan if option == " b" else -1.0)
    with pytest.raises(
        DataError, match="continuation 1 after the prompt that ends with 'Q:' is not"
    ):
        score_options(broken, ["Q:"], [" a", " b"])
    with pytest.raises(DataError, match="2 scores of options are not numbers"):
        calibrate(np.array([[np.nan, np.nan]]), np.zeros(2))


def test_an_option_without_a_chance_ranks_last_and_cannot_be_neutral():
    closed = ScriptedModel(logprob=lambda prompt, option: -np.inf if option == " b" else -1.0)
    assert score_options(closed, ["Q:"], [" a", " b"]).tolist() == [[-1.0, -np.inf]]
    with pytest.raises(DataError, match="has no chance"):
        score_options(closed, ["Q:"], [" a", " b"], "pmi", neutral="A:")
