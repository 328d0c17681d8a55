"""The CRF against enumeration of all sequences, and against pytorch-crf."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.objectives import (
    Crf,
    constrain_crf,
    crf_log_marginals,
    crf_log_partition,
    crf_loss,
    crf_marginals,
    crf_part_terms,
    crf_score,
    has_legal_path,
    init_crf,
    partial_crf_loss,
    viterbi,
)

LONGEST, ROWS = 6, 3


def random_case(seed, tags, scale=1.0):
    """Parameters, emissions and a mask with gaps, in shapes that are compiled once for each C."""
    rng = np.random.default_rng(seed)
    shapes = ((tags, tags), (tags,), (tags,))
    crf = Crf(*(jnp.asarray(scale * rng.normal(size=s), jnp.float32) for s in shapes))
    emissions = jnp.asarray(scale * rng.normal(size=(ROWS, LONGEST, tags)), jnp.float32)
    mask = rng.random((ROWS, LONGEST)) < 0.8
    return crf, emissions, jnp.asarray(mask), rng


def enumerated(crf, emissions, keep):
    """All sequences of one text, and their scores in float64."""
    a, s, e = (np.asarray(x, np.float64) for x in (crf.transitions, crf.start, crf.end))
    rows = np.asarray(emissions, np.float64)[np.asarray(keep)]
    paths = list(itertools.product(range(rows.shape[1]), repeat=len(rows)))
    scores = []
    for path in paths:
        total = 0.0
        for t, tag in enumerate(path):
            total += rows[t, tag] + (a[path[t - 1], tag] if t else s[tag])
        scores.append(total + (e[path[-1]] if path else 0.0))
    return np.array(paths, int).reshape(len(paths), len(rows)), np.array(scores)


def log_sum(scores):
    return np.log(np.exp(scores - scores.max()).sum()) + scores.max()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tags=st.sampled_from([1, 2, 4, 5]))
def test_partition_score_viterbi_and_marginals_equal_enumeration(seed, tags):
    crf, emissions, mask, rng = random_case(seed, tags)
    total = crf_log_partition(crf, emissions, mask)
    best, top = viterbi(crf, emissions, mask)
    marginals = crf_marginals(crf, emissions, mask)
    chosen = jnp.asarray(rng.integers(tags, size=mask.shape))
    score = crf_score(crf, emissions, chosen, mask)
    for row in range(ROWS):
        keep = np.asarray(mask[row])
        paths, scores = enumerated(crf, emissions[row], keep)
        np.testing.assert_allclose(total[row], log_sum(scores), atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(top[row], scores.max(), atol=1e-5, rtol=1e-5)
        assert np.asarray(best[row])[keep].tolist() == paths[scores.argmax()].tolist()
        assert (np.asarray(best[row])[~keep] == -1).all()
        weights = np.exp(scores - log_sum(scores))
        expected = np.zeros((LONGEST, tags))
        for place, t in enumerate(np.flatnonzero(keep)):
            expected[t] = [weights[paths[:, place] == c].sum() for c in range(tags)]
        np.testing.assert_allclose(marginals[row], expected, atol=1e-5)
        mine = (paths == np.asarray(chosen[row])[keep]).all(axis=1)
        np.testing.assert_allclose(score[row], scores[mine][0], atol=1e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tags=st.sampled_from([2, 5]))
def test_partial_labels_equal_enumeration_of_the_sequences_that_agree(seed, tags):
    crf, emissions, mask, rng = random_case(seed, tags)
    allowed = rng.random((ROWS, LONGEST, tags)) < 0.6
    allowed[np.arange(ROWS)[:, None], np.arange(LONGEST), rng.integers(tags, size=mask.shape)] = 1
    loss = partial_crf_loss(crf, emissions, jnp.asarray(allowed), mask)
    for row in range(ROWS):
        keep = np.asarray(mask[row])
        paths, scores = enumerated(crf, emissions[row], keep)
        sets = allowed[row][keep]
        agree = [all(sets[t, c] for t, c in enumerate(path)) for path in paths]
        expected = log_sum(scores) - log_sum(scores[np.array(agree)])
        np.testing.assert_allclose(loss[row], expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_terms_of_parts_equal_enumeration_of_the_sequences_that_have_them(seed):
    crf, emissions, mask, rng = random_case(seed, 5)
    tags = rng.integers(5, size=mask.shape)
    first, last = crf_part_terms(crf, emissions, jnp.asarray(tags), mask)
    for row in range(ROWS):
        keep = np.flatnonzero(mask[row])
        paths, scores = enumerated(crf, emissions[row], np.asarray(mask[row]))
        chances = np.exp(scores - log_sum(scores))
        for a, b in itertools.combinations_with_replacement(range(len(keep)), 2):
            having = (paths[:, a : b + 1] == tags[row, keep[a : b + 1]]).all(axis=1)
            found = np.exp(first[row, keep[a]] + last[row, keep[b]])
            np.testing.assert_allclose(found, chances[having].sum(), rtol=1e-4, atol=1e-7)
    assert not first[~mask].any() and not last[~mask].any()


@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_equal_pytorch_crf(seed):
    torch = pytest.importorskip("torch")
    torchcrf = pytest.importorskip("torchcrf")
    rng = np.random.default_rng(seed)
    tags, lengths = 5, np.array([6, 3, 1, 4])
    emissions = rng.normal(size=(4, 6, tags)).astype(np.float32)
    labels = rng.integers(tags, size=(4, 6))
    mask = np.arange(6)[None] < lengths[:, None]
    crf = init_crf(jax.random.key(seed), tags)
    theirs = torchcrf.CRF(tags, batch_first=True)
    with torch.no_grad():
        theirs.transitions.copy_(torch.tensor(np.array(crf.transitions)))
        theirs.start_transitions.copy_(torch.tensor(np.array(crf.start)))
        theirs.end_transitions.copy_(torch.tensor(np.array(crf.end)))
    inputs = torch.tensor(emissions, requires_grad=True)
    answer = -theirs(inputs, torch.tensor(labels), torch.tensor(mask), reduction="none")
    answer.sum().backward()

    def loss(crf, emissions):
        losses = crf_loss(crf, emissions, jnp.asarray(labels), jnp.asarray(mask))
        return losses.sum(), losses

    (_, losses), (own, by_emissions) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        crf, jnp.asarray(emissions)
    )
    np.testing.assert_allclose(losses, answer.detach().numpy(), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(by_emissions, inputs.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(own.transitions, theirs.transitions.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(own.start, theirs.start_transitions.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(own.end, theirs.end_transitions.grad.numpy(), atol=1e-5)
    best = np.asarray(viterbi(crf, jnp.asarray(emissions), jnp.asarray(mask))[0])
    decoded = theirs.decode(torch.tensor(emissions), torch.tensor(mask))
    assert [row[:n].tolist() for row, n in zip(best, lengths, strict=True)] == decoded


def test_marginals_are_the_gradient_of_the_partition():
    crf, emissions, mask, _ = random_case(3, 5)
    by_gradient = jax.grad(lambda e: crf_log_partition(crf, e, mask).sum())(emissions)
    np.testing.assert_allclose(crf_marginals(crf, emissions, mask), by_gradient, atol=1e-5)
    logs = crf_log_marginals(crf, emissions, mask)
    np.testing.assert_allclose(jnp.exp(logs)[mask], by_gradient[mask], atol=1e-5)


def test_skipped_tokens_change_nothing():
    crf, emissions, _, _ = random_case(4, 5)
    mask = jnp.array([[True, False, True, False, False, True]] * ROWS)
    places = np.flatnonzero(np.asarray(mask[0]))
    short = emissions[:, places]
    full = jnp.ones((ROWS, 3), bool)
    np.testing.assert_allclose(
        crf_log_partition(crf, emissions, mask), crf_log_partition(crf, short, full), rtol=1e-6
    )
    assert (viterbi(crf, emissions, mask)[0][:, places] == viterbi(crf, short, full)[0]).all()
    np.testing.assert_allclose(
        crf_marginals(crf, emissions, mask)[:, places], crf_marginals(crf, short, full), atol=1e-5
    )


def test_a_text_without_tokens_costs_nothing_and_has_no_tags():
    crf, emissions, _, _ = random_case(5, 5)
    none = jnp.zeros((ROWS, LONGEST), bool)
    tags = jnp.zeros((ROWS, LONGEST), jnp.int32)
    assert crf_log_partition(crf, emissions, none).tolist() == [0.0] * ROWS
    assert crf_loss(crf, emissions, tags, none).tolist() == [0.0] * ROWS
    assert viterbi(crf, emissions, none)[1].tolist() == [0.0] * ROWS
    gradient = jax.grad(lambda e: crf_loss(crf, e, tags, none).sum())(emissions)
    assert not gradient.any()


def test_unknown_tags_cost_nothing_and_known_ones_are_the_ordinary_loss():
    crf, emissions, mask, rng = random_case(6, 5)
    everything = jnp.ones(emissions.shape, bool)
    assert partial_crf_loss(crf, emissions, everything, mask).tolist() == [0.0] * ROWS
    gradient = jax.grad(lambda e: partial_crf_loss(crf, e, everything, mask).sum())(emissions)
    assert not gradient.any()
    tags = jnp.asarray(rng.integers(5, size=mask.shape))
    known = jax.nn.one_hot(tags, 5, dtype=jnp.float32) > 0
    np.testing.assert_allclose(
        partial_crf_loss(crf, emissions, known, mask),
        crf_loss(crf, emissions, tags, mask),
        atol=1e-5,
    )


def test_forbidden_sequences_have_no_probability_and_finite_gradients():
    crf, emissions, mask, _ = random_case(7, 2, scale=20.0)
    legal = np.array([[False, True], [True, False]])
    starts, ends = np.array([True, False]), np.array([True, True])
    tied = constrain_crf(crf, legal, starts, ends)
    for row in range(ROWS):
        keep = np.asarray(mask[row])
        paths, scores = enumerated(crf, emissions[row], keep)
        good = [
            (not len(p) or p[0] == 0) and all(p[t] != p[t + 1] for t in range(len(p) - 1))
            for p in paths
        ]
        assert sum(good) == 1
        total = crf_log_partition(tied, emissions, mask)[row]
        np.testing.assert_allclose(total, scores[np.array(good)][0], rtol=1e-5, atol=1e-4)
    gradient = jax.grad(lambda c: crf_log_partition(c, emissions, mask).sum())(tied)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_legal_path_exists_where_enumeration_finds_one(seed):
    crf, _, mask, rng = random_case(seed, 3)
    legal, starts, ends = rng.random((3, 3)) < 0.4, rng.random(3) < 0.6, rng.random(3) < 0.6
    allowed = rng.random((ROWS, LONGEST, 3)) < 0.7
    found = has_legal_path(constrain_crf(crf, legal, starts, ends), jnp.asarray(allowed), mask)
    for row in range(ROWS):
        sets = allowed[row][np.asarray(mask[row])]
        paths = itertools.product(range(3), repeat=len(sets))
        expected = any(
            all(sets[t, c] for t, c in enumerate(p))
            and all(legal[p[t], p[t + 1]] for t in range(len(p) - 1))
            and (not p or (starts[p[0]] and ends[p[-1]]))
            for p in paths
        )
        assert bool(found[row]) == expected


def test_parameters_begin_between_minus_and_plus_a_tenth():
    values = np.concatenate([np.ravel(x) for x in jax.tree.leaves(init_crf(jax.random.key(0), 50))])
    assert -0.1 <= values.min() < -0.09 and 0.09 < values.max() <= 0.1
    np.testing.assert_allclose(values.std(), 0.2 / np.sqrt(12), rtol=0.05)
