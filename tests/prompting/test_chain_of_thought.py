import itertools
from collections import Counter

import pytest

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    ChainSettings,
    Exemplar,
    ScriptedModel,
    Usage,
    majority,
    reason,
    self_consistency,
)

SHOWN = (
    Exemplar("What is 1 + 1 + 1?", "1 + 1 = 2. 2 + 1 = 3.", "3"),
    Exemplar("What is 2 + 0?", "2 and nothing is 2.", "2"),
)
ASKED = "What is 4 + 1?"


def scripted(*texts):
    """Writes the texts in turn, whatever it is asked."""
    turn = itertools.cycle(texts)
    return ScriptedModel(lambda prompt, sample: next(turn))


def prompts(model):
    return [call.prompt for call in model.calls]


def test_exemplars_show_their_reasoning_and_the_question_comes_last():
    model = scripted(" 4 + 1 = 5. The answer is 5.")
    (found,) = reason(model, [ASKED], ChainSettings(kind="number", exemplars=SHOWN))
    assert prompts(model) == [
        "Q: What is 1 + 1 + 1?\nA: 1 + 1 = 2. 2 + 1 = 3. The answer is 3.\n\n"
        "Q: What is 2 + 0?\nA: 2 and nothing is 2. The answer is 2.\n\n"
        "Q: What is 4 + 1?\nA:"
    ]
    assert (found.answer, found.rationale) == ("5", " 4 + 1 = 5. The answer is 5.")


def test_direct_exemplars_show_no_reasoning():
    model = scripted(" The answer is 5.")
    settings = ChainSettings(kind="number", exemplars=SHOWN, rationale=False)
    (found,) = reason(model, [ASKED], settings)
    assert prompts(model) == [
        "Q: What is 1 + 1 + 1?\nA: The answer is 3.\n\n"
        "Q: What is 2 + 0?\nA: The answer is 2.\n\n"
        "Q: What is 4 + 1?\nA:"
    ]
    assert (found.answer, found.rationale) == ("5", "")


@pytest.mark.parametrize(
    ("kind", "trigger", "reply", "answer"),
    [
        ("number", "the answer (arabic numerals) is", " 5.", "5"),
        ("choice", "among A through E, the answer is", " C.", "C"),
        ("yes_no", "the answer (Yes or No) is", " Yes.", "yes"),
        ("letters", "the answer is", ' "nk".', "nk"),
    ],
)
def test_without_exemplars_a_second_call_asks_for_the_answer(kind, trigger, reply, answer):
    model = scripted(" First 7, then no (A). ", reply)
    (found,) = reason(model, ["Which?"], ChainSettings(kind=kind))
    first = "Q: Which?\nA: Let's think step by step."
    second = f"{first} First 7, then no (A).\nTherefore, {trigger}"
    assert prompts(model) == [first, second]
    assert (found.answer, found.chains[0].reply) == (answer, reply)


@pytest.mark.parametrize(
    ("kind", "trigger"),
    [
        ("number", "The answer (arabic numerals) is"),
        ("choice", "Among A through E, the answer is"),
        ("yes_no", "The answer (Yes or No) is"),
        ("letters", "The answer is"),
    ],
)
def test_a_direct_question_without_exemplars_ends_with_the_trigger(kind, trigger):
    model = scripted(" 5")
    reason(model, ["Which?"], ChainSettings(kind=kind, rationale=False))
    assert prompts(model) == [f"Q: Which?\nA: {trigger}"]


@pytest.mark.parametrize("rationale", [True, False])
def test_a_model_that_was_trained_for_it_is_only_asked_the_question(rationale):
    model = scripted(" n and k. The answer is nk.")
    (found,) = reason(
        model, ["Which?"], ChainSettings(kind="letters", trigger="", rationale=rationale)
    )
    assert prompts(model) == ["Q: Which?\nA:"]
    assert found.answer == "nk"


def test_reasoning_has_128_tokens_and_an_answer_32():
    model = scripted("word " * 200)
    for settings, lengths in (
        (ChainSettings(kind="letters"), [128, 32]),
        (ChainSettings(kind="letters", rationale=False), [32]),
        (ChainSettings(kind="letters", exemplars=SHOWN), [128]),
        (ChainSettings(kind="letters", exemplars=SHOWN, rationale=False), [32]),
    ):
        model.calls.clear()
        (found,) = reason(model, ["Which?"], settings)
        assert [len(call.answer[0].split()) for call in model.calls] == lengths
        assert found.chains[0].truncated


def test_a_model_that_goes_on_with_the_next_question_is_cut():
    model = scripted(" The answer is 5.\n\nQ: What is 1 + 6?\nA: The answer is 7.")
    (found,) = reason(model, [ASKED], ChainSettings(kind="number", exemplars=SHOWN))
    assert found.answer == "5"


def test_each_question_keeps_its_own_answer_and_cost():
    def answer(prompt, sample):
        question = prompt.rsplit("Q: ", 1)[-1]
        return f" It is {question[0]}." if "Therefore" in prompt else " Hm."

    questions = ["1 word?", "2 words here?", "3?"]
    found = reason(ScriptedModel(answer), questions, ChainSettings(kind="number"))
    assert [record.answer for record in found] == ["1", "2", "3"]
    assert [record.question for record in found] == questions
    # The first prompt of "3?" has 8 words and its text one; the trigger adds 6 words.
    assert found[2].usage == Usage(calls=2, prompt_tokens=8 + (8 + 1 + 6), completion_tokens=1 + 3)


