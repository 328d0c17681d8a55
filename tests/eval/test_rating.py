"""Ratings parsed from texts, rating errors and text metrics, against libraries and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from jaxrec.core import DataError
from jaxrec.eval import bleu, parse_ratings, rating_errors, rouge, says


def test_what_is_no_rating_counts_with_the_default_and_five_stars_count():
    texts = ["4.2", "5.0", " 3 stars", "1", "4.", "", "five", "6", "0.9", "4 of 5", "-2"]
    found = parse_ratings(texts, default=3.5)
    assert found.parsed.tolist() == [True] * 5 + [False] * 6
    assert found.values.tolist() == [4.2, 5.0, 3.0, 1.0, 4.0] + [3.5] * 6


@given(st.text(max_size=8))
def test_any_text_gives_a_rating_of_the_scale(text):
    found = parse_ratings([text], default=2.5)
    assert 1.0 <= found.values[0] <= 5.0
    assert bool(found.parsed[0]) or found.values[0] == 2.5


def test_errors_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(1, 6, 50).astype(np.float32), rng.uniform(1, 5, 50)
    found = rating_errors(guess, truth)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth, guess))
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, guess))
    with pytest.raises(DataError, match="1 rating errors are not finite"):
        rating_errors(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(DataError, match="predicted ratings"):
        rating_errors(np.array([]), np.array([]))


TEXTS = ["the cat sat on the mat today", "a good film with drama", "no", "many many words here now"]
WANTED = ["the cat is on the mat", "a very good film with much drama", "yes", "many words now"]


def test_bleu_of_a_corpus_by_hand():
    # Two-grams: "a b", "b c" of 2 found, "x y" not; one-grams 3 and 0; brevity exp(1 - 6/5).
    texts, wanted = ["a b c", "x y"], ["a b c d", "v w"]
    expected = math.exp(1 - 6 / 5) * math.sqrt(3 / 5 * 2 / 3)
    assert bleu(texts, wanted, 2) == pytest.approx(expected)
    assert bleu(["a b"], ["c d"], 2) == 0
    assert bleu(["a b c d"], ["a b c d"]) == pytest.approx(1)
    # A word counts as often as the reference has it.
    assert bleu(["the the the"], ["the cat"], 1) == pytest.approx(1 / 3)


def test_bleu_equals_sacrebleu():
    import sacrebleu

    rng = np.random.default_rng(1)
    words = np.array(["a", "b", "c", "d", "e"])
    texts = [" ".join(rng.choice(words, rng.integers(4, 9))) for _ in range(30)]
    wanted = [" ".join(rng.choice(words, rng.integers(4, 9))) for _ in range(30)]
    theirs = sacrebleu.corpus_bleu(texts, [wanted], tokenize="none", smooth_method="none").score
    assert 100 * bleu(texts, wanted) == pytest.approx(theirs)


def test_rouge_by_hand():
    # Common words 2 of 3 and of 4; common pairs none; longest common subsequence "a c".
    found = rouge(["a x c"], ["a b c d"])
    assert found["rouge1"] == found["rougeL"] == pytest.approx(2 * 2 / 7)
    assert found["rouge2"] == 0
    both = rouge(["a x c", "p q"], ["a b c d", "p q"])
    assert both["rouge1"] == pytest.approx((2 * 2 / 7 + 1) / 2)
    assert rouge(["b a"], ["a b"])["rougeL"] == pytest.approx(0.5)


def test_rouge_equals_rouge_score():
    from rouge_score import rouge_scorer

    names = ["rouge1", "rouge2", "rougeL"]
    theirs = rouge_scorer.RougeScorer(names)
    rows = [theirs.score(wanted, text) for text, wanted in zip(TEXTS, WANTED, strict=True)]
    for name in names:
        expected = np.mean([row[name].fmeasure for row in rows])
        assert rouge(TEXTS, WANTED)[name] == pytest.approx(expected)


def test_a_text_says_a_word_only_as_a_word_of_its_own():
    assert says(["A Warm film", "warmth", "so warm ."], ["warm"] * 3).tolist() == [
        True,
        False,
        True,
    ]
