"""Every recruitment task is above chance for a bag of words, and below the best possible."""

import pytest

from jaxrec.data.recruitment import TASKS, WorldOptions, recruitment_world


@pytest.fixture(scope="module")
def measurement(bench):
    return bench("measurements.recruitment")


@pytest.fixture(scope="module")
def rows(measurement):
    world = recruitment_world(WorldOptions(jobs=2500, people=1200, applications=6))
    return {row["task"]: row for row in measurement.measure(world)}


@pytest.mark.parametrize("name", TASKS)
def test_a_bag_of_words_is_between_chance_and_the_best(name, rows, measurement):
    row = rows[name]
    assert measurement.between(row)
    # Neither noise nor solved: a part of the way from chance to the best.
    share = (row["words"] - row["chance"]) / (row["best"] - row["chance"])
    assert 0.1 < share < 0.97, row


def test_harder_levels_are_harder_for_everybody(rows):
    for what in ("jd", "resume"):
        for field in ("words", "best"):
            figures = [rows[f"{what}_{level}_class"][field] for level in ("1st", "2nd", "3rd")]
            assert figures == sorted(figures, reverse=True) and figures[0] > figures[2] + 0.2


def test_what_is_not_between_is_a_failure(measurement):
    row = {"chance": 0.5, "best": 0.9}
    assert measurement.between(row | {"words": 0.6})
    assert not measurement.between(row | {"words": 0.95})
    assert not measurement.between(row | {"words": 0.5})
    assert measurement.between({"chance": 1.0, "best": 0.3, "words": 0.5})
