"""What training prompts may say: the training part, and nothing of the held-out items."""

import dataclasses
import re

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import leave_one_out, random_split
from jaxrec.data.dataset import Dataset
from jaxrec.data.prompts import Task
from jaxrec.data.reviews import synthetic_reviews
from jaxrec.ids import simple
from jaxrec.systems.p5.prompts import TEMPLATES
from jaxrec.testing import tiny_interactions
from jaxrec.texts.prompted import fitted, item_numbers, make_names
from jaxrec.texts.tasks import (
    PromptData,
    check_data,
    draw_others,
    eval_candidates,
    held_out,
    make_task,
)

CANDIDATES = 6


@pytest.fixture(scope="module")
def data():
    interactions = tiny_interactions()
    dataset = Dataset(interactions, leave_one_out(interactions))
    names = make_names("tokens", "tokens", simple.independent(dataset.num_items), 40)
    ratings = random_split(interactions)
    kept = ratings.train[~held_out(dataset)[ratings.train]]
    return PromptData(
        dataset=dataset,
        names=names,
        ratings=dataclasses.replace(ratings, train=kept),
        reviews=synthetic_reviews(interactions),
        max_items=4,
        candidates=CANDIDATES,
    )


def _told(task: Task, epochs: int = 3):
    """(user, items in the source, target text) of all prompts of some epochs."""
    for place in range(epochs * task.size):
        source, target = task.example(0, place)
        user = re.search(r"<user_(\d+)>", source)
        items = [int(n) for n in re.findall(r"<a_(\d+)>", source)]
        yield user and int(user[1]) - 1, items, target


def _task(name, data):
    return make_task(name, fitted(TEMPLATES[name], data.names), data)


def _item(text):
    return int(text[3:-1])


def test_sequential_prompts_are_all_prefixes_of_the_training_part(data):
    train = data.dataset.split.train.sequences()
    found = set()
    for _, items, target in _told(_task("sequential", data), 1):
        found.add((*items, _item(target)))
    # Prompts without a user's name have no user to look at, so all are compared at once.
    expected = {
        (*history[max(0, end - 4) : end].tolist(), int(history[end]))
        for history in train
        for end in range(1, len(history))
    }
    assert found == expected


def test_sequential_prompts_ask_for_a_users_most_recent_targets(data):
    recent = dataclasses.replace(data, max_targets=2)
    found = [(*items, _item(target)) for _, items, target in _told(_task("sequential", recent), 1)]
    expected = [
        history[max(0, end - 4) : end + 1].tolist()
        for history in data.dataset.split.train.sequences()
        for end in range(max(1, len(history) - 2), len(history))
    ]
    assert sorted(found) == sorted(map(tuple, expected))


def test_prompts_with_a_history_may_leave_their_user_unnamed(data):
    hidden = dataclasses.replace(data, names=dataclasses.replace(data.names, anyone="someone"))
    for name in ("sequential", "sequential_choose", "straightforward"):
        for named, unnamed in zip(_texts(name, data), _texts(name, hidden), strict=True):
            expected = named if name == "straightforward" else re.sub(" ?<user_.*?>", "@", named)
            assert re.sub("^someone| someone", "@", unnamed) == expected


def _texts(name, data):
    return [_task(name, data).example(0, place)[0] for place in range(30)]


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_no_prompt_of_the_training_tells_of_a_held_out_pair(name, data):
    split = data.dataset.split
    barred = {(u, int(i)) for t in (split.valid_target, split.test_target) for u, i in enumerate(t)}
    # Items that a prompt says the user has met; what is only offered or asked for is no such thing.
    for user, items, target in _told(_task(name, data)):
        if user is None:
            continue
        met = [] if "choose" in name or "yesno" in name else items
        if target.startswith("<a_"):
            met = [*met, _item(target)]
        if name.startswith(("rating", "review", "explanation")):
            met = items
        assert not {(user, item) for item in met} & barred


def test_published_random_splits_do_tell(data):
    """The control: without `held_out` the rating prompts hold most of the targets."""
    split = random_split(data.dataset.interactions)
    told = held_out(data.dataset)[split.train].mean() * len(split.train)
    assert told > 0.6 * 2 * data.dataset.num_users
    assert held_out(data.dataset).sum() == 2 * data.dataset.num_users