def test_an_answer_that_cannot_be_read_is_none():
    (found,) = reason(scripted(" I do not know."), [ASKED], ChainSettings(kind="number"))
    assert (found.answer, found.agreement) == (None, 0.0)
    assert found.rationale == " I do not know."


def test_the_majority_wins_and_its_share_is_the_agreement():
    model = scripted(*(f" The answer is {n}." for n in (7, 5, 5, 7, 5)))
    settings = ChainSettings(kind="number", exemplars=SHOWN)
    (found,) = self_consistency(model, [ASKED], settings, samples=5)
    assert (found.answer, found.agreement) == ("5", 0.6)


def test_different_forms_of_one_answer_vote_together():
    model = scripted(*(f" The answer is {n}." for n in ("6", "$5.00", "6", "5", "5.0")))
    settings = ChainSettings(kind="number", exemplars=SHOWN)
    (found,) = self_consistency(model, [ASKED], settings, samples=5)
    assert (found.answer, found.agreement) == ("5", 0.6)


def test_chains_without_an_answer_do_not_vote():
    model = scripted(" no idea", " hm", " The answer is 5.", " no idea")
    settings = ChainSettings(kind="number", exemplars=SHOWN)
    (found,) = self_consistency(model, [ASKED], settings, samples=4)
    assert (found.answer, found.agreement) == ("5", 0.25)
    assert found.rationale == " The answer is 5."


def test_votes_agree_with_a_count_and_ties_go_to_the_first():
    for length in range(1, 6):
        for answers in itertools.product(("a", "b", "c", None), repeat=length):
            counts = Counter(answer for answer in answers if answer)
            best = max(counts.values(), default=0)
            tied = [answer for answer in answers if answer and counts[answer] == best]
            assert majority(answers) == ((tied or [None])[0], best / length)


def test_only_the_reasoning_is_sampled():
    def answer(prompt, sample):
        return f" 1 + {sample} =" if "Therefore" not in prompt else f" {prompt.count('1 + 2')}"

    model = ScriptedModel(answer)
    (found,) = self_consistency(model, [ASKED], ChainSettings(kind="number"), samples=4)
    assert [len(call.answer) for call in model.calls] == [4, 1, 1, 1, 1]
    assert [chain.answer for chain in found.chains] == ["0", "0", "1", "0"]


def test_samples_are_drawn_as_published():
    seen = []

    class Watched(ScriptedModel):
        def generate(self, prompts, options):
            seen.append(options)
            return super().generate(prompts, options)

    settings = ChainSettings(kind="number", exemplars=SHOWN)
    self_consistency(Watched(lambda prompt, sample: " 5"), [ASKED], settings, seed=3)
    (options,) = seen
    assert (options.n, options.temperature, options.top_k, options.top_p) == (40, 0.7, 40, 1.0)
    assert options.seed == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "numbers"}, "no kind of answer 'numbers', did you mean 'number'"),
        ({"reasoning_tokens": 0}, "reasoning_tokens must be at least 1, got 0"),
        (
            {"exemplars": SHOWN[0]},
            r"exemplars must be a tuple, got one Exemplar; write \(exemplar,\)",
        ),
        ({"stop": "\n"}, "stop must be a tuple of strings, got one"),
        ({"stop": ("",)}, "would end every text at once"),
        ({"stop": None}, "stop must be"),
        ({"trigger": None}, "trigger must be str, got None"),
        ({"rationale": "no"}, "rationale must be bool, got 'no'"),
        ({"exemplars": (Exemplar("Which?", "", "7"),)}, r"exemplar 0 \('Which\?'\) has no ration"),
    ],
)
def test_settings_that_make_no_sense_are_rejected(change, message):
    with pytest.raises(ConfigError, match=message):
        ChainSettings(**{"kind": "number", **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 1}, "samples must be at least 2, got 1"),
        ({"temperature": 0}, "temperature 0 gives the same chain"),
        ({"temperature": -1}, "temperature must be a number from 0 on"),
        ({"top_k": 0}, "top_k must be at least 1"),
    ],
)
def test_sampling_that_makes_no_sense_is_rejected(change, message):
    model = scripted(" 5")
    with pytest.raises(ConfigError, match=message):
        self_consistency(model, [ASKED], ChainSettings(kind="number"), **change)
    assert not model.calls


def test_one_text_instead_of_a_list_is_rejected():
    with pytest.raises(ConfigError, match="questions must be a list of texts"):
        reason(scripted(" 5"), ASKED, ChainSettings(kind="number"))


def test_a_question_that_is_no_text_is_named():
    with pytest.raises(ConfigError, match=r"questions\[1\] must be a text, got 5"):
        reason(scripted(" 5"), [ASKED, 5], ChainSettings(kind="number"))


def test_an_exemplar_that_is_a_text_is_rejected():
    with pytest.raises(ConfigError, match="exemplar 1 must be an Exemplar, got 'Q: 1"):
        ChainSettings(kind="number", exemplars=(SHOWN[0], "Q: 1 + 1? A: 2"))
