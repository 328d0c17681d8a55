"""Toolformer's sampling, filter, merging and inference, on a model whose chances are a table.

The table model is a function of the text so far, so that every expected number can be computed
from the paper's formulas here.
"""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    CALCULATOR,
    GenerateOptions,
    Reading,
    SamplingOptions,
    Tool,
    ToolAnswer,
    ToolCall,
    annotate,
    call_gain,
    call_loss,
    call_weights,
    continue_with_tools,
)
from jaxrec.prompting.toolformer import Candidate, insert_calls, sample_positions

CALENDAR = Tool("Calendar", "Says the day.", lambda _: "Monday")
OPTIONS = SamplingOptions(min_probability=0.05, positions=2, calls=6, min_gain=0.3)


class TableModel:
    """A model whose pieces are words: chances from a function, texts from another."""

    def __init__(self, chance, marker=None, rank=None, answer=None):
        self.chance = chance
        self.marker = marker or (lambda text: 0.01)
        self.rank = rank or (lambda text: 99)
        self.answer = answer or (lambda prompt, sample: "")
        self.asked = []
        self.readings = []

    def pieces(self, texts):
        return [tuple(re.findall(r"\s*\S+|\s+$", text)) for text in texts]

    def read(self, prefixes, texts):
        made = []
        for prefix, text, pieces in zip(prefixes, texts, self.pieces(texts), strict=True):
            self.readings.append((prefix, text))
            before = [prefix + "".join(pieces[:n]) for n in range(len(pieces) + 1)]
            chances = [self.chance(b, p) for b, p in zip(before, pieces, strict=False)]
            made.append(
                Reading(
                    logprobs=np.log(np.array(chances, np.float64)),
                    marker=np.log([self.marker(b) for b in before]),
                    ranks=np.array([self.rank(b) for b in before]),
                )
            )
        return made

    def write(self, prompts, options, *, marker):
        self.asked += [(prompt, options, marker) for prompt in prompts]
        rows = [[self.answer(prompt, n) for n in range(options.n)] for prompt in prompts]
        return [[(t, False) if isinstance(t, str) else t for t in row] for row in rows]


def test_the_weights_are_those_of_the_paper_and_add_up_to_one():
    raw = [max(Fraction(0), 1 - Fraction(t, 5)) for t in range(9)]
    wanted = [float(w / sum(raw)) for w in raw]
    np.testing.assert_allclose(call_weights(9), wanted, rtol=1e-15)
    assert math.isclose(call_weights(9).sum(), 1)
    # A shorter text does not make the weights of its tokens larger.
    np.testing.assert_allclose(call_weights(2), wanted[:2], rtol=1e-15)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=9), st.data())
def test_the_loss_is_the_weighted_sum_of_the_definition(chances, data):
    i = data.draw(st.integers(0, len(chances) - 1))
    wanted = 0.0
    for j in range(i, len(chances)):
        weight = max(0.0, 1 - 0.2 * (j - i)) / 3.0  # 1 + 0.8 + 0.6 + 0.4 + 0.2
        wanted -= weight * math.log(chances[j])
    assert math.isclose(call_loss(np.log(chances), i), wanted, rel_tol=1e-9, abs_tol=1e-12)


def test_a_gain_is_that_over_the_better_of_no_call_and_a_call_without_result():
    nothing, bare, full = (np.log([0.9, p]) for p in (0.1, 0.2, 0.8))
    assert math.isclose(call_gain(nothing, bare, full, 1), math.log(0.8 / 0.2) / 3)
    assert math.isclose(call_gain(bare, nothing, full, 1), math.log(0.8 / 0.2) / 3)
    assert call_gain(full, nothing, bare, 1) < 0


@pytest.mark.parametrize("position", [-1, 2])
def test_a_position_outside_of_the_text_is_rejected(position):
    with pytest.raises(ConfigError, match="position must be"):
        call_loss(np.zeros(2), position)


