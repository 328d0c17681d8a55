"""Span corruption against a re-derivation of T5's rules, published lengths, and exact marginals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from jaxrec.core import ConfigError
from jaxrec.objectives import (
    corrupt_spans,
    fit_spans,
    random_segments,
    restore_spans,
    span_counts,
    span_lengths,
    span_mask,
)

# The first sentinel has the highest number, as in T5.
SENTINELS = np.arange(999, 799, -1, dtype=np.int32)
END = 1


def by_rule(length, rate, mean):
    """Noise tokens and spans, as the specification of T5's code states them."""
    noise = min(max(int(np.round(length * rate)), 1), length - 1)
    spans = max(int(np.round(noise / mean)), 1)
    return noise, min(spans, noise, length - noise)


def corrupt_slowly(tokens, mask):
    """Inputs and targets, token by token."""
    inputs, targets, before, marks = [], [], None, [0, 0]
    for token, gone in zip(tokens, mask, strict=True):
        write, other = (targets, inputs) if gone else (inputs, targets)
        if gone != before:
            which = 0 if gone else 1
            other.append(999 - marks[which])
            marks[which] += 1
        write.append(token)
        before = gone
    return [*inputs, END], [*targets, END]


@pytest.mark.parametrize(
    ("limit", "rate", "mean", "raw", "inputs", "targets"),
    [
        (512, 0.15, 3, 568, 512, 114),
        (512, 0.15, 8, 588, 512, 100),
        (512, 0.5, 3, 766, 512, 512),
        (512, 0.5, 8, 908, 512, 512),
        (512, 0.15, 64, 600, 512, 92),
        (512, 0.5, 64, 1006, 512, 512),
        (512, 0.15, 32, 598, 512, 94),
        (1024, 0.15, 3, 1137, 1024, 229),
    ],
)
def test_lengths_are_the_published_ones(limit, rate, mean, raw, inputs, targets):
    assert fit_spans(limit, rate, mean) == (raw, inputs, targets)


@pytest.mark.parametrize("limit", [512, 1024, 2048])
@pytest.mark.parametrize(
    ("rate", "mean"),
    [(0.15, 3), (0.15, 8), (0.5, 3), (0.5, 8), (0.15, 64), (0.5, 64), (0.15, 32), (0.25, 3)],
)
def test_the_longest_text_is_that_of_a_search(limit, rate, mean):
    def lengths(raw):
        noise, spans = by_rule(raw, rate, mean)
        return raw - noise + spans + 1, noise + spans + 1

    raw = limit
    while lengths(raw + 1)[0] <= limit:
        raw += 1
    if rate == 0.5 and lengths(raw)[1] > lengths(raw)[0]:
        raw -= 1
    assert fit_spans(limit, rate, mean) == (raw, *lengths(raw))


@pytest.mark.parametrize("rate", [0.15, 0.25, 0.5])
@pytest.mark.parametrize("mean", [3, 8, 32, 64])
def test_counts_follow_the_rule_at_every_length(rate, mean):
    for length in range(2, 2001):
        assert span_counts(length, rate, mean) == by_rule(length, rate, mean)


def test_a_text_of_2000_tokens_needs_exactly_100_sentinels():
    assert span_counts(2000, 0.15, 3).spans == 100


def test_halves_are_rounded_to_even():
    assert span_counts(10, 0.25, 1).noise == 2  # 2.5
    assert span_counts(14, 0.25, 1).noise == 4  # 3.5


