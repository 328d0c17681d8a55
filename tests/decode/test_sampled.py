"""Lists by sampling: against a count over Python tuples and the model's own probabilities."""

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrec.core import ConfigError
from jaxrec.decode import (
    Draws,
    Prompts,
    Recommendations,
    Request,
    SearchOptions,
    beam_search,
)
from jaxrec.decode.sampled import merge
from jaxrec.testing.brute_force import level_logits, log_softmax, make_case


def of_python(items, scores, excluded, places, how):
    """The merged list by a dictionary."""
    found = collections.defaultdict(list)
    for item, score in zip(items, scores, strict=True):
        if item >= 0 and item not in excluded:
            found[item].append(score)
    if how == "logprob":
        merged = {item: sum(each) for item, each in found.items()}
    else:
        merged = {item: math.log(sum(map(math.exp, each))) for item, each in found.items()}
    return sorted(((score, item) for item, score in merged.items()), reverse=True)[:places]


@pytest.mark.parametrize("how", ["logprob", "probability"])
def test_repeated_draws_are_merged_and_invalid_or_excluded_ones_dropped(how):
    rng = np.random.default_rng(0)
    of_item = -rng.random(6) * 4
    items = rng.integers(-1, 6, (5, 12)).astype(np.int32)
    items[4] = -1
    scores = np.where(items >= 0, of_item[items], -np.inf).astype(np.float32)
    excluded = np.array([[-1, -1], [2, -1], [0, 5], [1, 2], [3, -1]], np.int32)
    drawn = Recommendations(jnp.asarray(items), jnp.asarray(scores))
    found = merge(drawn, Request(excluded=jnp.asarray(excluded)), 14, how)
    # What is excluded may as well be not allowed.
    allowed = np.ones((5, 6), bool)
    for user, row in enumerate(excluded):
        allowed[user, row[row >= 0]] = False
    other = merge(drawn, Request(allowed=jnp.asarray(allowed)), 14, how)
    np.testing.assert_array_equal(other.items, found.items)
    np.testing.assert_array_equal(other.scores, found.scores)
    for user in range(5):
        expected = of_python(items[user], scores[user], set(excluded[user].tolist()), 14, how)
        count = len(expected)
        assert found.items[user, :count].tolist() == [item for _, item in expected]
        np.testing.assert_allclose(
            found.scores[user, :count], [score for score, _ in expected], rtol=1e-5
        )
        assert (found.items[user, count:] == -1).all()
        assert np.isneginf(found.scores[user, count:]).all()


def test_draws_know_no_catalogue_and_keep_to_the_best_codes_of_each_level():
    """Of 9 IDs 5 are items: each item, and none, comes as often as the model says."""
    case = make_case(2, (3, 3), 0.55, users=1)
    tokens = jnp.broadcast_to(case.tokens, (4000, case.tokens.shape[1]))
    logits, share = level_logits(case), np.zeros(case.items)
    strategy = Draws(top_k=2, top_p=1.0).strategy
    found = beam_search(
        case.model,
        case.params,
        case.catalogue,
        Prompts(tokens=tokens),
        SearchOptions(beams=2, strategy=strategy),
        Request(key=jax.random.key(0)),
    )
    scores = np.zeros(case.items)
    for item, codes in enumerate(case.codes):
        share[item] = 1.0
        for level, code in enumerate(codes.tolist()):
            row = logits[level][0, item][case.vocabulary.level(level)]
            kept = np.exp(row) * (np.argsort(np.argsort(-row)) < 2)
            share[item] *= kept[code] / kept.sum()
            scores[item] += log_softmax(row)[code]
    items = np.asarray(found.items).ravel()
    counts = np.bincount(items + 1, minlength=case.items + 1)
    expected = np.append(1 - share.sum(), share) * len(items)
    assert 0.05 < 1 - share.sum() < 0.95
    possible = expected > 1e-6
    assert not counts[~possible].any()
    assert stats.chisquare(counts[possible], expected[possible]).pvalue > 1e-3
    drawn = np.asarray(found.scores).ravel()
    np.testing.assert_allclose(drawn[items >= 0], scores[items[items >= 0]], atol=1e-4)
    assert np.isneginf(drawn[items < 0]).all()


def test_settings_that_draw_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"draws\.count must be at least 1, got 0"):
        Draws(count=0)
    with pytest.raises(ConfigError, match=r"--decode\.draws\.top-p must be in \(0, 1\]"):
        Draws(top_p=0.0)
    with pytest.raises(ConfigError, match=r"strategy\.free draws from all codes"):
        SearchOptions(beams=2, normalize="legal", strategy=Draws().strategy)