def test_positions_are_the_likeliest_above_the_threshold_where_words_begin():
    chances = {"P:": 0.2, "P:a": 0.3, "P:a b": 0.05, "P:a b c": 0.25, "P:a b c d": 0.9}
    model = TableModel(lambda *_: 0.5, marker=chances.__getitem__)
    assert sample_positions(model, ["P:"], ["a b c d"], OPTIONS) == [[1, 3]]
    three = SamplingOptions(min_probability=0.05, positions=9)
    # 0.05 is not above the threshold, and after the text no token follows.
    assert sample_positions(model, ["P:"], ["a b c d"], three) == [[0, 1, 3]]


def test_a_call_does_not_begin_inside_of_a_word():
    model = TableModel(lambda *_: 0.5, marker=lambda _: 0.5)
    model.pieces = lambda texts: [("ab", "cd", " e")]
    assert sample_positions(model, [""], ["abcd e"], OPTIONS) == [[0, 2]]


def table():
    """The last number is likely after the right result, a little after the bare call."""

    def chance(before, piece):
        if piece != " 5":
            return 0.5
        return 0.8 if "-> 5]\n" in before else 0.2 if "(2 + 3)]\n" in before else 0.1

    def answer(prompt, sample):
        if prompt.startswith("Calendar:"):
            return "Calendar()"
        texts = ["Calculator(2 + 3) ", "Calculator(2 + 3)", "Calculator(2 * 3)", "see above"]
        return [*texts, "Calendar()", "Calculator(2 / 0)"][sample]

    def marker(text):
        return 0.5 if text.endswith("makes") else 0.01

    return TableModel(chance, marker=marker, answer=answer)


def annotated(options=OPTIONS):
    model = table()
    prompts = {
        name: (lambda text, name=name: f"{name}:{text}\n") for name in ("Calculator", "Calendar")
    }
    return model, annotate(
        model, ["2 plus 3 makes 5 .", "Hello there"], prompts, [CALCULATOR, CALENDAR], options
    )


def test_only_the_call_that_helps_is_kept_and_stands_in_its_place():
    _, result = annotated()
    assert result.texts == (
        "2 plus 3 makes [Calculator(2 + 3) -> 5] 5 .",
        "Hello there",
    )
    (kept,) = result.kept
    assert (kept.text, kept.position, kept.times) == (0, 4, 2)
    # Token 4 has the weight 1/3 and token 5 the same chance after each prefix.
    assert math.isclose(kept.gain, math.log(0.8 / 0.2) / 3)


def test_every_candidate_is_reported_with_its_gain_or_failure():
    _, result = annotated()
    found = {str(c.call): (c.gain, c.failure) for c in result.candidates}
    assert found["[Calculator(2 * 3) -> 6]"] == (0.0, "")
    assert found["[Calendar() -> Monday]"] == (0.0, "")
    assert found["[Calculator(2 / 0)]"] == (-math.inf, "division_by_zero")
    assert len(found) == 4
    assert result.unusable == {"not_a_call": 1, "other_tool": 1}


def test_calls_are_judged_in_front_of_the_text_and_failed_ones_not_at_all():
    model, _ = annotated()
    text = "2 plus 3 makes 5 ."
    # Of the asked texts two are prompts in which places are looked for.
    prefixes = [prefix for prefix, read in model.readings if read == text]
    assert prefixes[2:] == [
        "",
        "[Calculator(2 + 3)]\n",
        "[Calculator(2 * 3)]\n",
        "[Calendar()]\n",
        "[Calculator(2 + 3) -> 5]\n",
        "[Calculator(2 * 3) -> 6]\n",
        "[Calendar() -> Monday]\n",
    ]


def test_calls_are_sampled_after_the_prompt_the_text_so_far_and_the_marker():
    model, _ = annotated()
    prompt, options, marker = model.asked[0]
    assert prompt == "Calculator:2 plus 3 makes 5 .\n2 plus 3 makes ["
    assert (options.n, options.temperature, options.stop) == (6, 1.0, ("]", "->"))
    assert not marker


def test_a_higher_threshold_keeps_nothing():
    options = SamplingOptions(calls=6, min_gain=0.5)
    assert annotated(options)[1].kept == ()


def test_calls_in_several_places_are_merged_and_the_best_one_of_a_place_is_taken():
    calls = [
        Candidate(text=0, position=place, call=ToolCall("f", name, "r"), gain=gain)
        for place, name, gain in ((2, "a", 0.5), (0, "b", 0.1), (2, "c", 0.9), (2, "d", 0.7))
    ]
    assert insert_calls(("x", " y", " z"), calls) == "[f(b) -> r] x y [f(c) -> r] z"


