"""Calls of tools against multisets of scikit-learn's labels, and plans by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from jaxrec.core import DataError
from jaxrec.eval import Attempt, call_counts, plan_metrics


def test_precision_and_recall_of_different_calls_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    tools = [(f"tool{number}", "x") for number in range(10)]
    for _ in range(200):
        made, wanted = rng.integers(0, 2, (2, 10))
        made[0] = wanted[0] = 1
        found = call_counts(
            [tools[i] for i in np.flatnonzero(made)], [tools[i] for i in np.flatnonzero(wanted)]
        )
        assert found.right / found.made == pytest.approx(precision_score(wanted, made))
        assert found.right / found.wanted == pytest.approx(recall_score(wanted, made))
        assert found.exact == found.right


def test_a_call_with_other_arguments_is_right_by_name_alone():
    found = call_counts([("Add", "2"), ("Add", "3")], [("Add", "3"), ("Add", "4")])
    assert (found.right, found.exact) == (2, 1)


def test_a_repeated_call_is_right_once():
    found = call_counts([("Add", "2")] * 3, [("Add", "2")])
    assert tuple(found) == (1, 1, 3, 1)


def test_the_order_of_calls_does_not_matter():
    calls = [("Add", "1"), ("Date", "")]
    assert call_counts(calls, calls[::-1]).exact == 2


def test_a_plan_fails_from_its_first_impossible_step_on():
    found = plan_metrics(
        [
            Attempt(planned=2, taken=2, success=True),
            Attempt(planned=6, taken=6, success=True),
            Attempt(planned=4, taken=1, success=False),
            Attempt(planned=4, taken=4, success=False),
            Attempt(planned=0, taken=0, success=False),
        ]
    )
    assert found == {
        "success": 2 / 5,
        "executable": 3 / 5,
        "executability": pytest.approx((1 + 1 + 1 / 4 + 1) / 5),
        "steps": 4.0,
    }


def test_without_success_the_steps_are_nan():
    assert math.isnan(plan_metrics([Attempt(planned=1, taken=0, success=False)])["steps"])


def test_what_cannot_be_is_rejected():
    with pytest.raises(DataError, match="taken"):
        Attempt(planned=1, taken=2, success=True)
    with pytest.raises(DataError, match="no attempts"):
        plan_metrics([])
