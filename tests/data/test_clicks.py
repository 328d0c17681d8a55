import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Interactions
from jaxrec.data.clicks import (
    click_windows,
    published_split,
    random_parts,
    split_users,
)
from jaxrec.testing import tiny_interactions


def few():
    """Two users, the second of whom stands first in the file."""
    return Interactions.from_columns(
        ["b", "b", "a", "a", "b", "a"],
        ["x", "y", "x", "z", "z", "y"],
        time=np.array([2, 1, 5, 6, 3, 7]),
        rating=np.array([4, 3, 5, 1, 5, 2], np.float32),
    )


def test_windows_slide_through_each_user_in_order_of_the_file():
    data = few()
    found = click_windows(data, history=2)
    names, items = data.user_ids.tolist(), data.items.ids.tolist()
    assert [names[user] for user in found.user] == ["b", "a"]
    assert [[items[i] for i in row] for row in found.history] == [["y", "x"], ["x", "z"]]
    assert found.liked.tolist() == [[False, True], [True, False]]
    assert [items[i] for i in found.target] == ["z", "y"]
    assert found.label.tolist() == [True, False]


def test_parts_are_of_any_size_alike_and_of_any_items_alike():
    kept = random_parts(40_000, 4, np.random.default_rng(0))
    assert np.allclose(np.bincount(kept.sum(1)) / 40_000, 1 / 5, atol=0.01)
    assert np.allclose(kept.mean(0), 1 / 2, atol=0.01)


def test_no_user_is_on_two_sides_of_a_split_by_users():
    windows = click_windows(tiny_interactions(users=40), history=3)
    parts = split_users(windows, seed=1)
    users = [set(part.user.tolist()) for part in parts]
    assert [len(part) for part in users] == [32, 4, 4]
    assert not users[0] & users[1] | users[0] & users[2] | users[1] & users[2]
    assert sum(map(len, parts)) == len(windows)


def test_data_that_have_no_such_windows_are_refused():
    data = few()
    with pytest.raises(DataError, match=r"no user of .* has more than 5 items"):
        click_windows(data, history=5)
    with pytest.raises(ConfigError, match="history must be at least 1, got 0"):
        click_windows(data, history=0)
    unrated = Interactions.from_columns(["a", "a"], ["x", "y"], time=np.array([1, 2]))
    with pytest.raises(DataError, match="without a rating"):
        click_windows(unrated, history=1)
    with pytest.raises(DataError, match="takes 10,000 windows, and there are only 2"):
        published_split(click_windows(data, history=2))