def test_single_token_spans_of_half_a_text_leave_a_token_between_them():
    assert span_counts(9, 0.5, 1) == (4, 4)
    assert span_counts(9, 0.7, 1) == (6, 3)  # six spans would not fit between three tokens


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(2, 600),
    rate=st.sampled_from([0.15, 0.25, 0.5, 0.9]),
    mean=st.sampled_from([1.0, 3.0, 8.0, 32.0, 64.0]),
    roll=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_examples_equal_a_slow_rule_and_restore_their_text(length, rate, mean, roll, seed):
    tokens = np.arange(2, 2 + length, dtype=np.int32)
    mask = span_mask(length, rate, mean, np.random.default_rng(seed), roll)
    noise, spans = by_rule(length, rate, mean)
    assert mask.sum() == noise
    sentinels = np.arange(5000, 4000, -1, dtype=np.int32)
    inputs, targets = corrupt_spans(tokens, mask, sentinels, END)
    limit = span_lengths(length, rate, mean, roll)
    if roll:
        assert len(inputs) <= limit.inputs and len(targets) <= limit.targets
        assert len(inputs) + len(targets) >= length + 2 * spans + 2
    else:
        assert (len(inputs), len(targets)) == (limit.inputs, limit.targets)
        # As many sentinels as spans, none of which closes the targets.
        assert (targets > 4000).sum() == spans and targets[-2] < 4000
        assert not mask[0] and mask[-1]
    assert restore_spans(inputs, targets, sentinels, END).tolist() == tokens.tolist()


def test_inputs_and_targets_equal_a_slow_rule():
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = rng.random(rng.integers(2, 40)) < rng.random()
        tokens = rng.integers(2, 700, len(mask))
        found = corrupt_spans(tokens, mask, SENTINELS, END)
        assert [part.tolist() for part in found] == list(corrupt_slowly(tokens.tolist(), mask))


def test_every_segmentation_is_equally_likely():
    rng = np.random.default_rng(0)
    every = [c for c in itertools.product(range(1, 7), repeat=3) if sum(c) == 7]
    assert len(every) == math.comb(6, 2)
    counts = dict.fromkeys(every, 0)
    for _ in range(6000):
        counts[tuple(random_segments(7, 3, rng).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def exact_marginal(length, rate, mean):
    """P(removed) of each token, by counting all pairs of segmentations."""
    noise, spans = by_rule(length, rate, mean)

    def cut(items):
        return [np.diff([0, *c, items]) for c in itertools.combinations(range(1, items), spans - 1)]

    total = np.zeros(length)
    pairs = [(k, n) for k in cut(length - noise) for n in cut(noise)]
    for kept, gone in pairs:
        row = [part for k, n in zip(kept, gone, strict=True) for part in [0] * k + [1] * n]
        total += row
    return total / len(pairs)


@pytest.mark.parametrize("roll", [False, True])
def test_each_token_is_removed_as_often_as_counting_says(roll):
    length, rate, mean, draws = 14, 0.4, 2.0, 4000
    rng = np.random.default_rng(1)
    seen = sum(span_mask(length, rate, mean, rng, roll).astype(int) for _ in range(draws))
    exact = exact_marginal(length, rate, mean)
    assert exact[0] == 0 and exact[-1] == 1
    if roll:
        exact = np.full(length, exact.mean())
    else:
        assert seen[0] == 0 and seen[-1] == draws
    inside = slice(None) if roll else slice(1, -1)
    expected = exact[inside] * draws
    spread = expected * (1 - exact[inside])
    # Removed tokens exclude one another, so that the statistic is below that of independent ones.
    statistic = ((seen[inside] - expected) ** 2 / spread).sum()
    assert stats.chi2.sf(statistic, length) > 1e-3


def test_more_spans_than_sentinels_are_an_error():
    mask = np.tile([False, True], 3)
    with pytest.raises(ConfigError, match=r"6 tokens has 3 spans, .* only 2 sentinels"):
        corrupt_spans(np.arange(6), mask, SENTINELS[:2], END)


def test_a_text_of_one_token_is_an_error():
    with pytest.raises(ConfigError, match="at least 2 tokens, got 1"):
        span_counts(1, 0.15, 3)
    with pytest.raises(ConfigError, match="inputs of 2 tokens cannot hold"):
        fit_spans(2, 0.15, 3)
