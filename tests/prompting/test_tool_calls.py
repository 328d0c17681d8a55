"""Calls are written and read back unchanged, and text that is no call is left alone."""

import pytest
from hypothesis import given, strategies as st

from jaxrec.core import ConfigError
from jaxrec.prompting import ToolCall, find_calls, without_calls

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
# Texts that are rich in what has a meaning in a call.
RICH = st.lists(st.sampled_from([*"[]()\\ ->→ab1\n", " -> ", ")->", ") → ", "[f("])).map("".join)
TEXTS = RICH | st.text(max_size=20)
CALLS = st.builds(ToolCall, NAMES, TEXTS, st.none() | TEXTS)
PLAIN = TEXTS.filter(lambda text: "[" not in text and "]" not in text and "\\" not in text)


@given(CALLS)
def test_a_call_is_read_back_whatever_its_texts_are(call):
    (found,) = find_calls(str(call))
    assert found.call == call
    assert (found.start, found.end) == (0, len(str(call)))


@given(st.lists(st.tuples(PLAIN, CALLS), max_size=4), PLAIN)
def test_calls_are_found_in_a_text_at_their_places(parts, tail):
    text = "".join(f"{plain}{call}" for plain, call in parts) + tail
    found = find_calls(text)
    assert [one.call for one in found] == [call for _, call in parts]
    assert [text[one.start : one.end] for one in found] == [str(call) for _, call in parts]


@given(st.lists(st.tuples(PLAIN.map(str.rstrip), CALLS), max_size=4), PLAIN)
def test_without_calls_gives_the_text_that_they_were_put_into(parts, tail):
    marked = "".join(f"{plain} {call}" for plain, call in parts) + tail
    assert without_calls(marked) == "".join(plain for plain, _ in parts) + tail


@given(TEXTS)
def test_what_is_read_from_any_text_can_be_written_and_read_again(text):
    for found in find_calls(text):
        assert [one.call for one in find_calls(str(found.call))] == [found.call]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[1]",
        "[see above]",
        "[f(x)",
        "f(x)]",
        "[f(x) ]",
        "[f x]",
        "[1f(x)]",
        "[f(x) - > 5]",
        "[f(x\\)]",
        "[f(x [g(y) z]",
        "[ f(x)]",
        "[f-g(x)]",
    ],
)
def test_text_that_only_resembles_a_call_is_none(text):
    assert find_calls(text) == []


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("[Calculator(400 / 1400)→ 0.29]", ToolCall("Calculator", "400 / 1400", "0.29")),
        ("[Calculator((1 + 2) * 3)]", ToolCall("Calculator", "(1 + 2) * 3")),
        ("[f(x)->]", ToolCall("f", "x", "")),
        ("[f(x [g(y)]", ToolCall("g", "y")),
        ("[f(\\alpha)]", ToolCall("f", "\\alpha")),
        ("[f(a) -> b) -> c]", ToolCall("f", "a", "b) -> c")),
    ],
)
def test_calls_as_models_write_them_are_read(text, call):
    assert [found.call for found in find_calls(text)] == [call]


@pytest.mark.parametrize(
    ("part", "count"),
    [("[f(", 0), ("[f()->", 1), (")->", 0), ("\\)->", 0), ("[f(\\", 0), ("[f(x) -> ]", 20_000)],
)
def test_long_texts_are_read_to_their_end(part, count):
    # A reader that is quadratic would not come to the end of these in minutes.
    assert len(find_calls(part * 20_000 + "]")) == count


@pytest.mark.parametrize("name", ["", "a b", "1a", "a-b", "é", "a\n"])
def test_a_name_that_cannot_be_read_back_is_rejected(name):
    with pytest.raises(ConfigError, match="name of a tool must be"):
        ToolCall(name, "")
