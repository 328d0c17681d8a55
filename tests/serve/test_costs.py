"""What calls cost decides how many rows share one: against all ways to divide the rows."""

import itertools
import math

import numpy as np
import pytest

from jaxrec.serve.costs import CallCosts

SIZES = (1, 4, 16)


@pytest.mark.parametrize("seed", range(8))
def test_the_count_has_the_cheapest_rows(seed):
    rng = np.random.default_rng(seed)
    seconds = dict(zip(SIZES, np.sort(rng.uniform(0.1, 3.0, 3)), strict=True))
    costs = CallCosts(SIZES)
    for size, value in seconds.items():
        costs.note("a", size, value + 1.0)
        costs.note("a", size, value)  # the fastest call counts
    for waiting in range(1, 40):
        counts = range(1, min(waiting, 16) + 1)
        each = {n: seconds[next(s for s in SIZES if s >= n)] / n for n in counts}
        found = costs.count("a", waiting)
        assert math.isclose(each[found], min(each.values()))
        full = min(seconds[size] / size for size in SIZES)
        assert math.isclose(costs.saving("a", waiting), each[found] - full, abs_tol=1e-12)


def test_a_call_that_costs_the_same_takes_all_rows_and_an_unknown_one_too():
    costs = CallCosts(SIZES)
    for size in SIZES:
        costs.note("flat", size, 1.0)
    for program, waiting in itertools.product(("flat", "unknown"), (1, 3, 5, 16, 90)):
        assert costs.count(program, waiting) == min(waiting, 16)
    assert costs.saving("flat", 16) == 0 and costs.saving("unknown", 16) == math.inf


def test_the_fastest_of_some_calls_is_noted():
    times = iter([0.0, 5.0, 10.0, 12.0])
    costs, calls = CallCosts((1, 2), clock=lambda: next(times)), []
    costs.measure("a", 1, lambda: calls.append(1))
    costs.note("a", 2, 2.0)
    assert calls == [1, 1] and costs.saving("a", 1) == 1.0
