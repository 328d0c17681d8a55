"""Parsers of ratings, letters and orderings, on random answers and on known ones."""

import itertools
import math

import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.texts import (
    LETTERS,
    order_scores,
    read_choice,
    read_order,
    read_rating,
    without_lead,
)

COUNTS = st.integers(2, 8)
NOISE = st.text(alphabet="ABCDE ()>,.-:15", max_size=14)


@settings(deadline=None)
@given(st.data(), COUNTS, st.sampled_from(["", " ", ",", ", ", " > ", "-", "\n"]), st.booleans())
def test_every_permutation_is_read_however_it_is_written(data, count, separator, brackets):
    order = data.draw(st.permutations(range(count)))
    letters = [f"({LETTERS[n]})" if brackets else LETTERS[n] for n in order]
    text = separator.join(letters)
    assert read_order(f"  {text}. ", count) == tuple(order)
    assert read_order(f"The answer index is {text}", count, lead="the answer index is") == tuple(
        order
    )


@settings(deadline=None)
@given(st.lists(st.sampled_from(LETTERS[:6]), max_size=8), COUNTS)
def test_an_ordering_is_legal_exactly_if_it_is_a_permutation(letters, count):
    legal = sorted(letters) == list(LETTERS[:count])
    read = read_order(" ".join(letters), count)
    assert (read is not None) == legal
    if legal:
        assert [LETTERS[n] for n in read] == letters


@settings(deadline=None)
@given(NOISE, COUNTS)
def test_noise_gives_a_permutation_or_nothing(text, count):
    read = read_order(text, count)
    assert read is None or sorted(read) == list(range(count))
    # What stands between letters never adds or removes one.
    if read is not None:
        assert [LETTERS.index(c) for c in text if c in LETTERS] == list(read)


@pytest.mark.parametrize(
    "text", ["A A E E C", "A B C D", "A B C D E F", "a b c d e", "", "A,,B,C,D,E", "A B C D E,"]
)
def test_what_is_no_permutation_of_five_is_illegal(text):
    assert read_order(text, 5) is None


@settings(deadline=None)
@given(st.integers(0, 25), COUNTS)
def test_a_letter_is_read_if_it_is_on_offer(number, count):
    for text in (LETTERS[number], f"({LETTERS[number]})", f" {LETTERS[number]}.\n"):
        assert read_choice(text, count) == (number if number < count else None)


@settings(deadline=None)
@given(st.integers(0, 999))
def test_a_rating_is_the_number_that_is_written_or_nothing(tenths):
    text = f"{tenths / 10:.1f}"
    expected = tenths / 10 if 10 <= tenths <= 50 else None
    assert read_rating(text) == expected
    assert read_rating(f"The rating is: {text} stars.", lead="The rating is") == expected


@pytest.mark.parametrize(
    "text", ["35", "-1", "4/5", "4 or 5", "four", "", "3,5", "nan", "inf", "4 4", "1e0", "٤"]
)
def test_what_is_no_rating_is_illegal(text):
    assert read_rating(text) is None


def test_half_a_star_stays_half_a_star():
    assert read_rating("3.5") == 3.5


def test_no_answer_is_legal_in_two_forms_by_accident():
    for pair in itertools.product("AB", repeat=2):
        assert read_choice("".join(pair), 2) is None


@settings(deadline=None)
@given(st.permutations(range(5)))
def test_scores_of_an_ordering_sort_back_into_it(order):
    scores = order_scores(order, 5)
    assert sorted(range(5), key=lambda n: -scores[n]) == list(order)
    assert len(set(scores)) == 5 and all(map(math.isfinite, scores))


def test_a_lead_is_removed_once_and_only_from_the_beginning():
    assert without_lead("Answer: Answer", "answer") == "Answer"
    assert without_lead("My answer", "answer") == "My answer"
