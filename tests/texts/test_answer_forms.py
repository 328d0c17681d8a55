"""Forms accept what obeys them, repair what models usually write, and add nothing of their own."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.texts import (
    Grounding,
    Illegal,
    candidate_list_form,
    rating_form,
    sentence_form,
    title_list_form,
    word_form,
)

TITLES = ["Alien (1979)", "Alien 3 (1992)", "Heat (1995)", "Cats, The (1990)", "Cold, Dark (1980)"]
FILMS = Grounding(TITLES)
CANDIDATES = np.array([0, 1, 3, 4])


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("4", 4.0),
        ("3.5", 3.5),
        ("4 stars.", 4.0),
        ("My rating: 4/5", 4.0),
        ("They would give it Four stars!", 4.0),
        ("I rate it 4 out of 5.", 4.0),
        ("between 3 and 4", None),
        ("35", None),
        ("-4", None),
        ("The Silence of the Lambs (1", None),
        ("1980s films are great", None),
        ("", None),
    ],
)
def test_a_rating_is_the_one_number_of_the_scale(text, rating):
    found = rating_form().repair(text)
    assert (None if isinstance(found, Illegal) else found) == rating


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. The Cats\n2. Alien", [3, 0]),
        ("['Alien 3', 'Alien']", [1, 0]),
        ("Here is my list:\n1. Alien 3\n2. Cold, Dark\nEnjoy!", [1, 4]),
        ("1. Allien 3\n2. Heat\n3. alien 3", [1]),
        ("I would pick Alien 3 and then the cats.", [1, 3]),
        ("1. Alien\n2. Alien 3\n3. Cats\n4. Cold, Dark", [0, 1, 3]),
        ("Nothing suits them.", None),
        ("", None),
    ],
)
def test_a_list_of_candidates(text, items):
    found = candidate_list_form(FILMS, CANDIDATES, 3).repair(text)
    assert (None if isinstance(found, Illegal) else found.tolist()) == items


def test_faults_say_what_is_wrong():
    form = candidate_list_form(FILMS, CANDIDATES, 2)
    assert form.read("Heat").fault == "'Heat' is no candidate"
    assert form.read("Alien\nalien").fault == "'alien' is there twice"
    assert form.read("Alien\nCats\nAlien 3").fault == "it has 3 titles, and at most 2 are wanted"
    assert title_list_form(2).read("x" * 200).fault.endswith("is no title")
    assert sentence_form(2).read("one two three").fault == "it has more than 2 words"
    assert sentence_form(2).read(" \n").fault == "it is empty"
    twins = candidate_list_form(Grounding(["Kiss", "Kiss"]), np.array([0, 1]), 2)
    assert twins.read("kiss").fault == "'kiss' means several candidates"
    with pytest.raises(ConfigError, match="at least 1 title"):
        title_list_form(0)
    with pytest.raises(ConfigError, match="two or more different words"):
        word_form(("yes", "Yes"))


@given(st.lists(st.sampled_from(range(5)), min_size=1, max_size=6), st.integers(1, 4))
@settings(deadline=None)
def test_a_list_is_legal_where_it_is_of_different_candidates_and_short(items, most):
    text = "\n".join(f"{place}. {TITLES[item]}" for place, item in enumerate(items, 1))
    form = candidate_list_form(FILMS, CANDIDATES, most)
    legal = len(set(items)) == len(items) <= most and set(items) <= set(CANDIDATES.tolist())
    read = form.read(text)
    assert isinstance(read, Illegal) != legal
    if legal:
        assert read.tolist() == items
    # Repair keeps the order of what is right, and says nothing new.
    wanted = [item for item in dict.fromkeys(items) if item in CANDIDATES][:most]
    repaired = form.repair(text)
    assert isinstance(repaired, Illegal) != bool(wanted)
    if wanted:
        assert repaired.tolist() == wanted


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_has_a_fault_and_repair_keeps_what_is_legal(text):
    forms = (
        rating_form(),
        word_form(("yes", "no")),
        sentence_form(3),
        title_list_form(3),
        candidate_list_form(FILMS, CANDIDATES, 3),
    )
    for form in forms:
        read, repaired = form.read(text), form.repair(text)
        if isinstance(read, Illegal):
            assert read.fault
        else:
            assert str(read) == str(repaired)
        if isinstance(repaired, np.ndarray):
            assert 0 < len(set(repaired.tolist())) == len(repaired) <= 3
            assert np.isin(repaired, CANDIDATES).all()
