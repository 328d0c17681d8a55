"""Gains of demonstrations in log-probability."""

import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import Demonstration, ScriptedModel, Verbalizer, gains, most_informative

F = Verbalizer(query="{input} ->", separator="\n", instruction="Do it.")


def chance(prompt, answer):
    """An answer is likelier after a demonstration with an equal word, and after "good" ones."""
    *shown, query = prompt.removeprefix("Do it.\n").split("\n")
    words = set(query.removesuffix(" ->").split())
    share = 0.1
    for text in shown:
        given, label = text.split(" -> ")
        if words & set(given.split()):
            share = 0.9 if label == answer.strip() else 0.01
        if "good" in given:
            share = 0.5
    return math.log(share)


def test_a_gain_is_the_difference_of_log_probabilities():
    model = ScriptedModel(logprob=chance)
    pool = [Demonstration("x a", "1"), Demonstration("x b", "2"), Demonstration("c", "1")]
    (found,) = gains(model, F, [pool], [Demonstration("x q", "1")])
    np.testing.assert_allclose(found, np.log([0.9 / 0.1, 0.01 / 0.1, 1.0]), atol=1e-12)
    assert [call.prompt for call in model.calls[:2]] == [
        "Do it.\nx q ->",
        "Do it.\nx a -> 1\nx q ->",
    ]
    assert all(call.answer == (" 1",) for call in model.calls)


def test_rows_of_different_lengths_keep_their_gains():
    pool = [Demonstration("x", "1"), Demonstration("y", "2")]
    found = gains(
        ScriptedModel(logprob=chance),
        F,
        [[], pool, pool[1:]],
        [Demonstration("a", "1"), Demonstration("y q", "2"), Demonstration("y r", "2")],
    )
    assert [row.round(1).tolist() for row in found] == [[], [0.0, 2.2], [2.2]]


def test_the_most_informative_has_the_highest_mean_gain():
    pool = [Demonstration(x, "1") for x in ("bad", "x rare", "good one", "bad too")]
    labelled = [Demonstration(f"q{n}", "1") for n in range(9)] + [Demonstration("x", "1")]
    # The second one helps one query of ten by 2.2 nats, the third one all of them by 1.6.
    found = most_informative(ScriptedModel(logprob=chance), F, pool, labelled, 3)
    assert found == [2, 1, 0]


def test_a_demonstration_is_not_scored_on_itself():
    pool = [Demonstration("good a", "1"), Demonstration("b", "1")]
    model = ScriptedModel(logprob=chance)
    most_informative(model, F, pool, [*pool, Demonstration("c", "1")], 1)
    scored = [c.prompt for c in model.calls if "\nb ->" in c.prompt[-5:]]
    assert scored == ["Do it.\nb ->", "Do it.\ngood a -> 1\nb ->"]


def test_a_query_among_its_candidates_is_refused():
    shown = Demonstration("x", "1")
    with pytest.raises(DataError, match="among its own demonstrations"):
        gains(ScriptedModel(logprob=chance), F, [[shown]], [shown])


@pytest.mark.parametrize("count", [0, 2])
def test_a_count_outside_the_pool_is_refused(count):
    with pytest.raises(ConfigError, match="count must be from 1 to the pool's 1"):
        most_informative(ScriptedModel(), F, [Demonstration("x", "1")], [], count)


def test_labelled_inputs_are_needed_and_must_differ_from_the_pool():
    pool = [Demonstration("x", "1"), Demonstration("y", "1")]
    with pytest.raises(ConfigError, match="no labelled inputs"):
        most_informative(ScriptedModel(), F, pool, [], 1)
    with pytest.raises(DataError, match="demonstration 1 equals every labelled input"):
        most_informative(ScriptedModel(logprob=chance), F, pool, pool[1:], 1)


def test_each_labelled_input_needs_candidates():
    with pytest.raises(ConfigError, match="need 1 lists"):
        gains(ScriptedModel(), F, [], [Demonstration("x", "1")])


@pytest.mark.parametrize(
    ("value", "message"), [(math.nan, "is not a number"), (-math.inf, "' 2' has no chance after")]
)
def test_gains_are_finite(value, message):
    model = ScriptedModel(logprob=lambda prompt, answer: value)
    with pytest.raises(DataError, match=message):
        gains(model, F, [[Demonstration("x", "1")]], [Demonstration("y", "2")])
