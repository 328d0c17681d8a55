import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.data import k_core, leave_one_out, load
from jaxrec.ids import simple

# First met in this order: 4 2 0 | 5 | 1, and 3 never.
HISTORIES = [np.array([4, 2, 4, 0]), np.array([2, 5]), np.array([0, 1, 2])]


def numbers(codes):
    base = codes.metadata["base"]
    weights = base ** np.arange(codes.levels)[::-1]
    return (codes.codes * weights).sum(axis=1).tolist()


def test_items_are_numbered_as_they_come_up_and_unmet_ones_last():
    assert numbers(simple.sequential(HISTORIES, 6)) == [2, 4, 1, 5, 0, 3]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("time", [0, 1, 2, 5, 4, 3]),  # users 2, 1, 0: 0 1 2 | 5 | 4
        ("longest", [2, 3, 1, 5, 0, 4]),  # users 0, 2, 1: 4 2 0 | 1 | 5
        ("shortest", [2, 3, 0, 5, 4, 1]),  # users 1, 2, 0: 2 5 | 0 1 | 4
    ],
)
def test_users_are_walked_in_the_order_asked_for(order, expected):
    found = simple.sequential(HISTORIES, 6, order=order, start_times=np.array([30, 20, 10]))
    assert numbers(found) == expected


def test_a_random_order_is_seeded():
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 50, 5) for _ in range(40)]
    ids = [simple.sequential(histories, 50, order="random", seed=s).codes for s in (0, 0, 1)]
    np.testing.assert_array_equal(ids[0], ids[1])
    assert (ids[0] != ids[2]).any()


def test_numbers_are_written_digit_by_digit():
    codes = simple.sequential([np.arange(1349)], 1349, base=10)
    assert codes.sizes == (2, 10, 10, 10)
    assert ["".join(map(str, row)) for row in codes.codes.tolist()] == [
        f"{n:04d}" for n in range(1349)
    ]
    assert simple.sequential([np.arange(1349)], 1349).sizes == (14, 100)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.integers(2, 30))
def test_ids_are_distinct_for_any_number_of_items_and_any_base(items, base):
    codes = simple.sequential([np.arange(items)], items, base=base)
    assert codes.metadata["unique_share"] == 1
    assert base ** (codes.levels - 1) < max(items, 2) <= base**codes.levels
    assert codes.codes[:, 0].max() == codes.sizes[0] - 1


def test_held_out_items_do_not_follow_the_history_in_number(real_data):
    """The leak of IDs that count the held-out items too: target = highest number so far + 1."""
    films = k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)
    split = leave_one_out(films)
    whole = [films.history(user) for user in range(films.num_users)]
    share = {}
    for name, histories in (("train", split.train.sequences()), ("leak", whole)):
        number = np.array(numbers(simple.sequential(histories, films.num_items)))
        hit = [
            number[h].max() + 1 == number[target]
            for h, target in zip(split.history("test"), split.target("test"), strict=True)
        ]
        share[name] = np.mean(hit)
    assert share["train"] < 0.005 and share["train"] <= share["leak"]


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="base must be at least 2"):
        simple.sequential(HISTORIES, 6, base=1)
    with pytest.raises(ConfigError, match="orders: given, time, longest"):
        simple.sequential(HISTORIES, 6, order="newest")
    with pytest.raises(ConfigError, match="needs start_times, one for each of 3 users"):
        simple.sequential(HISTORIES, 6, order="time")
    with pytest.raises(DataError, match=r"item numbers 0\.\.5 do not fit 0\.\.3"):
        simple.sequential(HISTORIES, 4)
    with pytest.raises(DataError, match="no training interactions"):
        simple.sequential([], 4)
