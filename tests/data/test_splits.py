import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.data import (
    Interactions,
    global_time_split,
    k_core,
    leave_one_out,
    load,
    order_ties,
    tie_share,
    time_quantile,
)

histories = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=3, max_size=8),
    min_size=1,
    max_size=6,
)


def build(data) -> Interactions:
    rows = [(user, item, time) for user, rows in enumerate(data) for item, time in rows]
    return Interactions.from_columns(*zip(*rows, strict=True))


@pytest.fixture
def ml_100k(real_data) -> Interactions:
    return k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)


@settings(max_examples=40, deadline=None)
@given(histories)
def test_histories_and_targets_put_together_are_the_data(data):
    whole = build(data)
    split = leave_one_out(whole)
    for user, items in enumerate(whole.sequences()):
        assert split.train.history(user).tolist() == items[:-2].tolist()
        assert split.history("valid")[user].tolist() == items[:-2].tolist()
        assert split.history("test")[user].tolist() == items[:-1].tolist()
        assert split.target("valid")[user] == items[-2]
        assert split.target("test")[user] == items[-1]
    assert split.train.num_items == whole.num_items


def test_short_users_are_an_error_or_are_dropped_and_counted():
    data = Interactions.from_columns(["x", "y", "y", "y"], [1, 2, 3, 4], [1, 1, 2, 3])
    with pytest.raises(DataError, match=r"1 of 2 users have fewer than 3 .*user x has 1"):
        leave_one_out(data)
    split = leave_one_out(data, short_users="drop")
    assert split.dropped_users == 1
    assert split.train.user_ids.tolist() == ["y"]
    assert split.train.items.ids[split.test_target].tolist() == ["4"]
    assert split.train.num_items == 4  # the catalogue stays whole
    with pytest.raises(DataError, match="no user has 3"):
        leave_one_out(data.select(data.user == 0).compact(), short_users="drop")


@settings(max_examples=40, deadline=None)
@given(histories, st.sampled_from(["row", "random", "item_asc", "item_desc"]))
def test_ties_are_reordered_within_user_and_time_only(data, tie):
    whole = build(data)
    other = order_ties(whole, tie, seed=3)
    np.testing.assert_array_equal(other.user, whole.user)
    np.testing.assert_array_equal(other.time, whole.time)
    keys = list(zip(other.user, other.time, other.row, other.item, strict=True))
    assert sorted(keys) == sorted(zip(whole.user, whole.time, whole.row, whole.item, strict=True))
    step = np.diff(other.item)[(np.diff(other.user) == 0) & (np.diff(other.time) == 0)]
    if tie == "item_asc":
        assert (step >= 0).all()
    if tie == "item_desc":
        assert (step <= 0).all()
    assert order_ties(other, "row").fingerprint() == whole.fingerprint()


def test_random_ties_depend_on_the_seed_alone(ml_100k):
    same = [order_ties(ml_100k, "random", seed=1).item for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (same[0] != order_ties(ml_100k, "random", seed=2).item).any()


def test_movielens_ties_are_as_many_as_published(ml_100k):
    share = tie_share(ml_100k)
    assert round(share.neighbours, 3) == 0.509
    assert round(share.last_two, 3) == 0.441


@pytest.mark.parametrize(
    ("tie", "expected"), [("item_asc", 0.0498), ("row", 0.0870), ("item_desc", 0.1135)]
)
def test_popularity_moves_with_the_tie_rule_as_published(ml_100k, tie, expected):
    split = leave_one_out(ml_100k, tie=tie)
    counts = np.bincount(split.train.item, minlength=ml_100k.num_items)
    hits = []
    for history, target in zip(split.history("test"), split.target("test"), strict=True):
        scores = counts.astype(float)
        scores[np.setdiff1d(history, target)] = -1
        above = (scores > scores[target]).sum()
        tied = (scores == scores[target]).sum()
        hits.append(above + (tied - 1) / 2 < 10)
    assert round(float(np.mean(hits)), 4) == expected


def test_a_global_split_never_trains_on_the_future(ml_100k):
    valid, test = time_quantile(ml_100k, 0.8), time_quantile(ml_100k, 0.9)
    split = global_time_split(ml_100k, valid, test)
    assert split.train.time.max() < valid <= split.valid.time.min()
    assert split.valid.time.max() < test <= split.test.time.min()
    assert len(split.train) + len(split.valid) + len(split.test) == len(ml_100k)
    assert len(split.train) == pytest.approx(0.8 * len(ml_100k), rel=0.01)
    assert split.test.num_users == ml_100k.num_users


def test_a_global_split_refuses_orders_and_empty_parts(small):
    with pytest.raises(DataError, match=r"train part is empty .* times run from 1 to 9"):
        global_time_split(small, 0, 5)
    with pytest.raises(ConfigError, match="not before"):
        global_time_split(small, 5, 5)
    with pytest.raises(DataError, match="only tells the order"):
        global_time_split(dataclasses.replace(small, time_unit="order"), 2, 5)


def test_an_unknown_tie_or_stage_names_the_choices(small):
    with pytest.raises(ConfigError, match="row, random, item_asc, item_desc"):
        order_ties(small, "file")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'valid' or 'test'"):
        leave_one_out(small).history("train")  # type: ignore[arg-type]
