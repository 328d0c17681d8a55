"""Texts with calls: what is run, what is written, and when a text ends."""

import pytest

from jaxrec.capacity import WriteWithTools, ask_all
from jaxrec.core import ConfigError
from jaxrec.prompting import CALCULATOR, GenerateOptions, ScriptedModel, ToolCall


def write(parts, **settings):
    """The answer of a model that writes these parts, one after the other."""
    stream = iter(parts)
    model = ScriptedModel(lambda prompt, sample: next(stream))
    question = WriteWithTools("Q:", (CALCULATOR,), **settings)
    (reply,) = ask_all(model, [question])
    return reply, model


def test_a_call_is_run_and_the_text_goes_on_with_its_result():
    reply, model = write([" It is [Calculator(2 + 3)]", " 5.\nQ:"], options=OPTIONS)
    assert reply.text == " It is [Calculator(2 + 3) -> 5] 5."
    assert reply.calls == (ToolCall("Calculator", "2 + 3", "5"),)
    assert model.calls[1].prompt == "Q: It is [Calculator(2 + 3) -> 5]"
    assert (reply.usage.calls, reply.failures) == (2, ("",))


OPTIONS = GenerateOptions(max_tokens=8, stop=("\n",))


def test_a_call_that_fails_shows_why():
    reply, _ = write([" [Calculator(1 / 0)]", " nothing"])
    assert reply.failures == ("division_by_zero",)
    assert reply.calls == (ToolCall("Calculator", "1 / 0"),)
    assert "error: division by zero" in reply.text
    assert reply.text.endswith(" nothing")


def test_a_bracket_without_a_call_ends_the_text():
    reply, model = write([" see [above]", " more"])
    assert (reply.text, reply.calls, len(model.calls)) == (" see [above", (), 1)


def test_a_call_with_a_result_that_the_model_made_up_is_not_run():
    reply, _ = write([" [Calculator(2 + 3) -> 6] 6", " more"])
    assert reply.calls == ()


def test_a_model_that_calls_for_ever_is_stopped():
    reply, model = write([" [Calculator(1)]"] * 10, most_calls=3)
    assert len(reply.calls) == len(model.calls) == 4


def test_a_text_that_is_cut_at_its_length_is_no_call():
    reply, _ = write([" a b c d e f g h i [Calculator(2)]"], options=OPTIONS)
    assert (reply.truncated, reply.calls) == ((True,), ())


def test_many_texts_are_written_side_by_side():
    def answer(prompt, sample):
        return " done" if prompt.endswith("]") else f" [Calculator({prompt[0]} + 1)]"

    model = ScriptedModel(answer)
    questions = [WriteWithTools(f"{n}?", (CALCULATOR,)) for n in range(3)]
    texts = [reply.text for reply in ask_all(model, questions)]
    assert texts == [f" [Calculator({n} + 1) -> {n + 1}] done" for n in range(3)]
    assert [call.prompt[0] for call in model.calls] == list("012012")


def test_questions_that_cannot_be_asked_are_rejected():
    with pytest.raises(ConfigError, match="n=1"):
        WriteWithTools("Q", (CALCULATOR,), GenerateOptions(n=2, temperature=1.0))
    for tools, most in (((), 1), ((CALCULATOR,), 0)):
        with pytest.raises(ConfigError, match="at least one tool"):
            WriteWithTools("Q", tools, most_calls=most)
