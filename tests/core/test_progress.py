"""What a progress bar prints where there is no terminal, and how it estimates the time left."""

import types

import pytest

from jaxrec.core import ProgressBar, progress


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_time_left_counts_the_validations_to_come(clock, capsys):
    # Steps of 1 s, and a validation of 30 s after each ten of them.
    with ProgressBar("train", 50, aside_every=10) as bar:
        bar.update(0)
        for step in range(1, 51):
            clock.now += 1.0
            bar.update(step)
            if step % 10 == 0:
                if step > 10:
                    # The validation after this step is still to come.
                    left = (50 - step) + 30 * (1 + (50 - step) // 10)
                    assert bar.seconds_left(step) == pytest.approx(left)
                with bar.aside("validating"):
                    clock.now += 30.0
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("train: validating, about 30 s") == 4
    # Before the first validation its time is unknown.
    assert lines[0] == "train: 10/50 1.0 steps/s, ETA 40 s and validations"
    assert lines[1] == "train: 11/50 1.0 steps/s, ETA 159 s"
    assert lines[-2:] == ["train: 50/50 1.0 steps/s", "train: validating, about 30 s"]


def test_a_bar_inside_another_is_silent_if_it_is_quick(clock, capsys):
    with ProgressBar("train", 5) as outer:
        outer.update(1)
        with ProgressBar("validate", 100, "user") as inner:
            inner.update(50)
            clock.now += 5
            inner.update(100)
        assert capsys.readouterr().err == ""
        with ProgressBar("validate", 100, "user") as inner:
            inner.update(10)
            clock.now += 11
            inner.update(20)
            clock.now += 1
            inner.update(100)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["validate:", "20/100"],
        ["validate:", "100/100"],
    ]
    # A bar of its own ends with a line in any case.
    with ProgressBar("encode", 3, "text") as bar:
        bar.update(3)
    assert capsys.readouterr().err.startswith("encode: 3/3")
