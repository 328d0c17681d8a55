"""Multiple choice of dates at its ceiling and at chance."""

import dataclasses

import pytest

from jaxrec.capacity import TASKS, StudyOptions, read_documents, run_task
from jaxrec.core import DataError
from jaxrec.prompting import ScriptedModel

STUDY = StudyOptions(limit=100, resamples=10)


def figures(root, logprob):
    model = ScriptedModel(logprob=logprob)
    found = run_task(model, TASKS["dates"], root, STUDY).estimates
    return {name: estimate.value for name, estimate in found.items()}


def test_one_who_knows_the_dates_is_at_the_ceiling(real_data):
    root = real_data("last-letters").parent
    right = {
        (d["input"], f" {date}")
        for d in read_documents(TASKS["dates"].source, root).asked
        for date, score in d["target_scores"].items()
        if score
    }

    def logprob(prompt, text):
        question = prompt.rpartition("Q: ")[2].removesuffix("\nA:")
        return 0.0 if (question, text) in right else -9.0

    assert figures(root, logprob)["accuracy"] == 1.0


def test_one_who_cannot_tell_them_apart_is_at_chance(real_data):
    found = figures(real_data("last-letters").parent, lambda prompt, text: -1.0)
    assert found["accuracy"] == pytest.approx(found["chance"])
    assert 1 / 8 < found["chance"] < 1 / 2


def test_a_question_with_two_right_dates_is_rejected():
    task = dataclasses.replace(TASKS["dates"], shots=0)
    for scores in ({"a": 1, "b": 1}, {"a": 0, "b": 0}, {"a": 1}):
        with pytest.raises(DataError, match="target_scores"):
            task.ask({"input": "x", "target_scores": scores}, "")
