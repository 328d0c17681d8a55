"""Statements, entities and titles against sets, and agreement at both of its ends."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import precision_score, recall_score

from jaxrec.core import DataError
from jaxrec.eval import (
    agreement,
    find_entities,
    invented_titles,
    judge_statements,
    list_rates,
    set_overlap,
)

SOURCE = {("Ada", "born in", "Rome"), ("Ada", "friend of", "Bo"), ("Bo", "born in", "Oslo")}


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (("Ada", "born in", "Rome"), "supported"),
        (("Ada", "born in", "Oslo"), "contradicted"),
        (("Ada", "friend of", "Cy"), "unverifiable"),
        (("Cy", "born in", "Rome"), "unverifiable"),
        (("Bo", "friend of", "Ada"), "unverifiable"),
    ],
)
def test_a_statement_is_of_one_of_three_kinds(statement, kind):
    found = judge_statements([statement, statement], SOURCE, functional={"born in"})
    assert (getattr(found, kind), found.total) == (1, 1)


def test_without_named_relations_each_has_one_object():
    found = judge_statements([("Ada", "friend of", "Cy")], SOURCE)
    assert found.contradicted == 1


def test_precision_and_recall_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(200):
        ours, theirs = rng.integers(0, 2, (2, 12))
        ours[0] = theirs[0] = 1
        common, found, wanted = set_overlap(np.flatnonzero(ours), np.flatnonzero(theirs))
        assert common / found == pytest.approx(precision_score(theirs, ours))
        assert common / wanted == pytest.approx(recall_score(theirs, ours))


def test_entities_are_whole_words_in_their_case():
    names = ["Ann", "Ann Lee", "Will", "A.B.", ""]
    assert find_entities("Anna will meet Ann Lee of A.B. today", names) == {"Ann Lee", "A.B."}
    assert find_entities("Ann and Will.", names) == {"Ann", "Will"}
    assert find_entities("Ann", []) == set()


def test_equal_samples_agree_and_different_ones_do_not():
    assert agreement("Rome", ["rome", "The Rome."]) == 1.0
    assert agreement("Rome", ["Oslo", "Bern"]) == 0.0
    assert agreement("x", ["y", "z"], same=lambda answer, sample: float(sample == "z")) == 0.5


def test_agreement_without_samples_is_rejected():
    for samples in ([], "Rome"):
        with pytest.raises(DataError, match="sample"):
            agreement("Rome", samples)


def test_titles_are_found_in_their_usual_spellings():
    catalogue = ["Matrix, The (1999)", "Amélie (2001)", "2001: A Space Odyssey (1968)"]
    known = ["The Matrix", "matrix the", "Amélie", "2001 - a space odyssey", "Matrix, The (1999)"]
    assert invented_titles(known, catalogue) == [False] * len(known)
    assert invented_titles(["Matrix 2", "2001", ""], catalogue) == [True] * 3
    with pytest.raises(DataError, match="empty"):
        invented_titles(["Matrix"], [])


ITEMS = st.integers(-1, 5)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_rates_of_lists_count_every_answer_once(drawn):
    count, width = drawn.draw(st.integers(1, 4)), drawn.draw(st.integers(1, 4))
    matrix = st.lists(st.lists(ITEMS, min_size=width, max_size=width), min_size=count)
    items = np.array(drawn.draw(matrix)[:count])
    histories = [np.array(drawn.draw(st.lists(st.integers(0, 5))), int) for _ in items]
    allowed = None
    if drawn.draw(st.booleans()):
        allowed = [np.array(drawn.draw(st.lists(st.integers(0, 5))), int) for _ in items]
    written = np.array([[drawn.draw(st.booleans()) for _ in row] for row in items])
    written[0, 0] = True
    found = list_rates(items, histories, allowed, written)
    answers = [
        (row, place, int(items[row, place]))
        for row in range(count)
        for place in range(width)
        if written[row, place]
    ]
    share = 1 / len(answers)
    invented = [a for a in answers if a[2] == -1]
    seen = [a for a in answers if a[2] >= 0 and a[2] in histories[a[0]]]
    twice = [
        a for a in answers if a[2] >= 0 and any(b[0] == a[0] and b[2] == a[2] and b[1] < a[1]
                                                for b in answers)
    ]  # fmt: skip
    firsts = [next((a[2] for a in answers if a[0] == row), -1) for row in range(count)]
    legal = [
        item >= 0 and (allowed is None or item in allowed[row]) for row, item in enumerate(firsts)
    ]
    assert found["hallucination"] == pytest.approx(len(invented) * share)
    assert found["repeats"] == pytest.approx(len(seen) * share)
    assert found["duplicates"] == pytest.approx(len(twice) * share)
    assert found["compliance"] == pytest.approx(sum(legal) / count)


def test_rates_of_lists_need_an_answer_and_a_history_for_each_list():
    nothing = np.zeros((1, 2), bool)
    with pytest.raises(DataError, match="at least one answer"):
        list_rates(np.array([[1, 2]]), [np.array([3])], written=nothing)
    with pytest.raises(DataError, match=r"shape \(1, 2\) with 2 histories"):
        list_rates(np.array([[1, 2]]), [np.array([3]), np.array([3])])
