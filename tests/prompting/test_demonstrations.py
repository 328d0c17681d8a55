"""Demonstrations and queries as text."""

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import Demonstration, Verbalizer

FILMS = Verbalizer(
    query="Film: {input}\nGenre:",
    answer=" {answer}",
    separator="\n###\n",
    instruction="Name the genre of the film.",
)
SHOWN = [Demonstration("Alien", "horror"), Demonstration("Airplane!", "comedy")]

GOLDEN = """\
Name the genre of the film.
###
Film: Alien
Genre: horror
###
Film: Airplane!
Genre: comedy
###
Film: Heat
Genre:"""


def test_a_prompt_is_the_golden_text():
    assert FILMS.prompt(SHOWN, "Heat") == GOLDEN


def test_a_prompt_without_demonstrations_is_instruction_and_query():
    assert FILMS.prompt([], "Heat") == "Name the genre of the film.\n###\nFilm: Heat\nGenre:"


def test_a_prompt_without_an_instruction_begins_with_the_first_demonstration():
    assert Verbalizer().prompt(SHOWN[:1], "x") == (
        "Input: Alien\nAnswer: horror\n\nInput: x\nAnswer:"
    )


def test_prompt_and_continuation_join_to_the_text_of_a_demonstration():
    whole = FILMS.prompt(SHOWN[:1], "Airplane!") + FILMS.continuation("comedy")
    assert whole.endswith(FILMS.demonstration(SHOWN[1]))


def test_braces_in_an_input_are_kept():
    text = "{answer} {input} {0} {{}}"
    assert FILMS.open(text) == f"Film: {text}\nGenre:"
    assert FILMS.continuation(text) == f" {text}"


@pytest.mark.parametrize("query", ["Film: {input}\nGenre: ", "{input}\n"])
def test_a_query_that_ends_with_white_space_is_refused(query):
    with pytest.raises(ConfigError, match="ends with white space"):
        Verbalizer(query=query)


def test_no_input_leaves_a_space_before_the_answer():
    f = Verbalizer(query="{input}", separator="\n")
    shown = [Demonstration("one \n", "a")]
    assert f.prompt(shown, " two \t") == "one a\n two"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"query": "Film:"}, "query must contain"),
        ({"query": "{input} {input}:"}, "query must contain"),
        ({"answer": " "}, "answer must contain"),
        ({"separator": ""}, "separator"),
        ({"query": None}, "query must be str, got None"),
        ({"query": "{input}", "answer": "{answer}"}, "run into one another"),
    ],
)
def test_unusable_verbalizers_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Verbalizer(**settings)


@pytest.mark.parametrize("query", ["Alien", " alien ", "ALIEN\n"])
def test_a_query_among_its_own_demonstrations_is_refused(query):
    with pytest.raises(DataError, match="among its own demonstrations"):
        FILMS.prompt(SHOWN, query)


def test_a_demonstration_needs_an_answer():
    with pytest.raises(DataError, match="has no answer"):
        Demonstration("Alien", " ")


@pytest.mark.parametrize(("given", "name"), [((5, "a"), "input"), (("a", 5), "answer")])
def test_demonstrations_are_texts(given, name):
    with pytest.raises(DataError, match=f"the {name} of a demonstration must be a text, got 5"):
        Demonstration(*given)
