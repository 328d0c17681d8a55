"""MC1 and MC2 against lm-evaluation-harness."""

import math

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.eval import mc1, mc2


def random_case(rng):
    count = int(rng.integers(2, 9))
    labels = rng.permutation([1, 0, *rng.integers(0, 2, count - 2)])
    return rng.normal(-20, 8, count), labels.tolist()


def test_mc2_is_that_of_the_harness():
    utils = pytest.importorskip("lm_eval.tasks.truthfulqa.utils")
    rng = np.random.default_rng(0)
    for _ in range(200):
        logprobs, labels = random_case(rng)
        document = {"mc2_targets": {"labels": labels}}
        theirs = utils.process_results_mc2(document, [(value, False) for value in logprobs])["acc"]
        assert mc2(logprobs, labels) == pytest.approx(theirs, rel=1e-9)


def test_mc1_is_the_accuracy_of_the_likeliest_answer():
    rng = np.random.default_rng(1)
    for _ in range(200):
        logprobs, _ = random_case(rng)
        labels = np.eye(len(logprobs), dtype=int)[rng.integers(len(logprobs))]
        assert mc1(logprobs, labels) == float(labels[np.argmax(logprobs)] == 1)


def test_equal_answers_are_at_chance():
    assert mc1([-3.0] * 4, [0, 0, 1, 0]) == 0.25
    assert mc2([-3.0] * 4, [0, 1, 1, 0]) == 0.5


def test_probabilities_below_the_smallest_float_have_a_share():
    logprobs = [-2000 + math.log(3), -2000.0]
    assert mc2(logprobs, [1, 0]) == pytest.approx(0.75)


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [1], [2, 0], [True, "0"]])
def test_labels_that_are_no_question_are_rejected(labels):
    for metric in (mc1, mc2):
        with pytest.raises(DataError):
            metric([-1.0, -2.0], labels)


@pytest.mark.parametrize("logprobs", [[math.nan, -1.0], [-math.inf, -math.inf]])
def test_logprobs_that_are_none_are_rejected(logprobs):
    for metric in (mc1, mc2):
        with pytest.raises(DataError, match="log-probability"):
            metric(logprobs, [1, 0])
