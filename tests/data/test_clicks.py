import gzip
import json

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Interactions, load
from jaxrec.data.clicks import (
    click_prompts,
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


def test_a_prompt_lists_what_was_liked_and_what_was_not():
    data = few()
    (first, _) = click_prompts(click_windows(data, history=2), data.items.labels(), kind="book")
    assert first.input == (
        'User Preference: "x"\nUser Unpreference: "y"\n'
        'Whether the user will like the target book "z"?'
    )
    assert first.output == "Yes."
    assert 'target book by answering "Yes." or "No.".' in first.instruction
    swapped, _ = click_prompts(click_windows(data, history=2), data.items.labels(), swapped=True)
    assert swapped.instruction.endswith('by answering "No." or "Yes.".')


def test_a_prompt_of_a_part_names_that_part_alone():
    windows = click_windows(few(), history=2)
    titles = few().items.labels()
    whole = click_prompts(windows, titles)[0]
    kept = np.zeros((len(windows), 2), bool)
    none = click_prompts(windows, titles, kept=kept)[0]
    assert "User Preference: \nUser Unpreference: \n" in none.input
    assert (none.output, none.input[-25:]) == (whole.output, whole.input[-25:])
    assert click_prompts(windows, titles, kept=~kept)[0] == whole


def test_parts_are_of_any_size_alike_and_of_any_items_alike():
    kept = random_parts(40_000, 4, np.random.default_rng(0))
    assert np.allclose(np.bincount(kept.sum(1)) / 40_000, 1 / 5, atol=0.01)
    assert np.allclose(kept.mean(0), 1 / 2, atol=0.01)


def test_the_published_movie_files_are_rebuilt(real_data):
    """All but a suffix such as "(V)" of five titles, which our item table does not keep."""
    data = load("ml-100k", from_file=real_data("ml-100k"))
    train, valid, test = published_split(click_windows(data))
    titles = data.items.labels()
    for part, name in ((train, "train"), (valid, "valid")):
        with gzip.open(real_data("tallrec-movie") / f"{name}.json.gz") as file:
            theirs = json.load(file)
        ours = click_prompts(part, titles)
        assert len(ours) == len(theirs)
        assert [o.output for o in ours] == [t["output"] for t in theirs]
        assert all(o.instruction == t["instruction"] for o, t in zip(ours, theirs, strict=True))
        same = [o.input == t["input"] for o, t in zip(ours, theirs, strict=True)]
        assert np.mean(same) > 0.995
        assert all(
            o.input == t["input"].replace(" (V)", "") for o, t in zip(ours, theirs, strict=True)
        )
    # Published of the test file: 16 users and a share of likes of .528.
    assert len(np.unique(test.user)) == 16
    assert test.label.mean() == 0.528


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
    with pytest.raises(DataError, match="takes 10,000 windows, and there are 2"):
        published_split(click_windows(data, history=2))
