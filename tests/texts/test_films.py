"""Questions about films against the published files, read anew."""

import collections
import functools
import re

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.data import DataConfig, click_windows, load_interactions, published_split
from jaxrec.testing import tiny_interactions
from jaxrec.texts import film_tasks
from jaxrec.texts.films import window_fields

COUNT = 300


@pytest.fixture
def films(real_data):
    """The tasks, the ratings, and the likes of each user."""
    return _read(real_data("ml-100k"))


@functools.cache
def _read(directory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXREC_DATA", str(directory.parent))
        tasks = {task.name: task for task in film_tasks(COUNT, COUNT, seed=3)}
        data = load_interactions(DataConfig(min_count=0))
    titles = data.items.labels()
    likes = collections.defaultdict(set)
    for user, item, rating in zip(data.user, data.item, data.rating, strict=True):
        likes[int(user)].add((titles[item], bool(rating > 3)))
    return tasks, data, likes


def _pairs(row):
    """Titles and answers of a row: those of its history, and then the film in question."""
    found = [(title, True) for title in re.findall(r'"(.+?)"(?:, |$)', row["liked"])]
    return found + [(title, False) for title in re.findall(r'"(.+?)"(?:, |$)', row["disliked"])]


def _users(likes, pairs):
    return {user for user, known in likes.items() if set(pairs) <= known}


def test_the_answers_are_those_of_a_user_outside_the_published_split(films):
    tasks, data, likes = films
    parts = published_split(click_windows(data))
    published = set(np.unique(np.concatenate([part.user for part in parts])).tolist())
    for name, yes in (("films-like", "Yes."), ("films-dislike", "No."), ("films-popular", "Yes.")):
        assert len(tasks[name].rows) == (COUNT // 4 if name == "films-dislike" else COUNT)
        for row in tasks[name].rows[:60]:
            asked = row["asked"].strip('"'), row["answer"] == yes
            pairs = _pairs(row)
            assert len(pairs) == 10
            assert _users(likes, [*pairs, asked]) - published
    counts = collections.Counter(row["answer"] for row in tasks["films-like"].rows)
    assert 0.45 < counts["Yes."] / COUNT < 0.65


def test_a_list_has_the_answers_of_one_user(films):
    tasks, _, likes = films
    for row in tasks["films-list"].rows[:30]:
        pairs = re.findall(r'"(.+?)":(Yes|No)\.', row["list"])
        assert len(pairs) == 24
        assert _users(likes, [(title, answer == "Yes") for title, answer in pairs])


def test_only_the_answers_of_a_list_are_learned(films):
    task = films[0]["films-list"]
    record = task.write(task.seen[0], 0, options=False)
    learned = record.marked.answers
    assert [part[:-1] for part in learned] == re.findall(r'":(Yes|No)\.', record.output)
    assert len(learned) == 24
    whole = films[0]["films-like"]
    record = whole.write(whole.seen[0], 0, options=False)
    assert record.marked.answers == [record.output]


def test_every_wording_hides_the_answer_and_one_is_unseen(films):
    for task in films[0].values():
        assert task.words and all(word[0] == word[-1] == '"' for word in task.words)
        assert task.cluster == "films"
        assert len(task.seen) == 2 * len(task.unseen) or len(task.seen) == 4 * len(task.unseen)
        record = task.write(task.unseen[0], 0, options=False)
        assert task.rows[0].get("answer", task.rows[0].get("list")) == record.output
        assert "Yes." not in record.prompt and "No." not in record.prompt


def test_the_draw_is_that_of_the_seed(films):
    data = films[1]
    again = {task.name: task for task in film_tasks(COUNT, COUNT, seed=3, data=data)}
    other = {task.name: task for task in film_tasks(COUNT, COUNT, seed=4, data=data)}
    for name, task in films[0].items():
        assert task.rows == again[name].rows
        assert task.rows != other[name].rows


def test_a_history_of_one_kind_names_nothing_on_the_other_side():
    data = tiny_interactions()
    windows = click_windows(data, history=2)
    titles = data.items.labels()
    rows = [window_fields(windows, row, titles) for row in range(len(windows))]
    alone = [row for row in rows if row["disliked"] == "nothing"]
    assert alone and all(row["liked"].count('"') == 4 for row in alone)


def test_too_few_ratings_for_the_published_split_are_refused():
    with pytest.raises(DataError, match="published split takes 10,000 windows"):
        film_tasks(5, 5, 0, data=tiny_interactions())
