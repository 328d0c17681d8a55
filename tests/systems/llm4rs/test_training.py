"""Training texts of LLM4RS: what they ask, what they answer, and what they never show."""

import re

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.systems.llm4rs import FORMS, Instances, PromptConfig, Prompter, training_texts
from jaxrec.testing import tiny_interactions

DATA = tiny_interactions()
TITLES = [f"T{n}." for n in range(DATA.num_items)]
NAME = re.compile(r"T(\d+)\.")


def texts(rows=None, **settings):
    rows = np.arange(len(DATA)) if rows is None else rows
    held = Instances(data=DATA, test=[], pool=[], valid=[], fit=rows, train=rows, threshold=4.0)
    prompter = Prompter(config=PromptConfig(role=False), titles=TITLES)
    given = {"forms": FORMS, "history": 3, "candidates": 4, "draws": 2, "seed": 0, **settings}
    return training_texts(held, prompter, given.pop("forms"), **given)


def parts(text):
    """Items of the history, items asked about, and the answer."""
    shown, asked = text.text.split("oldest first: ", 1)[1].split(". ", 1)
    if not NAME.match(shown + "."):
        shown = ""
    places = [int(n) for n in NAME.findall(shown + ".")]
    return places, [int(n) for n in NAME.findall(asked)], text.answers[0].strip()


def rating_of(items):
    """All users who rated all of the items, with their ratings."""
    rows = {}
    for user, item, rating in zip(DATA.user, DATA.item, DATA.rating, strict=True):
        rows.setdefault(int(user), {})[int(item)] = float(rating)
    return [
        (user, [rated[item] for item in items])
        for user, rated in rows.items()
        if all(item in rated for item in items)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_answers_say_the_ratings_of_a_user_with_this_history(form):
    found = texts(forms=[form])
    assert len(found) > 50
    for text in found:
        history, asked, answer = parts(text)
        users = rating_of(history + asked)
        fits = []
        for _, ratings in users:
            liked, own = ratings[: len(history)], ratings[len(history) :]
            if form == "point":
                right = answer == f"{own[0]:g}"
            elif form == "pair":
                right = own[0] != own[1] and answer == "AB"[int(own[1] > own[0])]
            else:
                order = ["ABCD".index(letter) for letter in answer.split()]
                right = sorted(order) == [0, 1, 2, 3]
                right = right and sorted(own, reverse=True) == [own[place] for place in order]
            fits.append(right and min(liked) >= 4)
        assert any(fits), text


def test_rows_that_are_held_out_are_not_asked_about():
    kept = np.flatnonzero(DATA.item != 7)

    def named(found):
        return {item for text in found for items in parts(text)[:2] for item in items}

    assert 7 not in named(texts(kept)) and 7 in named(texts())


def test_half_of_the_points_are_negatives_and_the_target_stands_anywhere():
    points = [float(parts(text)[2]) for text in texts(forms=["point"], draws=9)]
    assert 0.4 < np.mean([rating >= 4 for rating in points]) < 0.6
    firsts = [parts(text)[2][0] for text in texts(forms=["list"], draws=9)]
    counts = np.array([firsts.count(letter) for letter in "ABCD"]) / len(firsts)
    assert counts.min() > 0.15 and counts.max() < 0.35


def test_histories_are_cut_at_random_where_that_is_wanted():
    whole = [len(parts(text)[0]) for text in texts(draws=5)]
    cut = [len(parts(text)[0]) for text in texts(draws=5, shortened=1.0)]
    assert min(whole) == 1 and max(whole) == 3 and min(cut) == 0
    assert np.mean(cut) < np.mean(whole) - 0.4
    same, again = texts(), texts(shortened=0.0)
    assert [text.text for text in same] == [text.text for text in again]


def test_data_without_anything_to_learn_are_named():
    with pytest.raises(DataError, match="nothing to learn"):
        texts(np.flatnonzero(DATA.rating >= 4))
