"""Tools answer or fail by name, and never end the program that uses them."""

import datetime
import sys

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError, Limits
from jaxrec.data import ItemTable
from jaxrec.prompting import (
    CALCULATOR,
    Bm25,
    Tool,
    ToolCall,
    ToolError,
    ToolOutput,
    calendar_tool,
    catalogue_tool,
    count_failures,
    describe_tools,
    python_tool,
    recommender_tool,
    search_tool,
    use_tool,
)


def broken(_):
    raise RuntimeError("out of order")


BROKEN = Tool("Broken", "Fails.", broken)
LEAVES = Tool("Leaves", "Ends the program.", lambda _: sys.exit("bye"))
SILENT = Tool("Silent", "Returns nothing.", lambda _: None)
LONG = Tool("Long", "Returns a long text.", lambda _: "x" * 5000)


@pytest.mark.parametrize(
    ("call", "observation"),
    [
        (ToolCall("Calculator", "6 * 7"), ToolOutput("42")),
        (
            ToolCall("Calculator", "6 / 0"),
            ToolOutput("error: division by zero", "division_by_zero"),
        ),
        (ToolCall("Broken", ""), ToolOutput("error: RuntimeError: out of order", "exception")),
        (ToolCall("Leaves", ""), ToolOutput("error: SystemExit: bye", "exception")),
        (ToolCall("Silent", ""), ToolOutput("error: Silent returned no text", "exception")),
        (
            ToolCall("Calculater", "1"),
            ToolOutput("error: no tool 'Calculater', did you mean 'Calculator'?", "unknown_tool"),
        ),
    ],
)
def test_every_call_gives_an_observation(call, observation):
    assert use_tool([CALCULATOR, BROKEN, LEAVES, SILENT], call) == observation


def test_whoever_runs_the_program_can_interrupt_a_tool():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use_tool([Tool("Waits", "Waits.", interrupted)], ToolCall("Waits", ""))


def test_a_long_observation_is_cut():
    assert use_tool([LONG], ToolCall("Long", ""), most=10).text == "x" * 10 + "..."


def test_an_interrupt_is_no_observation():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use_tool([Tool("Stop", "Stops.", interrupt)], ToolCall("Stop", ""))


def test_failures_are_counted_by_name():
    calls = ["1", "1 / 0", "2 / 0", "x"]
    observations = [use_tool([CALCULATOR], ToolCall("Calculator", text)) for text in calls]
    assert count_failures(observations) == {"division_by_zero": 2, "unsupported": 1}


def test_tools_are_described_on_a_line_each():
    assert describe_tools([BROKEN, SILENT]) == "Broken: Fails.\nSilent: Returns nothing."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tool("two words", "Does it.", str.upper), "name of a tool must be"),
        (lambda: Tool("Upper", " ", str.upper), "Upper needs a description"),
        (lambda: use_tool([BROKEN, BROKEN], ToolCall("Broken", "")), "two tools are called"),
        (lambda: recommender_tool(list, separator=" "), "separator must be more than a space"),
        (lambda: search_tool([]), "at least one document"),
        (lambda: search_tool("a text"), "at least one document"),
        (lambda: search_tool(["..."]), "none of the 1 documents has a word"),
        (lambda: search_tool(["a"], count=0), "count and most must be at least 1"),
        (lambda: Bm25(["a"], k1=-1), "k1 must be at least 0"),
        (lambda: Bm25(["a"]).search("a", 0), "count must be at least 1"),
    ],
)
def test_tools_that_cannot_work_are_rejected(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_field_that_the_catalogue_does_not_have_is_an_error():
    with pytest.raises(DataError, match="no item field 'titel'"):
        catalogue_tool(catalogue("Alien"), fields=("titel",))


@pytest.mark.parametrize("day", [datetime.date(2023, 1, 30), datetime.date(2024, 2, 29)])
def test_the_calendar_says_the_day_it_is_given(day):
    text = calendar_tool(day).run("anything")
    assert datetime.datetime.strptime(text, "Today is %A, %B %d, %Y.").date() == day
    assert day.strftime("%A") in text


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("1 / 0", "exception"),
        ("while True: pass", "timeout"),
        ("import os\nos.fork()", "processes"),
        ("x = 1", "no_output"),
    ],
)
def test_programs_that_fail_say_how(code, failure):
    with pytest.raises(ToolError) as caught:
        python_tool(Limits(seconds=1)).run(code)
    assert caught.value.failure == failure


