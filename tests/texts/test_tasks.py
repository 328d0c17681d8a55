"""What training prompts may say: the training part, and nothing of the held-out items."""

import dataclasses
import re

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Dataset, ItemTable, Task, leave_one_out, random_split, synthetic_reviews
from jaxrec.ids import simple
from jaxrec.systems.p5.tasks import TASKS
from jaxrec.testing import tiny_interactions
from jaxrec.texts import (
    AnswerOptions,
    Facts,
    Names,
    PromptData,
    ask,
    check_data,
    check_writable,
    draw_others,
    eval_candidates,
    find_tasks,
    fit_templates,
    held_out,
    item_numbers,
    make_names,
    measure_task,
    render,
    training_stream,
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
        facts=Facts.read(interactions.items),
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
    return training_stream(TASKS[name].fit(data.names), data)


def _data(name, data, stage="test"):
    task = TASKS[name]
    return task.source.held_out(data, stage, task.source.units(data, stage))


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


@pytest.mark.parametrize("name", sorted(TASKS))
def test_no_prompt_of_the_training_tells_of_a_held_out_pair(name, data):
    split = data.dataset.split
    barred = {(u, int(i)) for t in (split.valid_target, split.test_target) for u, i in enumerate(t)}
    # Items that a prompt says the user has met; what is only offered or asked for is no such thing.
    for user, items, target in _told(_task(name, data)):
        if user is None:
            continue
        met = [] if "choose" in name or "yesno" in name else items
        if name == "conversation":  # tests/texts/test_conversations.py looks at its turns
            met = []
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
    like = TASKS["rating_like"]
    for datum in _data("rating_like", data):
        fields = like.fields(datum, data)
        star = interactions.rating[datum.row]
        assert (datum.user, datum.item) == (
            interactions.user[datum.row],
            interactions.item[datum.row],
        )
        assert fields["star"] == f"{star:.0f}"
        assert fields["answer"] == ("like" if star >= 4 else "dislike")
        assert fields["hint"] in fields["explanation"]


def test_every_template_is_filled_by_its_task_and_one_wording_is_unseen(data):
    for name, record in TASKS.items():
        task = _task(name, data)
        fields = task.fields(0, np.random.default_rng(0))
        templates = record.templates
        for template in task.templates:
            source, target = template.fill(fields)
            assert "{" not in source + target and target
        assert [template.seen for template in templates] == [True] * (len(templates) - 1) + [False]
        assert len({template.source for template in templates}) == len(templates)
        known = {word for t in templates[:-1] for word in t.source.split() if "{" not in word}
        # A model from scratch cannot know words that only the unseen wording has.
        assert {w for w in templates[-1].source.split() if "{" not in w} <= known


class Oracle:
    """Answers every question rightly, from the numbers of its data alone."""

    def __init__(self, data, num_items):
        self.data, self.num_items = data, num_items

    def recommend(self, prompts, *, beams, allowed=None, excluded=None):
        rows = np.full((len(prompts), beams), -1)
        for place, datum in enumerate(self.data):
            assert allowed is None or allowed[place, datum.item]
            assert excluded is None or datum.item not in excluded[place]
            rows[place, 0] = datum.item
        return rows, np.zeros(rows.shape)

    def score(self, prompts, texts):
        if len(texts) == 2:
            right = [datum.answer for datum in self.data]
        else:
            right = [texts.index(f"{datum.star}.0") for datum in self.data]
        return np.log(1e-6 + np.eye(len(texts))[right])

    def write(self, prompts, max_tokens):
        raise NotImplementedError


BEST = {"ndcg@10": 1.0, "auc": 1.0, "rmse": 0.0}


@pytest.mark.parametrize(
    "name", [name for name, task in TASKS.items() if not {"reviews", "facts"} & task.source.needs]
)
def test_right_answers_have_the_best_metric(name, data):
    for one in (data, _unnamed(data)):
        task = TASKS[name].fit(one.names)
        examples = _data(name, one)
        questions = ask(task, task.wordings["seen"], one, examples)
        metrics = measure_task(task, Oracle(examples, 30), questions, AnswerOptions(beams=10))
        (metric,) = metrics.keys() & BEST.keys()
        assert metrics[metric] == pytest.approx(BEST[metric], abs=0.1 if metric == "rmse" else 0)
        assert metrics.get("accuracy", 1.0) == 1.0


def test_questions_about_held_out_items_and_stars_have_one_of_each_answer(data):
    targets = data.dataset.split.test_target
    met = data.dataset.split.history("test")
    for name in ("sequential_yesno", "direct_yesno"):
        examples = _data(name, data)
        assert [datum.user for datum in examples] == np.repeat(np.arange(40), 2).tolist()
        for datum in examples:
            assert (datum.asked == targets[datum.user]) == (datum.answer == 0)
            assert datum.asked not in met[datum.user]
        assert np.mean([datum.answer for datum in examples]) == 0.5
    stars = data.dataset.interactions.rating
    for datum in _data("rating_yesno", data):
        assert (datum.star == stars[datum.row]) == (datum.answer == 0)


def _unnamed(data):
    """The same data with one name for all users, and one title for each pair of items."""
    interactions = data.dataset.interactions
    titles = np.array([f"Film {item // 2}" for item in range(30)], dtype=object)
    items = ItemTable(interactions.items.ids, {**interactions.items.fields, "title": titles})
    interactions = dataclasses.replace(interactions, items=items)
    names = Names(users=["anyone"] * 40, items=titles.tolist(), separator=" , ")
    dataset = dataclasses.replace(data.dataset, interactions=interactions)
    return dataclasses.replace(data, dataset=dataset, names=names)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_names_that_two_items_or_users_share_change_nothing_but_the_words(name, data):
    shared = _unnamed(data)
    streams = [TASKS[name].source.training(each) for each in (data, shared)]
    drawn = [
        [dataclasses.astuple(s.draw(n, np.random.default_rng(n))) for n in range(s.size)]
        for s in streams
    ]
    for one, other in zip(*drawn, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for one, other in zip(_data(name, data), _data(name, shared), strict=True):
        for ours, theirs in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_wordings_keep_their_negatives_when_items_and_users_share_names(data):
    """In the prompts themselves: answers and candidates follow the numbers, not the titles."""
    shared = _unnamed(data)
    train = [set(history.tolist()) for history in data.dataset.split.train.sequences()]
    written, pairs = shared.names.items, data.dataset.split.train
    answers, offered = _task("direct_yesno", shared), _task("direct_choose", shared)
    for number in range(answers.size):
        met = {written[item] for item in train[pairs.user[number]]}
        fields = answers.fields(number, np.random.default_rng(number))
        if fields["answer"] == "no":
            new = {written[item] for item in range(30) if item not in train[pairs.user[number]]}
            assert fields["asked"] in new
        else:
            assert fields["asked"] == written[pairs.item[number]] and fields["asked"] in met
        fields = offered.fields(number, np.random.default_rng(number))
        names = fields["candidates"].split(" , ")
        assert len(names) == CANDIDATES and fields["item"] in names


def test_a_model_cannot_answer_with_a_name_that_two_items_share(data):
    check_writable(data.names)
    with pytest.raises(DataError, match="items 0 and 1 are both written 'Film 0', so an answer"):
        check_writable(_unnamed(data).names)


def test_fields_are_those_that_the_datum_has(data):
    (datum, *_) = _data("rating", data)
    assert render(dataclasses.replace(datum, row=-1, user=-1), data).keys() == {
        "item",
        "title",
        "star",
    }


def test_names_as_numbers_spell_the_codes():
    codes = simple.random(30, 2, 7, seed=3)
    names = make_names("numbers", "numbers", codes, 2)
    numbers = 7 * codes.codes[:, 0] + codes.codes[:, 1]
    np.testing.assert_array_equal(item_numbers(codes), numbers)
    assert names.items == [f"item_{1001 + n}" for n in numbers.tolist()]
    assert names.users == ["user_1", "user_2"]
    assert names.list(np.array([3, 1])) == f"{names.items[3]} , {names.items[1]}"
    # Templates keep their spaces before names that are text.
    assert fit_templates(TASKS["rating"].templates, names) == TASKS["rating"].templates


def test_what_data_cannot_give_is_refused_before_any_work(data):
    half = dataclasses.replace(
        data.dataset.interactions, rating=data.dataset.interactions.rating + np.float32(0.5)
    )
    dataset = dataclasses.replace(data.dataset, interactions=half)
    one, rating, choose = find_tasks(["sequential", "rating", "direct_choose"], TASKS)
    check_data(dataset, [one], 100)
    with pytest.raises(DataError, match="task 'rating' needs ratings of 1 to 5"):
        check_data(dataset, [one, rating], 100)
    # Of 30 items some user has met 12, so 18 are left beside a target.
    check_data(data.dataset, [choose], 19)
    with pytest.raises(ConfigError, match="a user has met 12 of 30 items; lower it to 19"):
        check_data(data.dataset, [choose], 20)
    with pytest.raises(ConfigError, match=r"no task 'ratings' in tasks.*did you mean 'rating'"):
        find_tasks(["ratings"], TASKS)
    with pytest.raises(ConfigError, match="tasks has 'rating' twice; leave one out"):
        find_tasks(["rating", "sequential", "rating"], TASKS)
    unrated = dataclasses.replace(data, ratings=None)
    with pytest.raises(DataError, match="has no ratings, and a task asks for them"):
        training_stream(rating, unrated)
    with pytest.raises(ConfigError, match="40 users; give one name for each"):
        dataclasses.replace(data, names=dataclasses.replace(data.names, users=["ann"]))
