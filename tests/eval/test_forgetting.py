"""Accuracy on both sides of a date, and what an update keeps."""

import datetime
import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from jaxrec.core import DataError
from jaxrec.eval import recency, retention


def test_recency_is_the_accuracy_on_each_side():
    rng = np.random.default_rng(0)
    for _ in range(200):
        right, years = rng.integers(0, 2, 30), rng.integers(2000, 2010, 30)
        found = recency(right.tolist(), years.tolist(), cutoff=2004)
        for side, chosen in ((found.before, years <= 2004), (found.after, years > 2004)):
            assert side == pytest.approx(accuracy_score(np.ones(chosen.sum()), right[chosen]))
        assert found.gap == found.before - found.after


def test_dates_may_be_texts_and_a_side_without_facts_is_nan():
    found = recency([1, 0], ["2020-01-31", "2020-02-01"], cutoff="2020-01-31")
    assert (found.before, found.after) == (1.0, 0.0)
    assert math.isnan(recency([1], [2000], cutoff=2001).after)


def test_retention_is_the_recall_of_what_was_right():
    rng = np.random.default_rng(1)
    for _ in range(200):
        before, after = rng.integers(0, 2, (2, 20))
        before[:2] = 0, 1
        found = retention(before.tolist(), after.tolist())
        assert found.retained == pytest.approx(recall_score(before, after))
        # What is learned are the wrong answers that are no longer wrong.
        assert found.learned == pytest.approx(1 - recall_score(1 - before, 1 - after))
        assert found.change == pytest.approx(after.mean() - before.mean())


def test_an_update_without_effect_retains_all_and_learns_nothing():
    found = retention([1, 0, 1], [1, 0, 1])
    assert tuple(found) == (1.0, 0.0, 0.0)
    assert math.isnan(retention([0, 0], [1, 1]).retained)


@pytest.mark.parametrize(
    ("dates", "cutoff", "message"),
    [
        (
            [{}],
            {},
            r"the date \{\} \(dict\) cannot be compared with the cut-off \{\}: '>' not supp",
        ),
        ([None], None, r"the date None \(NoneType\) cannot be compared"),
        ([{1}], {2}, r"the date \{1\} \(set\) cannot .* neither is it later nor not"),
        (
            [2020.0, math.nan],
            2020.0,
            r"the date nan \(float\) cannot be compared .* finite numbers",
        ),
        ([2020.0, 2021.0], math.nan, "cannot be compared with the cut-off nan"),
        ([np.datetime64("NaT")], np.datetime64("2020-01-01"), r"NaT.* \(datetime64\) cannot"),
        (
            [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)],
            datetime.datetime(2020, 1, 1),
            "can't compare offset-naive and offset-aware datetimes",
        ),
    ],
)
def test_dates_without_an_order_are_named(dates, cutoff, message):
    with pytest.raises(DataError, match=message):
        recency([1] * len(dates), dates, cutoff=cutoff)


def test_what_does_not_fit_is_rejected():
    with pytest.raises(DataError, match="as many dates"):
        recency([1, 0], [2000], cutoff=2000)
    with pytest.raises(DataError, match="one type"):
        recency([1], ["2000"], cutoff=2000)
    with pytest.raises(DataError, match="as many after"):
        retention([1, 0], [1])
    with pytest.raises(DataError, match="1 or 0"):
        retention([0.5], [1])
    with pytest.raises(DataError, match="right"):
        recency([], [], cutoff=1)
