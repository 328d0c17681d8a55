"""The tables of choices, of decoding and of slots: metrics, rules and rates by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score

from jaxrec.core import DataError
from jaxrec.data import Dataset, leave_one_out, random_split
from jaxrec.ids import simple
from jaxrec.systems.p5.choices import (
    best_threshold,
    metrics_of_choices,
    rules,
    training_examples,
)
from jaxrec.systems.p5.conversation import popular, turns
from jaxrec.systems.p5.decoding import choice_rates, item_rates
from jaxrec.systems.p5.tables import slot_rows
from jaxrec.systems.p5.tasks import TASKS
from jaxrec.testing import tiny_interactions
from jaxrec.texts import Datum, PromptData, Questions, Turn, held_out, make_names


@pytest.fixture(scope="module")
def data():
    interactions = tiny_interactions()
    dataset = Dataset(interactions, leave_one_out(interactions))
    ratings = random_split(interactions)
    kept = ratings.train[~held_out(dataset)[ratings.train]]
    return PromptData(
        dataset=dataset,
        names=make_names("tokens", "tokens", simple.independent(30), 40),
        ratings=dataclasses.replace(ratings, train=kept),
        reviews=None,
        max_items=4,
        candidates=6,
    )


def test_means_over_users_are_the_accuracy_and_the_auc_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, users = rng.integers(0, 2, 200), rng.integers(0, 20, 200)
    scores = np.round(rng.normal(size=200) + (truth == 0), 1)
    chosen = np.where(scores > 0.3, 0, 1)
    found = metrics_of_choices(truth, scores, users, chosen)
    assert found["accuracy"].mean() == pytest.approx(accuracy_score(truth, chosen))
    assert found["auc"].mean() == pytest.approx(roc_auc_score(truth == 0, scores))
    within, weights = [], []
    for user in range(20):
        mine = users == user
        if len(set(truth[mine])) == 2:
            within.append(roc_auc_score(truth[mine] == 0, scores[mine]))
            weights.append(mine.sum())
    assert found["within_user_auc"].mean() == pytest.approx(np.average(within, weights=weights))
    # Where no user has both answers there is no AUC within users, and none at all of one answer.
    assert set(metrics_of_choices(truth, scores, truth, chosen)) == {"accuracy", "auc"}
    assert set(metrics_of_choices(truth * 0, scores, users, chosen)) == {"accuracy"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=1, max_size=12))
def test_the_threshold_is_right_as_often_as_any_can_be(pairs):
    truth, scores = np.array(pairs).T

    def right(bound):
        return np.mean(np.where(scores >= bound, 0, 1) == truth)

    best = best_threshold(truth, scores.astype(float))
    bounds = [*sorted(set(scores.tolist())), np.inf]
    assert right(best) == max(map(right, bounds))
    assert best == next(bound for bound in bounds if right(bound) == right(best))


def test_rules_know_the_training_part_alone(data):
    interactions = data.dataset.interactions
    train = data.ratings.train
    examples = {}
    for name in ("direct_yesno", "rating_like", "rating_yesno"):
        task = TASKS[name]
        learned = training_examples(data, task)
        asked = task.source.held_out(data, "test", task.source.units(data, "test"))
        examples[name] = asked, rules(data, task, learned, asked)
    asked, found = examples["direct_yesno"]
    counts = data.dataset.split.train.item.tolist()
    assert found["popularity"][1].tolist() == [counts.count(datum.asked) for datum in asked]
    assert set(found) == {"commonest answer", "popularity", "item mean"}

    def mean(item):
        rows = train[interactions.item[train] == item]
        return interactions.rating[rows if len(rows) else train].mean()

    wanted = [mean(datum.asked) for datum in asked]
    np.testing.assert_allclose(found["item mean"][1], wanted, rtol=1e-6)
    # Without a rating task, the ratings of all rows but the held-out ones count.
    alone = dataclasses.replace(data, ratings=None)
    bare = rules(alone, TASKS["direct_yesno"], asked, asked)["item mean"][1]
    rows = np.flatnonzero(~held_out(data.dataset))
    mine = rows[interactions.item[rows] == asked[0].asked]
    assert bare[0] == pytest.approx(interactions.rating[mine].mean(), rel=1e-6)
    asked, found = examples["rating_like"]
    assert set(found) == {"commonest answer", "popularity", "item mean", "user and item bias"}
    np.testing.assert_allclose(found["item mean"][1], [mean(d.item) for d in asked], rtol=1e-6)
    # A rating that lies closer to the stars in question speaks for "yes".
    asked, found = examples["rating_yesno"]
    near = [-abs(mean(d.item) - d.star) for d in asked]
    np.testing.assert_allclose(found["item mean"][1], near, rtol=1e-6)


def test_texts_that_are_no_answer_are_illegal_and_wrong():
    rates = choice_rates(["yes", "no", "yes no", ""], ("yes", "no"), np.array([0, 0, 0, 1]))
    assert rates == {"compliance": 0.5, "accuracy": 0.25}


def test_candidates_allow_no_other_item_and_the_catalogue_allows_all():
    data = [
        Datum(user=n, item=1, history=np.array([4]), candidates=np.array([1, 2])) for n in range(2)
    ]
    asked = Questions(data=data, prompts=["", ""])
    items, free = np.array([[2, 1, -1], [1, 2, -1]]), np.array([[3, 4, 4], [-1, 2, 1]])
    one = item_rates(TASKS["direct_choose"], asked, items, free, 5)
    assert one["trie"] == dict.fromkeys(("hallucination", "repeats", "duplicates"), 0.0) | {
        "compliance": 1.0
    }
    assert one["free"] == pytest.approx(
        {"compliance": 0.0, "hallucination": 1 / 6, "repeats": 2 / 6, "duplicates": 1 / 6}
    )
    every = item_rates(TASKS["sequential"], asked, items, free, 5)
    assert every["free"]["compliance"] == 0.5
    with pytest.raises(DataError, match="items of a search"):
        item_rates(TASKS["sequential"], asked, items, free, 2)


def test_a_choice_by_slot_and_one_by_item_are_told_apart():
    orders = [np.array([[7, 8, 9]] * 4), np.array([[8, 9, 7]] * 4), np.array([[9, 7, 8]] * 4)]
    asked = [
        Questions(data=[Datum(candidates=row) for row in rows], prompts=[""] * 4) for rows in orders
    ]
    by_item = slot_rows(asked, [np.array([[8]] * 4)] * 3)
    assert by_item == {"same_choice": 1.0, "slot_of_choice": pytest.approx((0.5 + 0 + 1) / 3)}
    by_slot = slot_rows(asked, [rows[:, -1:] for rows in orders])
    assert by_slot == {"same_choice": 0.0, "slot_of_choice": 1.0}


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_recall_and_success_of_turns_are_what_counting_says(drawn):
    shape = st.lists(st.permutations(range(4)), min_size=3, max_size=3)
    lists = [np.array(rows) for rows in drawn.draw(st.lists(shape, min_size=1, max_size=4))]
    targets = np.array(drawn.draw(st.lists(st.integers(0, 5), min_size=3, max_size=3)))
    for turn, row in enumerate(turns(lists, targets, ks=(1, 3))):
        for k in (1, 3):
            hits = [
                [target in items[user, :k] for items in lists[: turn + 1]]
                for user, target in enumerate(targets.tolist())
            ]
            assert row[f"recall@{k}"] == pytest.approx(np.mean([mine[-1] for mine in hits]))
            assert row[f"success@{k}"] == pytest.approx(np.mean([any(mine) for mine in hits]))


def test_popularity_within_genres_puts_items_with_more_of_them_first(data):
    counts = np.bincount(data.dataset.split.train.item, minlength=30)
    genre = data.genres.of_item[4][0]
    said = [Datum(user=0, item=4, turns=(Turn("genre", int(genre)), Turn("rejection", 7)))]
    barred = [np.array([7, 2])]
    plain = popular(data, said, counts, 30, barred, fitting=False)[0].tolist()
    order = sorted((i for i in range(30) if i not in (2, 7)), key=lambda i: (-counts[i], i))
    assert plain == [*order, -1, -1]
    mine = [i for i in order if genre in data.genres.of_item[i]]
    rest = [i for i in order if i not in mine]
    assert popular(data, said, counts, 30, barred, fitting=True)[0].tolist() == [
        *mine, *rest, -1, -1,
    ]  # fmt: skip
    assert popular(data, said, counts, 3, None, fitting=False).shape == (1, 3)
