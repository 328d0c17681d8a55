import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError
from jaxrec.data import Buckets, Windows, bucket_lengths, bucketed_batches

LENGTHS = [1, 2, 3, 5, 6, 7, 8, 11, 24, 40, 1, 1, 4, 9, 2]
HISTORIES = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def chain(lengths) -> list[np.ndarray]:
    """Return histories whose items are all different, so that an item tells user and place."""
    start = np.concatenate([[0], np.cumsum(lengths)])
    return [np.arange(start[u], start[u + 1], dtype=np.int32) for u in range(len(lengths))]


def buckets(lengths=LENGTHS, length=8, count=3, batch_size=4, multiple=1, seed=0) -> Buckets:
    windows = Windows.of(chain(lengths), length=length, seed=seed)
    return Buckets.of(windows, count=count, batch_size=batch_size, multiple=multiple)


def encode(length):
    """Padded items, and noise that tells the generator's stream."""

    def padded(items, rng):
        row = np.full(length, -1, np.int32)
        row[: len(items)] = items
        return {"items": row, "noise": np.asarray(rng.random())}

    return padded


def batches(made, count, **options):
    iterator = iter(bucketed_batches(made, encode=encode, **options))
    return [next(iterator) for _ in range(count)]


def equal(a, b) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


def cells(lengths, chosen):
    return sum(min(c for c in chosen if c >= length) for length in lengths)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 5))
def test_lengths_are_the_best_of_all_subsets(lengths, count):
    found = bucket_lengths(np.array(lengths), count)
    sizes = sorted(set(lengths))
    best = min(
        cells(lengths, (*others, sizes[-1]))
        for k in range(min(count, len(sizes)))
        for others in itertools.combinations(sizes[:-1], k)
    )
    assert list(found) == sorted(set(found)) and len(found) <= count
    assert found[-1] == max(lengths)
    assert cells(lengths, found) == best


def test_tokens_of_a_batch_are_about_equal_and_rows_multiples():
    windows = Windows.of(chain(range(1, 200)), length=200, seed=0)
    for multiple in (1, 4, 16):
        made = Buckets.of(windows, count=5, batch_size=64, multiple=multiple)
        for rows, length in zip(made.rows, made.lengths, strict=True):
            assert rows % multiple == 0
            assert abs(rows * length - 64 * 200) <= multiple * length / 2
        assert made.lengths[-1] == 199 and made.rows[-1] == 64


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.integers(1, 12), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_every_window_is_drawn_once_an_epoch(lengths, length, count, batch_size, seed):
    made = buckets(lengths, length, count, batch_size, seed=seed)
    windows, per = made.windows, made.windows.per_epoch
    epochs = 3
    # Until the first step after three epochs: batches of all buckets begun and ended in them.
    steps = sum(epochs * size // rows for size, rows in zip(made.sizes, made.rows, strict=True))
    drawn = [[] for _ in made.lengths]
    for step in range(steps):
        bucket, places = made.batch(step)
        assert len(places) == made.rows[bucket]
        for items, _ in windows.draw(places):
            lower = made.lengths[bucket - 1] if bucket else 0
            assert lower < len(items) <= made.lengths[bucket]
        drawn[bucket] += places
    for bucket, (places, size) in enumerate(zip(drawn, made.sizes, strict=True)):
        # Every one of an epoch before any of the next, but for what does not fill a batch yet.
        assert len(set(places)) == len(places)
        counts = np.bincount(np.array(places, int) // per, minlength=epochs)
        assert epochs * size - len(places) < made.rows[bucket]
        whole = len(places) // size
        assert (counts[:whole] == size).all() and counts.sum() == len(places)
        assert len(counts) == epochs
    assert sum(made.sizes) == per


def test_padding_is_what_the_batches_hold():
    made = buckets()
    # Where whole batches fill whole epochs of every bucket.
    epochs = int(np.lcm.reduce(made.rows))
    steps = sum(epochs * size // rows for size, rows in zip(made.sizes, made.rows, strict=True))
    held = [batch["items"] for batch in batches(made, steps)]
    padding = sum((b < 0).sum() for b in held) / sum(b.size for b in held)
    assert made.padding == pytest.approx(padding)
    assert made.padding < made.windows.padding
    one = buckets(count=1)
    assert one.lengths == (8,) and one.padding == pytest.approx(one.windows.padding)


def test_a_batch_is_of_one_bucket_and_there_are_as_many_shapes():
    made = buckets()
    shapes = {batch["items"].shape for batch in batches(made, 60)}
    assert shapes == set(zip(made.rows, made.lengths, strict=True))
    assert len(shapes) == 3


def test_buckets_take_turns_in_random_order():
    made = buckets([3] * 44 + [8] * 40, count=2, batch_size=4)
    order = [made.batch(step)[0] for step in range(2 * 14)]
    assert order[:14].count(1) == 10 and order[14:].count(1) == 10
    assert order[:14] != order[14:]
    assert sorted(order[:14]) != order[:14] != sorted(order[:14], reverse=True)


def test_batches_are_determined_by_the_seed():
    equal(batches(buckets(seed=3), 30), batches(buckets(seed=3), 30))
    first = [b["noise"].tolist() for b in batches(buckets(seed=3), 30)]
    assert first != [b["noise"].tolist() for b in batches(buckets(seed=4), 30)]


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 17])
def test_resuming_from_a_state_equals_going_on(stop, threads):
    def start():
        return iter(bucketed_batches(buckets(), encode=encode, threads=threads))

    whole = batches(buckets(), 40)
    first = start()
    for _ in range(stop):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    second = start()
    for _ in range(3):
        next(second)
    second.set_state(state)
    equal([next(second) for _ in range(40 - stop)], whole[stop:])


def test_a_step_far_ahead_is_found_at_once():
    made = buckets()
    steps = [made.batch(step) for step in (10**12, 10**12 + 1)]
    assert steps[0] != steps[1]
    assert min(steps[0][1]) > 10**11


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 100))
def test_hosts_share_each_batch(hosts, each, seed):
    made = buckets(batch_size=hosts * each, multiple=hosts, seed=seed)
    whole = batches(made, 9)
    parts = [batches(made, 9, shard=(host, hosts)) for host in range(hosts)]
    joined = [
        {name: np.concatenate([part[n][name] for part in parts]) for name in whole[0]}
        for n in range(9)
    ]
    equal(joined, whole)


def test_wrong_sizes_are_refused():
    with pytest.raises(ConfigError, match="at least 1 bucket, got 0"):
        buckets(count=0)
    with pytest.raises(ConfigError, match="batch_size 4 must be a positive multiple of 3"):
        buckets(multiple=3)
    with pytest.raises(ConfigError, match=r"shard 0 of 3"):
        bucketed_batches(buckets(), encode=encode, shard=(0, 3))
