"""Answers against references, for judges who decide, who contradict themselves, and who do not."""

import pytest

from jaxrec.capacity import Source, StudyOptions, judge_task, model_judge, run_task, score_judge
from jaxrec.core import DataError
from jaxrec.prompting import GenerateOptions, ScriptedModel

ROWS = [{"request": f"Count to {n}.", "reference": "1 2 3"} for n in range(8)]
SOURCE = Source(make=lambda: ROWS)
LONGER = score_judge(lambda request, answer: float(len(answer.split())))


def figures(answer, judge=LONGER, **settings):
    task = judge_task("counting", "Counting.", SOURCE, judge, **settings)
    model = ScriptedModel(lambda prompt, sample: f" {answer} ")
    found = run_task(model, task, None, StudyOptions(resamples=10)).estimates
    return {name: estimate.value for name, estimate in found.items()}, model


@pytest.mark.parametrize(
    ("answer", "figure"), [("1 2 3 4", "win"), ("1 2 3", "tie"), ("1", "lose")]
)
def test_better_equal_and_worse_answers_are_told_apart(answer, figure):
    found, _ = figures(answer)
    advantage, unusable = found.pop("advantage"), found.pop("unusable")
    assert found == {name: float(name == figure) for name in ("win", "tie", "lose")}
    assert (advantage, unusable) == (found["win"] - found["lose"], 0.0)


def test_a_judge_that_likes_the_first_place_sees_ties():
    found, _ = figures("1 2 3 4", model_judge(ScriptedModel(lambda prompt, _: "[[A]]")))
    assert (found["tie"], found["advantage"]) == (1.0, 0.0)


def test_unusable_verdicts_are_counted_and_decide_nothing():
    replies = iter(["[[A]]", "[[B]]", "hm", "hm"] * 4)
    found, _ = figures("1", model_judge(ScriptedModel(lambda prompt, _: next(replies))))
    assert (found["win"], found["unusable"]) == (1.0, 0.5)


def test_a_request_stands_in_the_template():
    _, model = figures("1", template="User: {request}\nBot:", options=GenerateOptions(stop=("x",)))
    assert model.calls[0].prompt == "User: Count to 0.\nBot:"


def test_requests_without_a_reference_are_rejected():
    task = judge_task("counting", "x", Source(make=lambda: [{"request": "x"}]), LONGER)
    with pytest.raises(DataError, match="reference"):
        run_task(ScriptedModel(), task, None)
