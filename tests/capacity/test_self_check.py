"""Agreement of samples for models that know, that guess, and that are sure of what is wrong."""

import dataclasses
import math

import pytest

from jaxrec.capacity import Source, StudyOptions, run_task, self_check_task
from jaxrec.core import ConfigError
from jaxrec.prompting import ScriptedModel

ROWS = [{"question": f"What is {n}?", "answers": [f"answer{n}"]} for n in range(20)]
TASK = dataclasses.replace(
    self_check_task("quiz", "A quiz.", Source(make=lambda: ROWS), samples=4), shots=0
)


def figures(answer):
    def whole(prompt, sample):
        return f" {answer(int(prompt.rpartition('What is ')[2].split('?')[0]), sample)}"

    found = run_task(ScriptedModel(whole), TASK, None, StudyOptions(resamples=10)).estimates
    return {name: estimate.value for name, estimate in found.items()}


def test_one_who_knows_agrees_with_itself_and_is_right():
    found = figures(lambda number, sample: f"answer{number}")
    assert math.isnan(found.pop("agreement_wrong"))
    assert found == {"agreement": 1.0, "exact_match": 1.0, "agreement_right": 1.0}


def test_one_who_is_sure_of_what_is_wrong_agrees_too():
    found = figures(lambda number, sample: "nonsense")
    assert (found["agreement"], found["exact_match"]) == (1.0, 0.0)
    assert found["agreement_wrong"] == 1.0


def test_one_who_guesses_where_it_does_not_know_shows_it():
    # It knows the even ones; the first sample of the others is also its greedy answer.
    found = figures(lambda n, sample: f"answer{n}" if n % 2 == 0 else f"guess{sample}")
    assert found["exact_match"] == 0.5
    assert found["agreement_right"] == 1.0
    assert found["agreement_wrong"] == 0.25
    assert found["agreement"] == pytest.approx((1 + 0.25) / 2)


def test_too_few_samples_are_rejected():
    for settings in ({"samples": 1}, {"temperature": 0.0}, {"temperature": math.nan}):
        with pytest.raises(ConfigError, match="at least 2 samples"):
            self_check_task("quiz", "x", Source(make=lambda: ROWS), **settings)
