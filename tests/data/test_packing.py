import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError
from jaxrec.data import (
    Packing,
    Windows,
    leave_one_out,
    pack,
    packed_batches,
    read_double_colon,
)

LENGTHS = [1, 2, 3, 5, 6, 7, 8, 11, 24, 40]
HISTORIES = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def chain(lengths) -> list[np.ndarray]:
    """Return histories whose items are all different, so that an item tells user and place."""
    start = np.concatenate([[0], np.cumsum(lengths)])
    return [np.arange(start[u], start[u + 1], dtype=np.int32) for u in range(len(lengths))]


def packing(lengths, length=6, row=0, seed=0) -> Packing:
    return Packing(Windows.of(chain(lengths), length=length, seed=seed), row or length)


def encode(items, rng):
    """Item numbers, and noise that tells the generator's stream: one a window."""
    return {"items": items, "noise": np.full((len(items), 2), rng.random(), np.float32)}


def batches(packing, count, batch_size=3, **options):
    iterator = iter(packed_batches(packing, batch_size=batch_size, encode=encode, **options))
    return [next(iterator) for _ in range(count)]


def windows_of(batch) -> list[tuple[tuple[int, ...], float]]:
    """The windows of a batch, row by row: their items and their noise."""
    found = []
    for items, noise, segments in zip(
        batch["items"], batch["noise"], batch["segments"], strict=True
    ):
        for number in range(segments.max() + 1):
            mine = segments == number
            assert mine.any() and len(np.unique(noise[mine])) == 1
            found.append((tuple(items[mine].tolist()), float(noise[mine][0, 0])))
    return found


def equal(a, b) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


def by_the_book(lengths, capacity):
    """Best-fit decreasing, window by window: the room that is left in each row."""
    room = []
    for length in sorted(lengths, reverse=True):
        fits = [n for n in range(len(room)) if room[n] >= length]
        if not fits:
            room.append(capacity)
            fits = [len(room) - 1]
        room[min(fits, key=lambda n: room[n])] -= length
    return room


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(1, 60))
def test_packing_is_best_fit_decreasing_and_overfills_no_row(data, capacity):
    lengths = np.array(data.draw(st.lists(st.integers(1, capacity), min_size=1, max_size=60)))
    rows = pack(lengths, capacity)
    filled = np.bincount(rows, weights=lengths)
    assert filled.max() <= capacity and filled.min() >= 1
    assert sorted(capacity - filled) == sorted(by_the_book(lengths.tolist(), capacity))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_rows_depend_on_the_multiset_of_lengths_alone(lengths, random):
    shuffled = list(lengths)
    random.shuffle(shuffled)

    def rows(lengths):
        lengths, found = np.array(lengths), pack(np.array(lengths), 9)
        return sorted(sorted(lengths[found == row]) for row in range(found.max() + 1))

    assert rows(lengths) == rows(shuffled)


def test_packing_by_hand():
    # 7 opens row 0, 5 row 1, and 4 fits beside the 5 alone; 3 fills row 0, 2 finds no room.
    assert pack(np.array([2, 4, 7, 3, 5]), 10).tolist() == [2, 1, 0, 0, 1]
    assert pack(np.array([3, 3, 3, 3]), 10).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("lengths", [[3, 11], [0, 3], [-1]])
def test_sequences_that_fit_no_row_are_refused(lengths):
    with pytest.raises(ConfigError, match=r"of length -?\d+ to -?\d+ do not fit rows of 10"):
        pack(np.array(lengths), 10)


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.integers(1, 12), st.integers(0, 7), st.integers(0, 2**31))
def test_every_window_is_in_one_row_once_an_epoch(lengths, length, more, seed):
    packed = packing(lengths, length, length + more, seed)
    rows, windows = packed.per_epoch, packed.windows
    for number in (0, 1, 5):
        drawn = [packed.places(place) for place in range(number * rows, (number + 1) * rows)]
        places = [place for row in drawn for place in row]
        first = number * windows.per_epoch
        assert sorted(places) == list(range(first, first + windows.per_epoch))
        for row in drawn:
            items = sum(len(items) for items, _ in windows.draw(row))
            assert 1 <= items <= packed.row
    assert packed.padding == pytest.approx(1 - windows.lengths.sum() / (rows * packed.row))


@settings(max_examples=25, deadline=None)
@given(HISTORIES, st.integers(1, 8), st.integers(0, 2**31))
def test_a_packed_epoch_holds_what_the_unpacked_one_holds(lengths, length, seed):
    packed = packing(lengths, length, seed=seed)
    rows, windows = packed.per_epoch, packed.windows
    found = [window for batch in batches(packed, 2, rows) for window in windows_of(batch)]
    plain = [
        (tuple(items.tolist()), float(np.float32(rng.random())))
        for items, rng in windows.draw(range(2 * windows.per_epoch))
    ]
    assert sorted(found[: windows.per_epoch]) == sorted(plain[: windows.per_epoch])
    assert sorted(found[windows.per_epoch :]) == sorted(plain[windows.per_epoch :])


