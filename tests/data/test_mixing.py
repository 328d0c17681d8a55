from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Mix, TokenTexts, mixed_batches, mixing_rates


def _texts(lengths, learned=1):
    """Texts whose tokens are their number plus 1; the last `learned` tokens are answers."""
    lengths = np.array(lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    mask = np.zeros(starts[-1], bool)
    for end in starts[1:]:
        mask[end - learned : end] = True
    numbers = np.arange(len(lengths))
    tokens = np.repeat(numbers + 1, lengths).astype(np.int32)
    return TokenTexts(tokens=tokens, learned=mask, starts=starts, source=numbers)


def _which(mix, example):
    return int(np.searchsorted(np.cumsum(mix.sizes), example, side="right"))


@pytest.mark.parametrize("cap", [0, 1, 7, 30])
def test_every_epoch_has_exactly_the_rates(cap):
    mix = Mix(sizes=(3, 10, 29), cap=cap, seed=4)
    want = [min(n, cap or n) for n in mix.sizes]
    rates = [Fraction(n, sum(want)) for n in want]
    assert mixing_rates(mix.sizes, cap).tolist() == [float(rate) for rate in rates]
    for number in range(4):
        epoch = mix.epoch(number)
        counts = Counter(_which(mix, example) for example in epoch)
        assert [Fraction(counts[n], len(epoch)) for n in range(3)] == rates


def test_a_capped_set_meets_all_its_examples_before_any_again():
    mix = Mix(sizes=(2, 10), cap=4, seed=1)
    drawn = np.concatenate([mix.epoch(number) for number in range(5)])
    times = Counter(drawn.tolist())
    assert all(times[example] == 2 for example in range(2, 12))  # 20 places for 10 examples
    first = np.concatenate([mix.epoch(0), mix.epoch(1)])
    assert max(Counter(first[first >= 2].tolist()).values()) == 1


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("cap", [0, 3])
def test_batches_have_whole_texts_at_the_rates(packed, cap):
    texts = _texts([3, 5, 2, 7, 4, 6, 2])
    mix = Mix(sizes=(2, 5), cap=cap)
    batches = iter(mixed_batches(texts, mix, length=9, batch_size=1, packed=packed))
    seen = []
    while len(seen) < 3 * sum(mix.counts):
        batch = next(batches)
        segments, tokens = batch["segments"][0], batch["tokens"][0]
        assert ((segments >= 0) == batch["valid"][0]).all()
        for segment in range(segments.max() + 1):
            here = segments == segment
            number = int(tokens[here][0]) - 1
            assert here.sum() == texts.lengths[number] and (tokens[here] == number + 1).all()
            assert batch["weights"][0][here].tolist() == texts.text(number)[1].tolist()
            seen.append(number)
    expected = np.concatenate([mix.epoch(number) for number in range(3)])
    assert sorted(seen) == sorted(expected.tolist())


def test_packed_rows_hold_more_than_one_text_and_resume():
    texts, mix = _texts([3, 3, 3, 4, 4, 2]), Mix(sizes=(6,), seed=3)
    made = mixed_batches(texts, mix, length=8, batch_size=2)
    batches = iter(made)
    rows = [next(batches) for _ in range(5)]
    assert max(batch["segments"].max() for batch in rows) >= 1
    again = iter(made)
    for _ in range(3):
        next(again)
    state = again.get_state()
    fresh = iter(mixed_batches(texts, mix, length=8, batch_size=2))
    fresh.set_state(state)
    np.testing.assert_array_equal(next(fresh)["tokens"], rows[3]["tokens"])


def test_hosts_share_a_batch():
    texts, mix = _texts([3, 3, 3, 4]), Mix(sizes=(4,))
    whole = next(iter(mixed_batches(texts, mix, length=4, batch_size=4)))
    parts = [
        next(iter(mixed_batches(texts, mix, length=4, batch_size=4, shard=(host, 2))))
        for host in (0, 1)
    ]
    together = np.concatenate([part["tokens"] for part in parts])
    np.testing.assert_array_equal(together, whole["tokens"])


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: Mix(sizes=()), DataError, "sets with examples"),
        (lambda: Mix(sizes=(3, 0)), DataError, "sets with examples"),
        (lambda: Mix(sizes=(3,), cap=-1), ConfigError, "cap must be 0"),
        (
            lambda: mixed_batches(_texts([9]), Mix(sizes=(1,)), length=8, batch_size=1),
            ConfigError,
            "cannot hold texts of up to 9",
        ),
        (
            lambda: mixed_batches(_texts([9]), Mix(sizes=(2,)), length=9, batch_size=1),
            DataError,
            "has 2 texts, and there are 1",
        ),
    ],
)
def test_impossible_mixtures_are_errors(call, error, said):
    with pytest.raises(error, match=said):
        call()
