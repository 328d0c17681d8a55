import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.data import Windows, training_sequences

LENGTHS = [1, 2, 3, 5, 6, 7, 8, 11, 24, 40]


def chain(lengths) -> list[np.ndarray]:
    """Return histories whose items are all different, so that an item tells user and place."""
    start = np.concatenate([[0], np.cumsum(lengths)])
    return [np.arange(start[u], start[u + 1], dtype=np.int32) for u in range(len(lengths))]


def batches(count, iterator) -> list[dict[str, np.ndarray]]:
    return [next(iterator) for _ in range(count)]


def equal(a, b) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


def noisy(items, rng):
    """Encode with randomness, so that the generator's stream is tested too."""
    return {"sum": np.asarray(items.sum()), "noise": rng.random(3)}


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(1, 12),
    st.integers(0, 2**31),
    st.integers(0, 5),
)
def test_an_epoch_has_every_interaction_and_only_whole_windows(lengths, length, seed, epoch):
    windows = Windows.of(chain(lengths), length=length, seed=seed)
    first, end = windows.epoch(epoch)
    seen = np.zeros(sum(lengths), int)
    for begin, stop in zip(first, end, strict=True):
        seen[begin:stop] += 1
        user = np.searchsorted(windows.offsets, begin, side="right") - 1
        assert stop <= windows.offsets[user + 1]
        assert stop - begin == min(length, lengths[user])
    assert seen.min() == 1 or (seen.min() > 1 and max(lengths) > length)
    assert seen.max() <= 3


def test_long_histories_move_from_epoch_to_epoch():
    windows = Windows.of(chain([60]), length=30, seed=0)
    starts = {int(begin) for epoch in range(200) for begin in windows.epoch(epoch)[0]}
    assert len(starts) >= 28


def test_interactions_are_seen_about_equally_often():
    lengths = [5, 20, 30, 31, 45, 60, 90, 107, 400]
    windows = Windows.of(chain(lengths), length=30, seed=0)
    seen = np.zeros(sum(lengths))
    for epoch in range(50):
        for begin, end in zip(*windows.epoch(epoch), strict=True):
            seen[begin:end] += 1 / 50
    means = [part.mean() for part in np.split(seen, np.cumsum(lengths)[:-1])]
    assert min(means) >= 1 and max(means) < 2 and means[-1] < 1.1


def test_batches_are_determined_by_the_seed():
    def run(seed):
        data = training_sequences(chain(LENGTHS), length=5, batch_size=4, seed=seed, encode=noisy)
        return batches(30, iter(data))

    equal(run(3), run(3))
    equal(run(-1), run(-1))
    assert any((a["sum"] != b["sum"]).any() for a, b in zip(run(3), run(4), strict=True))


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 17])
def test_resuming_from_a_state_equals_going_on(stop, threads):
    def start():
        return iter(
            training_sequences(
                chain(LENGTHS), length=5, batch_size=4, seed=9, encode=noisy, threads=threads
            )
        )

    whole = batches(40, start())
    first = start()
    batches(stop, first)
    state = json.loads(json.dumps(first.get_state()))  # plain numbers, as a checkpoint keeps them
    second = start()
    batches(3, second)
    second.set_state(state)
    equal(batches(40 - stop, second), whole[stop:])


def test_the_stream_of_windows_does_not_depend_on_the_batch_size():
    def run(size, count):
        data = training_sequences(chain(LENGTHS), length=5, batch_size=size, seed=1, encode=noisy)
        return np.concatenate([b["noise"] for b in batches(count, iter(data))])

    np.testing.assert_array_equal(run(4, 15), run(12, 5))


def test_an_epoch_is_a_permutation_even_when_batches_do_not_divide_it():
    histories = chain([3] * 7)
    data = training_sequences(histories, length=5, batch_size=4, seed=0)
    rows = np.concatenate([b["items"] for b in batches(7, iter(data))])  # four epochs of 7
    for epoch in rows.reshape(4, 7, 5):
        assert sorted(epoch[:, -1].tolist()) == [h[-1] for h in histories]
    assert (rows[:7] != rows[7:14]).any()


def test_hosts_share_each_batch():
    def run(shard):
        data = training_sequences(
            chain(LENGTHS), length=5, batch_size=6, seed=2, encode=noisy, shard=shard
        )
        return batches(9, iter(data))

    whole = run((0, 1))
    parts = [run((host, 3)) for host in range(3)]
    joined = [
        {name: np.concatenate([part[n][name] for part in parts]) for name in whole[0]}
        for n in range(9)
    ]
    equal(joined, whole)


def test_without_an_encoder_windows_are_padded_on_the_left():
    batch = next(iter(training_sequences([[7, 8]], length=4, batch_size=2, seed=0)))
    assert batch["items"].tolist() == [[0, 0, 7, 8]] * 2
    assert batch["mask"].tolist() == [[False, False, True, True]] * 2
    assert batch["items"].dtype == np.int32


def test_empty_histories_and_wrong_sizes_are_refused():
    histories = [np.array([1]), np.array([], np.int32)]
    with pytest.raises(DataError, match=r"1 of 2 users have no items .* first is user 1"):
        training_sequences(histories, length=4, batch_size=2, seed=0)
    with pytest.raises(DataError, match="no users to train on"):
        training_sequences([], length=4, batch_size=2, seed=0)
    for options in ({"length": 0}, {"batch_size": 0}, {"shard": (0, 3)}, {"shard": (1, 1)}):
        with pytest.raises(ConfigError):
            training_sequences(
                [np.array([1])], **({"length": 4, "batch_size": 2, "seed": 0} | options)
            )


def test_an_encoder_of_uneven_shapes_is_named():
    data = training_sequences(
        chain([1, 2, 3, 4]), length=4, batch_size=4, seed=0, encode=lambda x, _: {"tokens": x}
    )
    with pytest.raises(ConfigError, match=r"'tokens' has shapes .* in one batch; pad it"):
        next(iter(data))
