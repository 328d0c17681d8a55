"""Diverse, stochastic and sampled beams: against numpy, and against their distributions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrec.core import ConfigError
from jaxrec.decode import Request, SearchOptions, Strategy, beam_search
from jaxrec.testing.brute_force import (
    continuations,
    level_logits,
    make_case,
    score_of,
    textbook_search,
)


def _search(case, beams, strategy, normalize="codes", **wanted):
    found = beam_search(
        case.model,
        case.params,
        case.catalogue,
        case.prompts,
        SearchOptions(beams=beams, strategy=strategy, normalize=normalize),
        Request(**wanted),
    )
    return np.asarray(found.items), np.asarray(found.scores)


def _diverse(case, logits, user, beams, groups, strength):
    """{item: score} of diverse beam search over Python tuples (Vijayakumar et al. 2018, alg. 1)."""
    allowed = np.ones(case.items, bool)
    state = [[(0.0, ())] for _ in range(groups)]
    for level in range(case.vocabulary.levels):
        used = np.zeros(case.vocabulary.sizes[level])
        taken = set()
        for group in range(groups):
            grown = [
                (score + more - strength * used[code], score + more, (*prefix, code))
                for score, prefix in state[group]
                for code, more in continuations(
                    case, logits, user, allowed, prefix, "codes"
                ).items()
            ]
            if level == case.vocabulary.levels - 1:
                grown = [entry for entry in grown if entry[2] not in taken]
            kept = sorted(grown, reverse=True)[: beams // groups]
            state[group] = [(score, prefix) for _, score, prefix in kept]
            taken |= {prefix for _, prefix in state[group]}
            for _, prefix in state[group]:
                used[prefix[-1]] += 1
    item_of = {tuple(code.tolist()): item for item, code in enumerate(case.codes)}
    return {item_of[prefix]: score for group in state for score, prefix in group}


@pytest.mark.parametrize(("sizes", "share"), [((6, 5, 4), 0.6), ((40, 40), 0.03)])
@pytest.mark.parametrize("strength", [0.0, 0.7, 5.0])
@pytest.mark.variants(1)
def test_diverse_groups_equal_the_algorithm_over_python_tuples(sizes, share, strength):
    case = make_case(0, sizes, share)
    items, scores = _search(case, 6, Strategy(kind="diverse", groups=3, strength=strength))
    logits = level_logits(case)
    for user in range(3):
        expected = _diverse(case, logits, user, 6, 3, strength)
        found = {i: s for i, s in zip(items[user], scores[user], strict=True) if i >= 0}
        assert set(found) >= set(expected) and len(found) == 6
        np.testing.assert_allclose(
            [found[item] for item in expected], list(expected.values()), atol=1e-4
        )
        assert (np.diff(scores[user][: len(found)]) <= 0).all()


def test_places_that_groups_leave_empty_get_the_best_other_items():
    # Seven items under few prefixes: groups of the same two beams run out of items.
    case = make_case(0, (4, 4), 7 / 16)
    logits, everything = level_logits(case), np.ones(case.items, bool)
    items, scores = _search(case, 6, Strategy(kind="diverse", groups=3, strength=1.0))
    for user in range(3):
        expected = _diverse(case, logits, user, 6, 3, 1.0)
        best = textbook_search(case, logits, user, everything, 7, "codes")
        more = [(item, score) for score, item in best if item not in expected]
        expected |= dict(more[: 6 - len(expected)])
        assert set(items[user].tolist()) == set(expected)
        np.testing.assert_allclose(
            scores[user], [expected[item] for item in items[user].tolist()], atol=1e-4
        )
        assert (np.diff(scores[user]) <= 0).all()
    # Four legal items are all listed, and two places stay empty.
    few = _search(
        case,
        6,
        Strategy(kind="diverse", groups=3, strength=1.0),
        excluded=jnp.tile(jnp.array([[0, 2, 5]], jnp.int32), (3, 1)),
    )
    for row, score in zip(*few, strict=True):
        assert set(row[:4].tolist()) == {1, 3, 4, 6} and (row[4:] == -1).all()
        assert np.isfinite(score[:4]).all() and np.isneginf(score[4:]).all()


def test_users_of_one_call_have_penalties_of_their_own_and_lists_in_turns():
    case = make_case(0, (6, 5, 4), 0.6)
    logits, strengths = level_logits(case), [0.0, 0.7, 5.0]
    strategy = Strategy(kind="diverse", groups=3, in_turns=True)
    items, scores = _search(case, 6, strategy, strength=jnp.array(strengths, jnp.float32))
    full = 0
    for user, strength in enumerate(strengths):
        expected = _diverse(case, logits, user, 6, 3, strength)
        groups = list(expected.items())
        assert set(items[user].tolist()) >= set(expected)
        if len(groups) == 6:  # no group ran out of items
            full += 1
            turns = [groups[2 * group + place] for place in range(2) for group in range(3)]
            assert items[user].tolist() == [item for item, _ in turns]
            np.testing.assert_allclose(scores[user], [score for _, score in turns], atol=1e-4)
    assert full >= 2
    with pytest.raises(ConfigError, match="'best' reads no strength"):
        _search(case, 6, Strategy(), strength=jnp.zeros(3))
    with pytest.raises(ConfigError, match=r"strength must be \[3\]"):
        _search(case, 6, strategy, strength=jnp.zeros(2))


def test_one_group_is_the_plain_search():
    case = make_case(1, (6, 5, 4), 0.6)
    plain, diverse = (_search(case, 6, Strategy(kind=kind)) for kind in ("best", "diverse"))
    np.testing.assert_array_equal(plain[0], diverse[0])
    np.testing.assert_allclose(plain[1], diverse[1], atol=1e-6)


@pytest.fixture(scope="module")
def drawn():
    """A tiny catalogue asked by 4,000 equal users, and the true probability of every item."""
    case = make_case(2, (3, 3), 0.7, users=2)
    logits = level_logits(case)
    everything = np.ones(case.items, bool)
    scores = [score_of(case, logits, 1, everything, i, "legal") for i in range(case.items)]
    tokens = jnp.broadcast_to(case.tokens[1:2], (4000, case.tokens.shape[1]))
    return dataclasses.replace(case, tokens=tokens), np.array(scores)


def test_samples_have_the_models_probabilities(drawn):
    case, scores = drawn
    items, found = _search(
        case, 4, Strategy(kind="sample"), normalize="legal", key=jax.random.key(0)
    )
    np.testing.assert_allclose(found, scores[items], atol=1e-4)
    counts = np.bincount(items.ravel(), minlength=case.items)
    expected = np.exp(scores) * items.size
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3
    # Draws of one user are independent of one another.
    same = (items[:, 0] == items[:, 1]).mean()
    assert abs(same - (np.exp(scores) ** 2).sum()) < 0.04


def test_a_temperature_sharpens_samples(drawn):
    case, scores = drawn
    cold = Strategy(kind="sample", temperature=0.05)
    items, _ = _search(case, 4, cold, normalize="legal", key=jax.random.key(1))
    # As many beams as in the test before, whose program it is.
    hot, _ = _search(case, 4, Strategy(kind="sample"), normalize="legal", key=jax.random.key(1))
    assert scores[items].mean() > scores[hot].mean()


def test_stochastic_beams_are_a_sample_without_replacement(drawn):
    case, scores = drawn
    items, found = _search(
        case, 3, Strategy(kind="stochastic"), normalize="legal", key=jax.random.key(2)
    )
    np.testing.assert_allclose(found, scores[items], atol=1e-4)
    assert all(len(set(row)) == 3 for row in items.tolist())
    # The first is drawn as one sample is, the second from what is left (Kool et al. 2019, eq. 6).
    share = np.exp(scores)
    first = share * len(items)
    second = sum(
        share[i] * np.where(np.arange(case.items) == i, 0, share) / (1 - share[i])
        for i in range(case.items)
    )
    for place, expected in ((0, first), (1, second * len(items))):
        counts = np.bincount(items[:, place], minlength=case.items)
        assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


def test_stochastic_beams_as_wide_as_the_catalogue_hold_all_of_it(drawn):
    case, _ = drawn
    case = dataclasses.replace(case, tokens=case.tokens[:5])
    items, scores = _search(
        case, case.items, Strategy(kind="stochastic"), normalize="legal", key=jax.random.key(3)
    )
    assert all(sorted(row) == list(range(case.items)) for row in items.tolist())
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("kind", ["stochastic", "sample", "diverse"])
def test_a_user_with_nothing_left_gets_marks(kind):
    case = make_case(3, (3, 3), 0.7)
    options = {} if kind == "diverse" else {"normalize": "legal", "key": jax.random.key(4)}
    allowed = np.ones((3, case.items), bool)
    allowed[1], allowed[2, 1:] = False, False
    items, scores = _search(case, 2, Strategy(kind=kind), allowed=jnp.asarray(allowed), **options)
    assert (items[1] == -1).all() and np.isneginf(scores[1]).all()
    assert set(items[2].tolist()) == ({0} if kind == "sample" else {0, -1})
    assert not np.isnan(scores).any()


def test_strategies_that_cannot_be_are_refused():
    case = make_case(4, (3, 3), 0.7)
    for settings, message in [
        ({"kind": "greedy"}, "no strategy 'greedy'"),
        ({"groups": 2}, "got 2 with 'best'"),
        ({"strength": -1.0}, "must not be negative, got -1.0"),
        ({"temperature": 0.0}, "must be positive"),
        ({"temperature": 2.0}, "got 2.0 with 'best'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Strategy(**settings)
    with pytest.raises(ConfigError, match="a multiple of its 2 groups; got beams=3"):
        _search(case, 3, Strategy(kind="diverse", groups=2))
    with pytest.raises(ConfigError, match="'sample' needs a key"):
        _search(case, 3, Strategy(kind="sample"), normalize="legal")
    with pytest.raises(ConfigError, match="set normalize='legal', got 'codes'"):
        _search(case, 3, Strategy(kind="stochastic"), key=jax.random.key(0))
