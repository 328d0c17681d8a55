"""What a progress bar prints where there is no terminal, and how it estimates the time left."""

import types

import pytest

from jaxrec.core import ProgressBar, count_done, count_up, progress


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


def test_work_reports_to_the_innermost_bar_and_only_if_that_counts(clock, capsys):
    count_done(5)  # no bar at all
    with ProgressBar("train", 4) as outer, ProgressBar("validate", 30, "user", counts=True):
        for done in (0, 10, 10, 10, 99):
            clock.now += 11
            count_done(done)
        report = count_up()
        report(1)
        with ProgressBar("other", 9) as other:
            count_done(3)
            clock.now += 11
            other.update(1)
        outer.update(4)
    lines = [line.split()[:2] for line in capsys.readouterr().err.splitlines()]
    # More units than there are stay at the total.
    assert lines[:4] == [["validate:", f"{done}/30"] for done in (0, 10, 20, 30)]
    assert ["other:", "1/9"] in lines and ["other:", "3/9"] not in lines
    assert lines[-1] == ["train:", "4/4"]


def test_counting_up_reports_what_is_new(clock, capsys):
    with ProgressBar("validate", 7, "user", every=0, counts=True):
        report = count_up()
        for done in (2, 5, 7):
            report(done)
    lines = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["2/7", "5/7", "7/7"]
