"""Each item as a target of its own after the items before it."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import DataError
from jaxrec.data import Buckets, Prefixes, Windows, bucketed_batches, padded_batches


def chain(lengths):
    """Histories whose items are all different, so that an item tells user and place."""
    start = np.concatenate([[0], np.cumsum(lengths)])
    return [np.arange(start[u], start[u + 1], dtype=np.int32) for u in range(len(lengths))]


def encode(items, _):
    return {"items": np.pad(items + 1, (9 - len(items), 0))}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=6).filter(lambda found: max(found) > 1),
    st.integers(2, 9),
    st.integers(0, 3),
)
def test_an_epoch_has_every_item_but_the_first_as_a_target_once(lengths, length, epoch):
    histories = chain(lengths)
    prefixes = Prefixes.of(histories, length=length, seed=0)
    places = range(epoch * prefixes.per_epoch, (epoch + 1) * prefixes.per_epoch)
    found = sorted(tuple(items.tolist()) for items, _ in prefixes.draw(places))
    expected = sorted(
        tuple(history[max(0, at + 1 - length) : at + 1].tolist())
        for history in histories
        for at in range(1, len(history))
    )
    assert found == expected
    assert sorted(map(len, found)) == sorted(prefixes.lengths.tolist())


def test_epochs_are_shuffled_differently_and_by_the_seed():
    def order(seed, epoch):
        prefixes = Prefixes.of(chain([9] * 5), length=4, seed=seed)
        return prefixes.epoch(epoch)[1].tolist()

    assert order(0, 0) == order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_batch_is_taken_up_again_where_it_was_in_rows_and_in_buckets():
    prefixes = Prefixes.of(chain([3, 8, 2, 12]), length=9, seed=3)
    buckets = Buckets.of(prefixes, count=3, batch_size=4)
    for data in (
        padded_batches(prefixes, batch_size=4, encode=encode),
        bucketed_batches(buckets, encode=lambda length: lambda items, _: {"items": items[-2:]}),
    ):
        ours = iter(data)
        for _ in range(7):
            next(ours)
        state = ours.get_state()
        expected = [next(ours)["items"] for _ in range(9)]
        again = iter(data)
        again.set_state(state)
        for batch in expected:
            np.testing.assert_array_equal(next(again)["items"], batch)


@pytest.mark.parametrize("kind", [Windows, Prefixes])
def test_the_number_of_the_user_stands_before_the_items_of_that_user(kind):
    histories = chain([4, 1, 7, 2])
    rows = kind.of(histories, length=3, seed=0, users=True)
    seen = collections.Counter()
    for row, _ in rows.draw(range(rows.per_epoch)):
        user, items = row[0], row[1:]
        assert set(items.tolist()) <= set(histories[user].tolist())
        seen[int(user)] += 1
    assert seen[2] > 1
    plain = kind.of(histories, length=3, seed=0)
    for (with_user, _), (without, _) in zip(
        rows.draw(range(20)), plain.draw(range(20)), strict=True
    ):
        np.testing.assert_array_equal(with_user[1:], without)


def test_histories_of_one_item_give_nothing_to_train_on():
    assert Prefixes.of(chain([1, 3]), length=5, seed=0).per_epoch == 2
    with pytest.raises(DataError, match="no user has 2 items"):
        _ = Prefixes.of(chain([1, 1]), length=5, seed=0).per_epoch
