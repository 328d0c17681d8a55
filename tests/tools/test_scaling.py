"""What the scaling measurement counts by hand is what a compiled step needs and moves."""

from pathlib import Path

import pytest

from jaxrec.testing import run_on_devices


@pytest.fixture(scope="module")
def found():
    return run_on_devices(8, Path(__file__).with_name("scaling_run.py"))


def test_parameters_and_moments_are_the_arguments_of_a_step(found):
    # Tables, and per block four kernels of attention, three of the MLP and two norms.
    parameters = 2 * 4096 * 128 + 6 * (4 * 128**2 + 3 * 128 * 352 + 2 * 128) + 128
    assert found["parameters"] == parameters
    counted = found["counted"]
    # Norms are not split over "model", nor are the steps of the optimizer over anything.
    assert counted["parameters"] == pytest.approx(4 * parameters / 8, rel=2e-3)
    state = counted["parameters"] + counted["moments"]
    batch = 8 // 4 * 65 * (4 + 1 + 4)
    assert found["compiled"]["arguments"] == state + batch + 3 * 4


def test_what_is_sent_is_what_is_counted_by_hand(found):
    for kind, counted in found["counted_sent"].items():
        # Norms are the rest.
        assert found["collectives"][kind]["sent"] == pytest.approx(counted, rel=0.02), kind
    others = set(found["collectives"]) - set(found["counted_sent"])
    assert sum(found["collectives"][kind]["sent"] for kind in others) < 1024
