"""BART's noise, prefixes, and UL2's mixtures: bounds, rates, restoration, batches, resuming."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from jaxrec.core import ConfigError
from jaxrec.data import ReservedTokens
from jaxrec.objectives import (
    MIXTURES,
    Corruption,
    Denoiser,
    choose,
    corrupt,
    corrupted_batches,
    delete_tokens,
    infill_tokens,
    longest_text,
    mask_tokens,
    mixture,
    poisson_spans,
    prefix_length,
    restore,
    shares,
)

MASK = 4
RESERVED = ReservedTokens(
    pad=0,
    bos=1,
    eos=2,
    mask=MASK,
    sentinels=np.arange(1099, 999, -1, dtype=np.int32),
    modes={"R": 5, "S": 6, "X": 7},
    ordinary=np.arange(8, 1000, dtype=np.int32),
)
KINDS = ("whole", "suffix", "spans", "mask", "delete", "infill")
BACKBONES = ("causal", "prefix", "encoder_decoder")


def text(length):
    return np.arange(8, 8 + length, dtype=np.int32)


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    length=st.integers(2, 300),
    rate=st.sampled_from([0.1, 0.15, 0.5, 0.8]),
    span=st.sampled_from([1.0, 3.0, 20.0]),
    roll=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_example_restores_its_text(kind, length, rate, span, roll, seed):
    denoiser = Denoiser(kind=kind, rate=rate, span=span, roll=roll)
    many = dataclasses.replace(RESERVED, sentinels=np.arange(2000, 1000, -1, dtype=np.int32))
    pair = corrupt(denoiser, text(length), many, np.random.default_rng(seed))
    assert restore(denoiser, *pair, many).tolist() == text(length).tolist()


def test_masking_and_deletion_change_the_exact_share_of_all_tokens_alike():
    rng, counts, gone = np.random.default_rng(0), np.zeros(40), np.zeros(40)
    for _ in range(2000):
        masked = mask_tokens(text(40), 0.3, MASK, rng)
        assert (masked == MASK).sum() == 12
        assert ((masked == text(40)) | (masked == MASK)).all()
        counts += masked == MASK
        kept = delete_tokens(text(40), 0.3, rng)
        assert len(kept) == 28 and (np.diff(kept) > 0).all()
        gone += ~np.isin(text(40), kept)
    for found in (counts, gone):
        assert stats.chisquare(found).pvalue > 1e-3


def test_infilling_removes_the_share_and_writes_one_mask_a_span():
    rng = np.random.default_rng(0)
    for _ in range(300):
        noisy = infill_tokens(text(60), 0.3, 3.0, MASK, rng)
        kept = noisy[noisy != MASK]
        assert len(kept) == 42 and (np.diff(kept) > 0).all()
        # A gap in what is kept has at least one mask; there may be more by insertions.
        padded = np.concatenate([[7], noisy, [68]])
        at = np.flatnonzero(padded != MASK)
        jumps = np.diff(padded[at]) > 1
        assert (np.diff(at)[jumps] > 1).all()


def test_infilling_inserts_masks_where_nothing_is_missing():
    rng, inserted = np.random.default_rng(0), 0
    for _ in range(200):
        noisy = infill_tokens(text(60), 0.3, 3.0, MASK, rng)
        padded = np.concatenate([[7], noisy, [68]])
        at = np.flatnonzero(padded != MASK)
        inserted += ((np.diff(padded[at]) == 1) & (np.diff(at) > 1)).sum()
    # 18 removed tokens take about six draws of Poisson(3), of which exp(-3) are 0: about 60 in all,
    # some of which lie beside a span.
    assert 25 < inserted < 75


def test_span_lengths_follow_the_poisson_distribution():
    rng = np.random.default_rng(0)
    # The last one is cut to fit the number of tokens.
    lengths = np.concatenate([poisson_spans(3000, 3.0, rng)[:-1] for _ in range(10)])
    counts = np.bincount(np.minimum(lengths, 8), minlength=9)
    expected = stats.poisson.pmf(np.arange(8), 3.0)
    expected = np.append(expected, 1 - expected.sum()) * len(lengths)
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize(
    ("rate", "low", "high"), [(0.25, 50, 101), (0.5, 1, 101), (0.75, 1, 50), (0.1, 81, 101)]
)
def test_prefixes_are_uniform_with_the_mean_of_the_rate(rate, low, high):
    # T5: from max(1, round((1 - 2 rate) (n - 1))) on; n = 102, so that 101 tokens can be targets.
    rng = np.random.default_rng(0)
    drawn = np.array([prefix_length(102, rate, rng) for _ in range(4000)])
    assert (drawn.min(), drawn.max()) == (low, high)
    assert abs((102 - drawn).mean() / 102 - rate) < 0.02
    counts = np.bincount(drawn - drawn.min())
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_seven_denoisers_of_ul2_are_the_published_ones_and_within_their_bounds():
    seven = MIXTURES["ul2"]
    table = [(d.mode, d.kind, d.span if d.kind == "spans" else None, d.rate) for d in seven]
    assert table == [
        ("R", "spans", 3.0, 0.15),
        ("R", "spans", 8.0, 0.15),
        ("S", "suffix", None, 0.25),
        ("X", "spans", 3.0, 0.5),
        ("X", "spans", 8.0, 0.5),
        ("X", "spans", 64.0, 0.15),
        ("X", "spans", 64.0, 0.5),
    ]
    # X is defined as spans of at least 12 tokens or a rate of at least 30 %.
    for denoiser in (d for d in seven if d.kind == "spans"):
        assert (denoiser.mode == "X") == (denoiser.span >= 12 or denoiser.rate >= 0.3)
    many = dataclasses.replace(RESERVED, sentinels=np.arange(5000, 4000, -1, dtype=np.int32))
    rng = np.random.default_rng(0)
    for denoiser in seven:
        longest = longest_text(denoiser, 512, joined=False)
        inputs, targets = corrupt(denoiser, np.arange(8, 8 + longest.raw), many, rng)
        assert len(inputs) <= longest.inputs <= 512 and len(targets) <= longest.targets <= 512
        if denoiser.kind == "spans" and denoiser.mode == "R":
            assert len(inputs) == 512


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("ul2", 0.0, [1 / 7] * 7),
        ("three_way", 0.0, [1 / 6, 1 / 6, 1 / 3, 1 / 12, 1 / 12, 1 / 12, 1 / 12]),
        ("ul2r", 0.0, [0.25, 0.125, 0.125, 0.5]),
        ("ul2r", 0.5, [0.125, 0.0625, 0.0625, 0.25, 0.5]),
    ],
)
def test_rates_of_a_mixture_are_exact_and_drawn_within_one_percent(name, language, expected):
    denoisers = mixture(name, language)
    np.testing.assert_allclose(shares(denoisers), expected, atol=1e-12)
    rng = np.random.default_rng(0)
    drawn = np.bincount([choose(denoisers, rng) for _ in range(20_000)], minlength=len(denoisers))
    assert np.abs(drawn / 20_000 - expected).max() < 0.01
    assert stats.chisquare(drawn, np.array(expected) * 20_000).pvalue > 1e-3


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_holds_whole_examples_that_restore_their_text(backbone, kind):
    denoiser = Denoiser(kind=kind, rate=0.3, mode="R" if kind == "spans" else "")
    corruption = Corruption(denoisers=(denoiser,), backbone=backbone, length=40, reserved=RESERVED)
    batch = next(iter(corrupted_batches(corruption, text(500), batch_size=6, seed=3)))
    for row in range(6):
        tokens, weights = batch["tokens"][row], batch["weights"][row] > 0
        targets = tokens[weights]
        if backbone == "encoder_decoder":
            inputs = batch["source"][row][batch["source_valid"][row]]
            if denoiser.mode:
                assert inputs[0] == RESERVED.modes["R"]
                inputs = inputs[1:]
            assert inputs[-1] == RESERVED.eos
            inputs = inputs[:-1] if kind in ("whole", "suffix") else inputs
            assert tokens[0] == RESERVED.pad and not weights[0]
        else:
            inputs = tokens[batch["valid"][row] & ~weights]
            assert inputs[0] == (RESERVED.modes["R"] if denoiser.mode else RESERVED.bos)
            inputs = inputs[1:]
            if backbone == "prefix":
                assert batch["prefix"][row].tolist() == (batch["valid"][row] & ~weights).tolist()
            else:
                assert "prefix" not in batch
        found = restore(denoiser, inputs, targets, RESERVED)
        assert len(found) == corruption.raw
        assert (np.diff(found) == 1).all()  # a window of the corpus
        assert tokens.shape[0] <= 41


def test_packed_rows_hold_several_examples_with_segments():
    corruption = Corruption(
        denoisers=mixture("three_way", 0.25),
        backbone="prefix",
        length=32,
        reserved=RESERVED,
        per_row=3,
    )
    batch = next(iter(corrupted_batches(corruption, text(900), batch_size=4, seed=0)))
    assert batch["tokens"].shape == (4, 96)
    for row in range(4):
        assert sorted(set(batch["segments"][row].tolist()) - {-1}) == [0, 1, 2]
        for number in range(3):
            inside = batch["segments"][row] == number
            assert batch["tokens"][row][inside][0] in RESERVED.modes.values()
            assert inside.sum() <= 32
            # The prefix comes first, and exactly the rest is learned.
            prefix, weights = batch["prefix"][row][inside], batch["weights"][row][inside]
            assert (prefix == (np.arange(inside.sum()) < prefix.sum())).all()
            assert ((weights > 0) == ~prefix).all()
    assert (batch["valid"] == (batch["segments"] >= 0)).all()
    assert not batch["weights"][~batch["valid"]].any()


def test_a_resumed_iterator_goes_on_with_the_same_batches_for_any_number_of_hosts():
    corruption = Corruption(
        denoisers=MIXTURES["ul2r"], backbone="prefix", length=24, reserved=RESERVED
    )
    make = lambda shard=(0, 1): corrupted_batches(  # noqa: E731
        corruption, text(700), batch_size=4, seed=1, shard=shard
    )
    whole = iter(make())
    first = [next(whole) for _ in range(3)]
    state = whole.get_state()
    rest = [next(whole) for _ in range(2)]
    other = iter(make())
    other.set_state(state)
    for batch in rest:
        again = next(other)
        assert all((batch[name] == again[name]).all() for name in batch)
    halves = [next(iter(make((host, 2))))["tokens"] for host in (0, 1)]
    assert (np.concatenate(halves) == first[0]["tokens"]).all()


def test_what_does_not_fit_is_an_error_before_any_text_is_read():
    make = lambda **more: Corruption(  # noqa: E731
        **{
            "denoisers": (Denoiser(),),
            "backbone": "prefix",
            "length": 32,
            "reserved": RESERVED,
        }
        | more
    )
    with pytest.raises(ConfigError, match="length of 5 tokens cannot hold an example of kind span"):
        make(length=5)
    few = dataclasses.replace(RESERVED, sentinels=RESERVED.sentinels[:3])
    with pytest.raises(ConfigError, match="has 14 spans, and the tokenizer has 3 sentinels"):
        make(length=512, reserved=few, denoisers=(Denoiser(span=5.0),))
    with pytest.raises(ConfigError, match="cannot share a row of an encoder-decoder"):
        make(backbone="encoder_decoder", per_row=2)
    with pytest.raises(ConfigError, match="corpus has 10 tokens, and an example takes 27"):
        corrupted_batches(make(), text(10), batch_size=2, seed=0)
    with pytest.raises(ConfigError, match="no mixture 'ul3'"):
        mixture("ul3")
    with pytest.raises(ConfigError, match=r"--denoiser\.rate must be in"):
        Denoiser(rate=1.0)


@pytest.mark.parametrize("kind", ["whole", "suffix", "spans"])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("extra", [0, 1])
def test_a_length_that_is_too_short_names_itself_and_the_least_that_fits(kind, joined, extra):
    denoiser = Denoiser(kind=kind)

    def fits(length):
        try:
            longest_text(denoiser, length, joined=joined, extra=extra)
        except ConfigError as error:
            return str(error)
        return ""

    least = next(length for length in range(1, 50) if not fits(length))
    if joined and kind != "spans":
        assert least == 2 + extra
    for length in range(1, least):
        assert f"a length of {length} tokens " in fits(length)
        assert fits(length).endswith(f"give at least {least}")