def test_segments_are_numbered_from_the_left_and_padding_comes_last():
    for batch in batches(packing(LENGTHS, row=9), 20):
        assert batch["items"].shape == batch["segments"].shape == (3, 9)
        assert batch["noise"].shape == (3, 9, 2)
        assert batch["segments"].dtype == batch["items"].dtype == np.int32
        for items, segments in zip(batch["items"], batch["segments"], strict=True):
            used = int((segments >= 0).sum())
            assert used > 0 and (segments[used:] == -1).all() and (items[used:] == 0).all()
            steps = np.diff(segments[:used])
            assert segments[0] == 0 and set(steps.tolist()) <= {0, 1}


def test_rows_are_in_another_order_and_company_every_epoch():
    packed = packing([3, 4, 2, 5, 1, 6, 2, 3, 4, 1] * 5)
    epochs = [batches(packed, n + 1, packed.per_epoch)[-1] for n in range(3)]
    rows = [
        [tuple(sorted(row[s >= 0])) for row, s in zip(e["items"], e["segments"], strict=True)]
        for e in epochs
    ]
    assert rows[0] != rows[1] != rows[2]
    assert len(set(rows[0]) & set(rows[1])) < packed.per_epoch / 2
    # Not from long histories to short, as they were packed.
    most = [max(np.bincount(s[s >= 0])) for s in epochs[0]["segments"]]
    assert most != sorted(most, reverse=True)


def test_batches_are_determined_by_the_seed():
    def run(seed):
        return batches(packing(LENGTHS, seed=seed), 30)

    equal(run(3), run(3))
    assert any((a["noise"] != b["noise"]).any() for a, b in zip(run(3), run(4), strict=True))


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 17])
def test_resuming_from_a_state_equals_going_on(stop, threads):
    def start():
        data = packed_batches(packing(LENGTHS), batch_size=4, encode=encode, threads=threads)
        return iter(data)

    whole = batches(packing(LENGTHS), 40, 4)
    first = start()
    for _ in range(stop):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    second = start()
    for _ in range(3):
        next(second)
    second.set_state(state)
    equal([next(second) for _ in range(40 - stop)], whole[stop:])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 100))
def test_hosts_share_each_batch(hosts, each, seed):
    packed = packing(LENGTHS, seed=seed)
    whole = batches(packed, 9, hosts * each)
    parts = [batches(packed, 9, hosts * each, shard=(host, hosts)) for host in range(hosts)]
    joined = [
        {name: np.concatenate([part[n][name] for part in parts]) for name in whole[0]}
        for n in range(9)
    ]
    equal(joined, whole)


def test_the_stream_of_rows_does_not_depend_on_the_batch_size():
    few, many = batches(packing(LENGTHS), 15, 4), batches(packing(LENGTHS), 5, 12)
    for name in few[0]:
        np.testing.assert_array_equal(
            np.concatenate([b[name] for b in few]), np.concatenate([b[name] for b in many])
        )


def test_wrong_sizes_and_fields_are_refused():
    with pytest.raises(ConfigError, match="rows of 5 items cannot hold windows of up to 6"):
        packing(LENGTHS, row=5)
    for options in ({"batch_size": 0}, {"batch_size": 3, "shard": (0, 2)}):
        with pytest.raises(ConfigError):
            packed_batches(packing(LENGTHS), encode=encode, **options)
    for wrong in ({"sum": np.zeros(99)}, {"segments": np.zeros(3)}):
        data = packed_batches(packing([3]), batch_size=1, encode=lambda *_, f=wrong: f)
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            next(iter(data))


def test_packing_wastes_under_5_percent_of_movielens_1m(real_data):
    histories = leave_one_out(read_double_colon(real_data("ml-1m"))).train.sequences()
    newest = [history[-200:] for history in histories]
    for source, padded in ((histories, 0.30), (newest, 0.46)):
        packed = Packing(Windows.of(source, length=200, seed=0), 200)
        assert packed.windows.padding == pytest.approx(padded, abs=0.01)
        assert packed.padding < 0.05
        # Measured on a whole epoch of batches too, not only by counting.
        data = packed_batches(
            packed, batch_size=packed.per_epoch, encode=lambda items, _: {"items": items}
        )
        segments = next(iter(data))["segments"]
        assert (segments < 0).mean() == pytest.approx(packed.padding)
        assert (segments >= 0).sum() == packed.windows.lengths.sum()