def test_answers_are_true_half_of_the_time(data):
    train = [set(history.tolist()) for history in data.dataset.split.train.sequences()]
    answers = []
    for user, items, target in _told(_task("direct_yesno", data), 6):
        assert (items[0] in train[user]) == (target == "yes")
        answers.append(target == "yes")
    assert abs(np.mean(answers) - 0.5) < 0.05


def test_candidates_hold_the_target_once_among_items_the_user_has_not_met(data):
    train = [set(history.tolist()) for history in data.dataset.split.train.sequences()]
    places, offered = [], {}
    for user, items, target in _told(_task("direct_choose", data), 6):
        assert len(items) == len(set(items)) == CANDIDATES
        assert [item for item in items if item in train[user]] == [_item(target)]
        places.append(items.index(_item(target)))
        offered.setdefault(user, set()).update(items)
    assert set(places) == set(range(CANDIDATES))
    # Held-out items are offered like others: that they never were would give them away.
    targets = data.dataset.split.test_target
    assert np.mean([targets[user] in items for user, items in offered.items()]) > 0.5


def test_test_candidates_are_new_to_the_user_but_for_the_target(data):
    split = data.dataset.split
    rows = eval_candidates(data.dataset, "test", CANDIDATES, seed=1)
    met = split.history("test")
    for row, history, target in zip(rows, met, split.test_target, strict=True):
        assert len(set(row.tolist())) == CANDIDATES
        assert set(row.tolist()) & {*history.tolist(), int(target)} == {int(target)}
    np.testing.assert_array_equal(rows, eval_candidates(data.dataset, "test", CANDIDATES, seed=1))
    with pytest.raises(ConfigError, match="lower candidates"):
        draw_others(np.arange(25), 6, 30, np.random.default_rng(0))


def test_ratings_say_their_rows_and_likes_begin_at_four_stars(data):
    interactions = data.dataset.interactions
    for row in range(0, len(interactions), 17):
        found = data.row(row, np.random.default_rng(0))
        star = interactions.rating[row]
        assert found["star"] == f"{star:.0f}"
        assert found["liking"] == ("like" if star >= 4 else "dislike")
        assert found["hint"] in found["explanation"]


def test_every_template_is_filled_by_its_task_and_one_wording_is_unseen(data):
    for name, templates in TEMPLATES.items():
        task = _task(name, data)
        fields = task.fields(0, np.random.default_rng(0))
        for template in task.templates:
            source, target = template.fill(fields)
            assert "{" not in source + target and target
        assert [template.seen for template in templates] == [True] * (len(templates) - 1) + [False]
        assert len({template.source for template in templates}) == len(templates)
        known = {word for t in templates[:-1] for word in t.source.split() if "{" not in word}
        # A model from scratch cannot know words that only the unseen wording has.
        assert {w for w in templates[-1].source.split() if "{" not in w} <= known


def test_names_as_numbers_spell_the_codes():
    codes = simple.random(30, 2, 7, seed=3)
    names = make_names("numbers", "numbers", codes, 2)
    numbers = 7 * codes.codes[:, 0] + codes.codes[:, 1]
    np.testing.assert_array_equal(item_numbers(codes), numbers)
    assert names.items == [f"item_{1001 + n}" for n in numbers.tolist()]
    assert names.users == ["user_1", "user_2"]
    assert names.list(np.array([3, 1])) == f"{names.items[3]} , {names.items[1]}"
    # Templates keep their spaces before names that are text.
    assert fitted(TEMPLATES["rating"], names) == TEMPLATES["rating"]


def test_what_data_cannot_give_is_refused_before_any_work(data):
    half = dataclasses.replace(
        data.dataset.interactions, rating=data.dataset.interactions.rating + np.float32(0.5)
    )
    dataset = dataclasses.replace(data.dataset, interactions=half)
    check_data(dataset, ["sequential"], 100)
    with pytest.raises(DataError, match="task 'rating' needs ratings of 1 to 5"):
        check_data(dataset, ["sequential", "rating"], 100)
    # Of 30 items somebody has met 12, so 18 are left beside a target.
    check_data(data.dataset, ["direct_choose"], 19)
    with pytest.raises(ConfigError, match="a user has met 12 of 30 items; lower it to 19"):
        check_data(data.dataset, ["direct_choose"], 20)
    with pytest.raises(ConfigError, match=r"no task 'ratings'.*did you mean 'rating'"):
        make_task("ratings", TEMPLATES["rating"], data)
