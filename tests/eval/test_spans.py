"""Strict span scores against seqeval, and their bootstrap against that of the ratio."""

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.data import Span, spans_of_tags, tags_of_spans
from jaxrec.eval import SpanMatches, bootstrap_interval, match_spans


def random_spans(rng, length):
    spans, place = [], 0
    while place < length:
        end = min(length, place + int(rng.integers(1, 4)))
        if rng.random() < 0.5:
            spans.append(Span(place, end, str(rng.choice(["skill", "knowledge"]))))
        place = end
    return spans


def only(kind, spans):
    return [span for span in spans if span.kind == kind]


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_seqeval_in_strict_mode(seed):
    seqeval = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme").IOBES
    rng = np.random.default_rng(seed)
    gold, predicted = ([random_spans(rng, length) for length in (3, 8, 1, 12, 6)] for _ in range(2))
    predicted[1] = gold[1]
    tags = [
        [tags_of_spans(s, n) for s, n in zip(part, (3, 8, 1, 12, 6), strict=True)]
        for part in (gold, predicted)
    ]
    scores = match_spans(gold, predicted).scores()
    for name, value in scores.items():
        theirs = getattr(seqeval, f"{name}_score")(*tags, mode="strict", scheme=scheme)
        np.testing.assert_allclose(value, theirs, atol=1e-12)
    report = seqeval.classification_report(
        *tags, mode="strict", scheme=scheme, output_dict=True, zero_division=0
    )
    for kind in ("skill", "knowledge"):
        mine = [
            [[s for s in text if s.kind == kind] for text in part] for part in (gold, predicted)
        ]
        for name, value in match_spans(*mine).scores().items():
            theirs = report[kind]["f1-score" if name == "f1" else name]
            np.testing.assert_allclose(value, theirs, atol=1e-12)
    assert [spans_of_tags(row) for row in tags[0]] == gold


def test_no_spans_at_all_score_zero():
    assert set(match_spans([[]], [[]]).scores().values()) == {0.0}
    assert all(v.tolist() == [0.0] for v in match_spans([[]], [[]]).values().values())


def test_spans_count_once_and_kinds_add_up():
    span, other = Span(0, 1, "a"), Span(0, 1, "b")
    twice = match_spans([[span, span]], [[span, span]])
    assert (twice.right[0], twice.predicted[0], twice.gold[0]) == (1, 1, 1)
    both = twice + match_spans([[other]], [[]])
    assert both.scores() == match_spans([[span, other]], [[span]]).scores()
    with pytest.raises(DataError, match="1 texts and predicted spans of 2"):
        match_spans([[]], [[], []])


def test_the_interval_of_the_values_is_near_that_of_resampled_ratios():
    rng = np.random.default_rng(0)
    gold, predicted = rng.poisson(1.0, 1500), rng.poisson(1.0, 1500)
    right = rng.binomial(np.minimum(gold, predicted), 0.7)
    matches = SpanMatches(right, predicted, gold)
    rows = rng.integers(1500, size=(2000, 1500))
    sums = {"right": right[rows].sum(axis=1), "all": (predicted + gold)[rows].sum(axis=1)}
    ratios = {
        "f1": 2 * sums["right"] / sums["all"],
        "precision": sums["right"] / predicted[rows].sum(axis=1),
        "recall": sums["right"] / gold[rows].sum(axis=1),
    }
    for name, values in matches.values().items():
        np.testing.assert_allclose(values.mean(), matches.scores()[name], rtol=1e-12)
        interval = bootstrap_interval(values, resamples=2000)
        low, high = np.quantile(ratios[name], [0.025, 0.975])
        np.testing.assert_allclose([interval.low, interval.high], [low, high], atol=0.004)