def test_a_prompt_for_a_tool_that_is_not_there_is_rejected():
    with pytest.raises(ConfigError, match="no tool for the prompt 'Search'"):
        annotate(table(), [], {"Search": str}, [CALCULATOR], OPTIONS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_probability": 1.0}, "min_probability must lie in"),
        ({"positions": 0}, "positions must be at least 1"),
        ({"calls": 0}, "calls must be at least 1"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"temperature": 0.0}, "would all be equal"),
    ],
)
def test_bad_sampling_options_are_rejected(settings, message):
    with pytest.raises(ConfigError, match=message):
        SamplingOptions(**settings)


def writer(call, ranks):
    """A model that writes " so it is 6 ." by itself, and " 5 ." after a result of 5."""

    def answer(prompt, _):
        if prompt.endswith(" ["):
            return call
        return " 5 ." if prompt.endswith("-> 5]") else " so it is 6 ."

    def rank(text):
        return ranks.get(text.removeprefix("2 plus 3"), 99)

    return TableModel(lambda *_: 0.5, rank=rank, answer=answer)


def run(model, **settings):
    (answer,) = continue_with_tools(
        model, ["2 plus 3"], [CALCULATOR], GenerateOptions(max_tokens=9), **settings
    )
    return answer


def test_a_call_begins_at_the_first_place_where_the_marker_is_likely_enough():
    model = writer("Calculator(2 + 3) ", {" so": 10, " so it is": 9, " so it is 6": 0})
    assert run(model) == ToolAnswer(
        text=" so it is [Calculator(2 + 3) -> 5] 5 .",
        call=ToolCall("Calculator", "2 + 3", "5"),
    )
    assert run(model, top=11).text == " so [Calculator(2 + 3) -> 5] 5 ."
    assert run(model, top=9).text == " so it is 6 [Calculator(2 + 3) -> 5] 5 ."


def test_there_is_at_most_one_call_and_the_marker_is_not_written_otherwise():
    model = writer("Calculator(2 + 3)", {"": 0, " so": 0})
    assert run(model).text == " [Calculator(2 + 3) -> 5] 5 ."
    assert [marker for *_, marker in model.asked] == [False] * 3
    assert [options.stop for _, options, _ in model.asked] == [(), ("]", "->"), ()]


def test_a_call_may_follow_a_text_that_ends_but_not_one_that_is_cut():
    model = writer("Calculator(2 + 3)", {" so it is 6 .": 0})
    assert run(model).text == " so it is 6 . [Calculator(2 + 3) -> 5] 5 ."
    plain = model.answer
    model.answer = lambda prompt, n: (plain(prompt, n), True)
    assert run(model) == ToolAnswer(text=" so it is 6 .")


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        ("Calculator(2 / 0)", "division_by_zero"),
        ("Calculater(2 + 3)", "unknown_tool"),
        ("see above", "not_a_call"),
        (("Calculator(2", True), "not_a_call"),
    ],
)
def test_a_call_that_fails_gives_the_text_without_it(call, failure):
    answer = run(writer(call, {" so": 0}))
    assert (answer.text, answer.failure) == (" so it is 6 .", failure)


def test_a_text_without_a_likely_marker_or_without_tools_has_no_call():
    assert run(writer("Calculator(2 + 3)", {})) == ToolAnswer(text=" so it is 6 .")
    model = writer("Calculator(2 + 3)", {"": 0})
    options = GenerateOptions(max_tokens=9)
    assert continue_with_tools(model, ["2 plus 3"], [], options) == [
        ToolAnswer(text=" so it is 6 .")
    ]


@pytest.mark.parametrize(
    ("options", "top", "message"),
    [
        (GenerateOptions(temperature=1.0), 10, "written greedily"),
        (GenerateOptions(), 0, "top must be at least 1"),
    ],
)
def test_bad_options_are_rejected(options, top, message):
    with pytest.raises(ConfigError, match=message):
        continue_with_tools(TableModel(None), [], [], options, top=top)
