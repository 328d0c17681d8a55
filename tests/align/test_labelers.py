"""Labelers compared: the order of answers does not matter, and each criterion has its own scale."""

import numpy as np
import pytest

from jaxrec.align import (
    Feedback,
    agreement_with,
    by_criterion,
    krippendorff_alpha,
    rating_table,
)


def record(labeler, number, kind, payload, answers=("a", "b", "c")):
    return Feedback(
        prompt_id=str(number),
        prompt=f"prompt {number}",
        answers=answers,
        labeler=labeler,
        kind=kind,
        payload=payload,
        time=0.0,
    )


def rankings(names, count=12):
    """Two labelers who often rank alike; `names` renames the three answers of each prompt."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        first = rng.permutation(3) + 1
        second = first if rng.random() < 0.6 else rng.permutation(3) + 1
        for who, ranks in (("ann", first), ("bob", second)):
            found.append(
                record(who, number, "ranking", {"ranks": ranks.tolist()}, names[number % 3])
            )
    return found


def test_names_of_answers_change_neither_kappa_nor_alpha():
    orders = [("a", "b", "c"), ("c", "a", "b"), ("b", "c", "a")]
    one, other = rankings([("a", "b", "c")] * 3), rankings(orders)
    kappas = [agreement_with(records, "ann")[0].kappa for records in (one, other)]
    alphas = [krippendorff_alpha(rating_table(records)[1]) for records in (one, other)]
    assert kappas[0] == pytest.approx(kappas[1]) and alphas[0] == pytest.approx(alphas[1])
    # Without ties, one of two answers is better by chance in half of the pairs.
    percent = agreement_with(one, "ann")[0].percent
    assert kappas[0] == pytest.approx(2 * percent - 1)
    # With n labels of both values alike, D_e has the factor n / (n - 1).
    labels = 12 * 3 * 2 * 2
    assert alphas[0] == pytest.approx(1 - (labels - 1) / labels * 2 * (1 - percent))


def test_labelers_who_agree_on_one_pair_agree_completely():
    # The better answers come first in the alphabet too.
    records = [record(who, 0, "best", {"best": 0}, ("a", "b")) for who in ("ann", "bob")]
    (row,) = agreement_with(records, "ann")
    assert (row.units, row.percent, row.kappa) == (1, 1.0, 1.0)
    assert krippendorff_alpha(rating_table(records)[1]) == 1


def test_criteria_are_separated():
    first = {"helpful": [5, 1, 3], "harmless": [True, False, True]}
    second = {"helpful": [4, 2, 3]}
    records = [
        record("ann", 0, "questions", {"scores": first}),
        record("bob", 0, "questions", {"scores": second}),
    ]
    found = by_criterion(records)
    assert list(found) == ["helpful", "harmless"]
    labelers, table = rating_table(found["helpful"])
    assert labelers == ["ann", "bob"] and table.tolist() == [[5, 1, 3], [4, 2, 3]]
    assert rating_table(found["harmless"])[1].tolist() == [[1, 0, 1]]
    assert list(by_criterion(rankings([("a", "b", "c")] * 3))) == ["ranking"]
