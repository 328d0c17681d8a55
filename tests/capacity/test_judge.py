"""Judges that are fair, that like the first place, and that say nothing."""

import math
import re

import numpy as np
import pytest

from jaxrec.capacity import (
    Comparison,
    compare_answers,
    model_judge,
    read_verdict,
    score_judge,
)
from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import GenerateOptions, ScriptedModel


def comparisons(count=200, seed=0):
    """Answers are numbers, and the larger one is better."""
    rng = np.random.default_rng(seed)
    return [
        Comparison(request="Write a large number.", answer=str(a), opponent=str(b))
        for a, b in rng.integers(0, 10, (count, 2))
    ]


def fair(prompt, sample):
    first, second = (int(n) for n in re.findall(r"Answer [AB]:\n(\d)", prompt))
    letter = "C" if first == second else "AB"[second > first]
    return f" One could think [[A]], but the numbers say [[{letter}]]."


def expected(pairs):
    signs = np.array([np.sign(int(c.answer) - int(c.opponent)) for c in pairs])
    return [float(np.mean(signs == sign)) for sign in (1, 0, -1)]


@pytest.mark.parametrize(
    "judge", [model_judge(ScriptedModel(fair)), score_judge(lambda request, text: float(text))]
)
def test_a_fair_judge_counts_the_better_answers(judge):
    pairs = comparisons()
    found = compare_answers(judge, pairs)
    assert [found.wins.win, found.wins.tie, found.wins.lose] == expected(pairs)
    assert found.wins.advantage == found.wins.win - found.wins.lose
    assert (found.wins.inconsistent, found.wins.unusable) == (0.0, 0)


def test_a_judge_that_likes_the_first_place_decides_nothing():
    judge = model_judge(ScriptedModel(lambda prompt, sample: "[[A]]"))
    found = compare_answers(judge, comparisons())
    assert (found.wins.tie, found.wins.inconsistent, found.wins.advantage) == (1.0, 1.0, 0.0)


def test_a_judge_that_favours_the_first_place_among_equals_is_corrected():
    def biased(prompt, sample):
        first, second = (int(n) for n in re.findall(r"Answer [AB]:\n(\d)", prompt))
        return "[[A]]" if first + 2 >= second else "[[B]]"

    pairs = comparisons()
    found = compare_answers(model_judge(ScriptedModel(biased)), pairs).wins
    gaps = np.array([int(c.answer) - int(c.opponent) for c in pairs])
    assert found.win == np.mean(gaps > 2)
    assert found.lose == np.mean(gaps < -2)


def test_both_answers_stand_in_both_places():
    model = ScriptedModel(lambda prompt, sample: "[[C]]")
    pair = Comparison(request="What?", answer="mine {x}", opponent="theirs")
    compare_answers(model_judge(model, criterion="conciseness"), [pair])
    places = [re.findall(r"Answer [AB]:\n(.+)", call.prompt) for call in model.calls]
    assert places == [["mine {x}", "theirs"], ["theirs", "mine {x}"]]
    assert all("better in conciseness" in call.prompt for call in model.calls)


def test_replies_without_a_verdict_are_counted():
    replies = iter(["[[A]]", "well", "hm", "[[B]]", "so", "[[A]]"])
    judge = model_judge(ScriptedModel(lambda prompt, sample: next(replies)))
    found = compare_answers(judge, comparisons(3))
    assert found.verdicts == (
        ("first", "second"),
        ("unusable", "unusable"),
        ("unusable", "first"),
    )
    assert (found.wins.win, found.wins.tie, found.wins.unusable) == (0.5, 0.5, 3)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("[[A]]", "first"), ("x [[C]] y", "tie"), ("[A]", "unusable"), ("[[D]]", "unusable")],
)
def test_verdicts_are_read(text, verdict):
    assert read_verdict(text) == verdict


def test_scores_that_are_close_or_none_decide_nothing():
    judge = score_judge(lambda request, text: float(text), margin=0.5)
    pairs = [("", "1", "1.5"), ("", "1", "1.6"), ("", "nan", "1"), ("", "inf", "inf")]
    assert judge(pairs) == ["tie", "second", "unusable", "unusable"]


def test_what_no_judge_can_do_is_rejected():
    with pytest.raises(ConfigError, match="margin"):
        score_judge(lambda request, text: 0.0, margin=math.nan)
    with pytest.raises(ConfigError, match="n=1"):
        model_judge(ScriptedModel(), options=GenerateOptions(n=2, temperature=1.0))
    with pytest.raises(ConfigError, match="returned 1"):
        compare_answers(lambda pairs: ["tie"], comparisons(2))
    with pytest.raises(DataError, match="usable"):
        compare_answers(lambda pairs: ["unusable"] * len(pairs), comparisons(2))