def test_a_program_is_run_and_its_output_returned():
    assert python_tool().run("print(sum(range(5)))\n") == "10"


def test_the_recommender_gets_the_titles_of_the_history_in_order():
    seen = []

    def recommend(titles):
        seen.append(titles)
        return ["Up", "Cars"]

    assert recommender_tool(recommend).run("Heat; ; Alien (1979) ;") == "Up; Cars"
    assert seen == [["Heat", "Alien (1979)"]]


@pytest.mark.parametrize(("text", "failure"), [(" ; ", "no_history"), ("Up", "no_recommendation")])
def test_a_recommender_without_input_or_result_fails_by_name(text, failure):
    with pytest.raises(ToolError) as caught:
        recommender_tool(lambda _: []).run(text)
    assert caught.value.failure == failure


def catalogue(*titles):
    years = np.array([f"year {1979 + n}" for n in range(len(titles))], dtype=object)
    fields = {"title": np.array(titles, dtype=object), "year": years}
    return ItemTable(np.arange(len(titles)).astype(str), fields)


def test_the_catalogue_is_searched_in_all_fields_and_returns_titles():
    tool = catalogue_tool(catalogue("Heat", "It", "Us"), fields=("title", "year"), count=2)
    assert tool.run("IT?") == "It"
    assert tool.run("1981") == "Us"
    assert tool.run("year it") == "It; Heat"
    with pytest.raises(ToolError) as caught:
        tool.run("Titanic")
    assert caught.value.failure == "no_match"


def test_a_document_is_returned_on_a_line_and_cut():
    tool = search_tool(["one\n two  three", "four"], most=7)
    assert tool.run("two") == "one two..."


def test_scores_are_those_of_the_formula():
    documents = ["the cat and the dog", "a dog", "a bird sings to a dog or a dog", "fish"]
    words = [text.split() for text in documents]
    mean = sum(map(len, words)) / len(words)
    k1, b = 1.2, 0.6
    for query in ("dog", "a dog", "dog dog bird", "nothing", "fish nothing", ""):
        wanted = np.zeros(len(words))
        for word in query.split():
            having = sum(word in row for row in words)
            weight = np.log(1 + (len(words) - having + 0.5) / (having + 0.5))
            for number, row in enumerate(words):
                count = row.count(word)
                wanted[number] += weight * count / (count + k1 * (1 - b + b * len(row) / mean))
        scores = Bm25(documents, k1=k1, b=b).scores(query)
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_equal_documents_are_found_in_their_order():
    assert [number for number, _ in Bm25(["x", "a b", "b a", "a b"]).search("a", 2)] == [1, 2]


def test_a_failure_without_a_name_is_no_answer():
    def fails(text):
        raise ToolError("", "no reason")

    found = use_tool([Tool("Odd", "Fails.", fails)], ToolCall("Odd", ""))
    assert not found.ok
    assert count_failures([found]) == {"exception": 1}


@pytest.mark.parametrize("titles", ["Heat 2", ["Heat 2", 5]])
def test_a_recommender_returns_titles(titles):
    found = use_tool([recommender_tool(lambda history: titles)], ToolCall("Recommend", "Heat"))
    assert found.failure == "exception"
    assert "the recommender must return a list of titles, got" in found.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tool("a", None, str.upper), "the tool a needs a description"),
        (lambda: Tool("a", "b", "upper"), "the tool a needs a function of its input, got 'upper'"),
        (lambda: use_tool([CALCULATOR], "[Calculator(1)]"), "expected a ToolCall.*find_calls"),
        (
            lambda: use_tool([CALCULATOR], ToolCall("Calculator", "1"), most=0),
            "most must be at lea",
        ),
        (lambda: calendar_tool("2023-01-30"), "today must be a date, got '2023-01-30'"),
        (lambda: ToolCall("f", 5), "the input of a call must be a text, got 5"),
        (lambda: ToolCall("f", "", 5), "the result of a call must be a text, got 5"),
        (lambda: ToolCall(None, ""), "the name of a call must be a text, got None"),
    ],
)
def test_tools_and_calls_of_other_types_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
