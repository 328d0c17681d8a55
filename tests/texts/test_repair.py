"""The loop ends, repairs what can be repaired, and counts each question once."""

import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.prompting import GenerateOptions, Reply, ScriptedModel, Usage
from jaxrec.texts import AnswerForm, Illegal, RepairOptions, refine


def _read(text):
    return text if text in ("yes", "no") else Illegal(f"{text!r} is neither yes nor no")


FORM = AnswerForm(read=_read, rules=(str.strip, str.lower))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 4), st.booleans())
@settings(deadline=None)
def test_compliance_and_costs_are_those_of_a_script(needed, rounds, rules):
    """A model whose answer to prompt n is legal after `needed[n]` complaints, once as " YES "."""

    def answer(prompt, sample):
        n = int(prompt.split()[0])
        if f"complaint {needed[n]}" in prompt or not needed[n]:
            return " YES " if n % 2 else "yes"
        # Each answer differs, so that each further question does.
        return f"complaint {(prompt.count('complaint') and int(prompt.split()[-1]) + 1) or 1}"

    again = "{prompt} {fault} {answer}"
    model = ScriptedModel(answer)
    refined = refine(
        model,
        [f"{n} ?" for n in range(len(needed))],
        [FORM] * len(needed),
        GenerateOptions(),
        RepairOptions(rules=rules, rounds=rounds, again=again),
    )
    for n, wanted in enumerate(needed):
        even = n % 2 == 0
        assert refined.obeyed[n] == (wanted == 0 and even)
        assert refined.ruled[n] == (wanted == 0)
        if rules:
            assert refined.legal[n] == (wanted <= rounds)
            assert refined.rounds[n] == min(wanted, rounds)
        assert (refined.values[n] is None) == (not refined.legal[n])
    assert len(model.calls) == refined.first.usage.calls + refined.more.usage.calls
    assert refined.first.prompts == len(needed)
    assert refined.more.prompts == refined.rounds.sum() <= rounds * len(needed)


def test_a_model_that_never_obeys_is_asked_no_question_twice():
    model = ScriptedModel(lambda prompt, sample: "maybe")
    refined = refine(model, ["a", "b"], [FORM] * 2, GenerateOptions(), RepairOptions(rounds=1000))
    assert refined.compliance() == {
        "compliance_before": 0.0,
        "compliance_rules": 0.0,
        "compliance": 0.0,
        "rounds": 1.0,
        "failed": 0.0,
    }
    assert len(model.calls) == len({call.prompt for call in model.calls}) == 4
    assert refined.faults == {"'maybe' is neither yes nor no": 2}


class Broken:
    """A service that fails on some prompts, and reads few tokens."""

    name, context = "broken", 40

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def generate(self, prompts, options):
        return [
            Reply(texts=("",), failure="no text", usage=Usage(calls=1))
            if "fail" in prompt
            else Reply(texts=("word " * 30,), usage=Usage(calls=1))
            for prompt in prompts
        ]


def test_a_failure_is_no_illegal_answer_and_a_long_question_is_not_asked():
    refined = refine(Broken(), ["fail", "long"], [FORM] * 2, GenerateOptions(max_tokens=5))
    assert refined.failed.tolist() == [True, False]
    assert refined.legal.tolist() == refined.obeyed.tolist() == [False, False]
    assert refined.rounds.tolist() == [0, 0]
    assert refined.faults.total() == 1 and refined.more.prompts == 0


def test_what_was_wrong_is_told_with_the_answer():
    model = ScriptedModel(lambda prompt, sample: "no" if "Answer again" in prompt else "{maybe}")
    refined = refine(model, ["Is it?"], [FORM], GenerateOptions())
    assert refined.values == ["no"]
    told = model.calls[1].prompt
    assert told.startswith("Is it? {maybe}\n") and "'{maybe}' is neither yes nor no" in told


def test_settings_that_make_no_loop_are_rejected():
    with pytest.raises(ConfigError, match="at least 0, got -1"):
        RepairOptions(rounds=-1)
    with pytest.raises(ConfigError, match="wrong"):
        RepairOptions(again="{prompt} {wrong}")
    with pytest.raises(ConfigError, match="must have the hole"):
        RepairOptions(again="{answer}")
    with pytest.raises(ConfigError, match="n must be 1"):
        refine(ScriptedModel(), ["a"], [FORM], GenerateOptions(n=2, temperature=1.0))
    with pytest.raises(ConfigError, match="1 forms need a list"):
        refine(ScriptedModel(), [], [FORM], GenerateOptions())
