import math

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import Chain, Reasoned, score_reasoning


def record(rationale, *answers, truncated=False):
    chains = tuple(
        Chain(rationale=rationale, reply=str(answer), answer=answer, truncated=truncated)
        for answer in answers
    )
    return Reasoned(question="How many?", chains=chains)


def test_right_answers_and_right_steps_are_counted_apart():
    records = [
        record("2 + 2 = 4.", "4"),  # right by right steps
        record("2 + 2 = 5. 5 - 1 = 4.", "4"),  # right by a wrong step
        record("It is four.", "4"),  # right, nothing to verify
        record("2 + 2 = 4.", "7"),  # wrong after a right step
        record("2 + 1 =", None, truncated=True),  # no answer
    ]
    scores = score_reasoning(records, ["4"] * 5, "number")
    assert scores.right == (True, True, True, False, False)
    assert scores.accuracy == 3 / 5
    assert (scores.unparsed, scores.truncated) == (1 / 5, 1 / 5)
    assert (scores.steps, scores.right_steps) == (4, 3 / 4)
    assert (scores.verified, scores.consistency) == (2, 1 / 2)


def test_the_majority_answers_and_every_chain_counts_as_unparsed():
    scores = score_reasoning([record("", "7", None, "4", "4")], ["4"], "number")
    assert (scores.accuracy, scores.unparsed) == (1.0, 1 / 4)


def test_right_answers_are_read_like_those_of_the_model():
    assert score_reasoning([record("", "1000")], ["$1,000.00"], "number").accuracy == 1
    assert score_reasoning([record("", "yes")], ["Yes"], "yes_no").accuracy == 1
    with pytest.raises(ConfigError, match="'perhaps' must hold exactly one answer"):
        score_reasoning([record("", "yes")], ["perhaps"], "yes_no")


def test_nothing_to_verify_is_nan():
    scores = score_reasoning([record("No.", "4")], ["4"], "number")
    assert math.isnan(scores.right_steps) and math.isnan(scores.consistency)


@pytest.mark.parametrize(("records", "answers"), [([], []), ([record("", "4")], ["4", "5"])])
def test_missing_records_and_answers_are_rejected(records, answers):
    with pytest.raises(DataError, match="records need as many right answers"):
        score_reasoning(records, answers, "number")
