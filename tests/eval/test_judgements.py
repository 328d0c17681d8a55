"""Pairs of verdicts, all of them."""

import itertools
import math

import pytest

from jaxrec.core import DataError
from jaxrec.eval import both_orders, tally

VERDICTS = ("first", "second", "tie", "unusable")


def test_only_two_verdicts_for_one_answer_decide():
    decided = {
        pair: both_orders(*pair)
        for pair in itertools.product(VERDICTS, repeat=2)
        if both_orders(*pair) not in (0.0,)
    }
    unread = decided.pop(("unusable", "unusable"))
    assert math.isnan(unread)
    assert decided == {("first", "second"): 1.0, ("second", "first"): -1.0}


def test_exchanging_the_opponents_exchanges_wins_and_losses():
    pairs = list(itertools.product(VERDICTS, repeat=2)) + [("first", "second")] * 3
    ours = tally(pairs)
    theirs = tally([(backward, forward) for forward, backward in pairs])
    assert (ours.win, ours.lose, ours.tie) == (theirs.lose, theirs.win, theirs.tie)
    assert ours.advantage == -theirs.advantage == ours.win - ours.lose > 0


def test_shares_are_of_the_comparisons_with_a_verdict():
    found = tally(
        [
            ("first", "second"),
            ("first", "first"),
            ("unusable", "first"),
            ("unusable", "unusable"),
        ]
    )
    assert (found.comparisons, found.unusable) == (3, 3)
    assert found.win + found.tie + found.lose == 1.0
    assert (found.win, found.inconsistent) == (1 / 3, 1 / 3)


def test_a_judge_that_likes_the_first_place_decides_nothing():
    found = tally([("first", "first")] * 5)
    assert (found.advantage, found.tie, found.inconsistent) == (0.0, 1.0, 1.0)


def test_verdicts_that_are_none_are_rejected():
    with pytest.raises(DataError, match="'A'"):
        both_orders("A", "B")
    for pairs in ([], [("unusable", "unusable")]):
        with pytest.raises(DataError, match="usable"):
            tally(pairs)
