"""Titles in different spellings are one title, and different titles stay apart."""

import pytest
from hypothesis import given, strategies as st

from jaxrec.eval import invented_titles, natural_title, plain_title, split_year, without_brackets


@pytest.mark.parametrize(
    ("written", "catalogued"),
    [
        ("The Shawshank Redemption", "Shawshank Redemption, The (1994)"),
        ("the  shawshank redemption (1994)", "Shawshank Redemption, The (1994)"),
        ("La Haine", "Haine, La (1995)"),
        ("L'Appartement", "Appartement, L' (1996)"),
        ("Amélie", "Amelie (2001)"),
        ("Sense & Sensibility", "Sense and Sensibility (1995)"),
        ("“Schindler’s List”", "Schindler's List (1993)"),
        ("City of Lost Children", "City of Lost Children, The (1995)"),
        ("The The", "the the"),
    ],
)
def test_spellings_of_one_title_are_equal(written, catalogued):
    assert plain_title(written) == plain_title(catalogued)
    assert invented_titles([written], [catalogued]) == [False]


def test_titles_that_only_look_alike_stay_apart():
    titles = ["Alien", "Aliens", "Alien 3", "The Thing", "That Thing You Do!", "A", "The", "$"]
    assert len({plain_title(title) for title in titles}) == len(titles)


def test_a_bracket_keeps_its_article_out_of_the_title_before_it():
    title = "City of Lost Children, The (Cité des enfants perdus, La) (1995)"
    assert natural_title(title) == (
        "The City of Lost Children (Cité des enfants perdus, La) (1995)"
    )
    assert plain_title(without_brackets(title)) == "city of lost children"
    assert split_year(title).year == 1995


@given(st.text(max_size=30))
def test_any_text_has_a_plain_title_that_is_a_fixed_point_of_case_and_space(text):
    plain = plain_title(text)
    assert bool(plain) == bool(text.strip())
    assert plain_title(f"  {text} ") == plain
    assert plain_title(plain_title(plain)) == plain_title(plain)
