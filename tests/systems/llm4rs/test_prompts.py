"""Prompts of LLM4RS, word by word, and demonstrations as published."""

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.systems.llm4rs import FORMS, PromptConfig, Prompter, clean_title
from jaxrec.texts import Datum

TITLES = [f"T{n}" for n in range(12)]
ONE = Datum(history=np.array([0, 1]), candidates=np.array([2, 3, 4]), item=3)
POOL = [
    Datum(history=np.array([5]), candidates=np.array([6 + n, 7 + n, 8 + n]), item=7 + n)
    for n in range(4)
]


def prompter(pool=(), **settings):
    return Prompter(config=PromptConfig(**settings), titles=TITLES, pool=pool)


def test_each_form_asks_about_every_candidate():
    shown = "Input: A user watched and liked these movies, oldest first: T0, T1. "
    plain = prompter(role=False)
    assert plain.prompts("point", ONE) == [
        f"{shown}How does the user rate T{n}, from 1 (worst) to 5 (best)?\nOutput: The rating is"
        for n in (2, 3, 4)
    ]
    assert plain.prompts("list", ONE) == [
        f"{shown}Rank these candidates, best first: (A) T2 (B) T3 (C) T4\n"
        "Output: The answer index is"
    ]
    pairs = {frozenset(places) for places in plain.places("pair", ONE)}
    assert pairs == {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}
    for text, (a, b) in zip(plain.prompts("pair", ONE), plain.places("pair", ONE), strict=True):
        assert f"(A) T{2 + a} or (B) T{2 + b}?\n" in text


def test_pairs_of_five_name_each_candidate_first_about_as_often():
    five = Datum(candidates=np.arange(5), item=0)
    places = prompter().places("pair", five)
    assert len(places) == 10
    assert np.bincount([a for a, _ in places], minlength=5).tolist() == [2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("movies", ("You recommend movies.", "watched and liked these movies")),
        ("books", ("You recommend books.", "read and liked these books")),
        ("music", ("You recommend albums.", "listened to and liked these albums")),
        ("news", ("You recommend news stories.", "read and liked these news stories")),
    ],
)
def test_a_domain_changes_the_words_of_all_forms(domain, words):
    for form in FORMS:
        text = prompter(domain=domain).prompts(form, ONE)[0]
        assert all(word in text for word in words)


def test_ratings_of_demonstrations_are_the_published_ones_and_fit_their_item():
    for demonstrations, ratings in ((1, [3]), (2, [1, 5]), (3, [1, 3, 5]), (4, [1, 2, 4, 5])):
        text = prompter(POOL, demonstrations=demonstrations).begin("point")
        shown = [line for line in text.split("\n") if line.startswith("Output")]
        assert shown == [f"Output: The rating is {rating}." for rating in ratings]
        asked = [line for line in text.split("\n") if line.startswith("Input")]
        for line, rating, datum in zip(asked, ratings, POOL, strict=False):
            assert (f"rate {TITLES[datum.item]}," in line) == (rating > 3)


def test_pair_and_list_demonstrations_show_the_target_first():
    pairs = prompter(POOL, demonstrations=4).begin("pair")
    letters = [line[-2] for line in pairs.split("\n") if line.startswith("Output")]
    assert letters == ["A", "B", "A", "B"]
    asked = [line for line in pairs.split("\n") if line.startswith("Input")]
    for line, letter, datum in zip(asked, letters, POOL, strict=True):
        assert f"({letter}) {TITLES[datum.item]}" in line
    lists = prompter(POOL, demonstrations=2).begin("list")
    for line in lists.split("\n"):
        if line.startswith("Output"):
            order = line.removeprefix("Output: The answer index is ").rstrip(".").split()
            assert order[0] == "B" and sorted(order) == ["A", "B", "C"]


def test_a_query_follows_role_and_demonstrations():
    many = prompter(POOL, demonstrations=2)
    (text,) = many.prompts("list", ONE)
    assert text.startswith("You recommend movies.\nInput: ") and text.count("Input: ") == 3
    assert text.endswith(many.query("list", ONE, (0, 1, 2)))
    with pytest.raises(DataError, match="2 demonstrations need as many instances"):
        prompter(POOL[:1], demonstrations=2)


def test_a_training_text_is_the_query_with_its_answer_marked():
    quoted = prompter(quoted=True)
    text = quoted.text("pair", ONE, (0, 2), "B")
    assert text.text == "You recommend movies.\n" + quoted.query("pair", ONE, (0, 2)) + " B"
    assert text.answers == [" B"] and '"T2"' in text.text


def test_the_fixed_pieces_and_the_titles_make_up_a_prompt():
    quoted = prompter(quoted=True)
    for form in FORMS:
        (text, *_) = quoted.prompts(form, ONE)
        for piece in quoted.pieces(form):
            assert piece in text
            text = text.replace(piece, "", 1)
        for word in ('"T0"', '"T1"', '"T2"', '"T3"', '"T4"', "(A)", "(B)", "(C)", ",", " "):
            text = text.replace(word, "")
        assert text == ""


@pytest.mark.parametrize(
    ("title", "clean"),
    [
        ("Usual Suspects, The (1995)", "The Usual Suspects"),
        ("Usual Suspects, The", "The Usual Suspects"),
        ("Fish Called Wanda, A (1988)", "A Fish Called Wanda"),
        ("American in Paris, An", "An American in Paris"),
        ("Good, the Bad, Thecla", "Good, the Bad, Thecla"),
        ("(1995)", "(1995)"),
        ("Alien", "Alien"),
    ],
)
def test_titles_lose_the_year_and_get_their_article_back(title, clean):
    assert clean_title(title) == clean
