"""Ranking losses against PyTorch, hand computations and the sums that they estimate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from jaxrec.objectives import bce, bpr, cross_entropy, dro, propensities, sampled_softmax

torch = pytest.importorskip("torch")


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(3, 4, 5)).astype(np.float32)


def test_bce_and_its_gradient_equal_pytorch(scores):
    positive, negative = map(torch.tensor, scores)
    positive.requires_grad_(), negative.requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    expected = loss(positive, torch.ones_like(positive), reduction="none")
    expected = expected + loss(negative, torch.zeros_like(negative), reduction="none").sum(-1)
    np.testing.assert_allclose(bce(*scores), expected.detach().numpy(), rtol=1e-5)
    expected.sum().backward()
    found = jax.grad(lambda p, n: bce(p, n).sum(), argnums=(0, 1))(*map(jnp.asarray, scores))
    np.testing.assert_allclose(found[0], positive.grad.numpy(), atol=1e-6)
    np.testing.assert_allclose(found[1], negative.grad.numpy(), atol=1e-6)


def test_bpr_by_hand(scores):
    positive, negative = scores
    found = bpr(jnp.asarray(positive), jnp.asarray(negative))
    for row in np.ndindex(positive.shape):
        terms = [-math.log(1 / (1 + math.exp(n - positive[row]))) for n in negative[row]]
        assert float(found[row]) == pytest.approx(sum(terms), rel=1e-5)
    # d/ds_t -ln σ(s_t - s_j) = -σ(s_j - s_t).
    slope = jax.grad(lambda p: bpr(p, jnp.asarray(negative)).sum())(jnp.asarray(positive))
    by_hand = -(1 / (1 + np.exp(positive[..., None] - negative))).sum(-1)
    np.testing.assert_allclose(slope, by_hand, rtol=1e-5)


def test_losses_and_slopes_are_exact_where_a_sigmoid_would_be_zero_or_one():
    far = jnp.array([-200.0, 200.0])
    # -ln σ(-200) = 200 + ln(1 + e^-200), and the other term is below 1e-80.
    np.testing.assert_allclose(bce(far, far[:, None]), [200.0, 200.0], rtol=1e-6)
    np.testing.assert_allclose(bpr(far, -far[:, None]), [400.0, 0.0], rtol=1e-6)
    for loss, slopes in ((bce, [-1.0, 0.0]), (bpr, [-1.0, 0.0])):
        negative = -far[:, None]
        found = jax.grad(lambda p, loss=loss, n=negative: loss(p, n).sum())(far)
        np.testing.assert_allclose(found, slopes, atol=1e-6)


def test_sampled_softmax_of_every_item_once_is_the_full_cross_entropy():
    # Drawn evenly, one each, nothing is left to chance: q = 1/I and n = I.
    items, target = 7, jnp.array([2, 5])
    scores = jnp.asarray(np.random.default_rng(1).normal(size=(2, items)), jnp.float32)
    positive = jnp.take_along_axis(scores, target[:, None], axis=1)[:, 0]
    same = jnp.arange(items)[None] == target[:, None]
    log_q = jnp.full((2, items), -math.log(items))
    found = sampled_softmax(positive, scores, same, log_q)
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(np.asarray(scores)),
        torch.tensor(np.asarray(target), dtype=torch.long),
        reduction="none",
    )
    np.testing.assert_allclose(found, theirs.numpy(), rtol=1e-5)
    plain = sampled_softmax(positive, scores, same)
    np.testing.assert_allclose(plain, found, rtol=1e-5)


@pytest.mark.parametrize("corrected", [True, False])
def test_only_the_correction_for_q_makes_a_skewed_sample_estimate_the_cross_entropy(corrected):
    rng = np.random.default_rng(2)
    items, draws, target = 6, 200_000, 1
    scores = rng.normal(size=items).astype(np.float32)
    q = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    drawn = rng.choice(items, draws, p=q)
    log_q = jnp.asarray(np.log(q)[drawn], jnp.float32) if corrected else None
    found = sampled_softmax(
        jnp.asarray(scores[target]), jnp.asarray(scores[drawn]), jnp.asarray(drawn == target), log_q
    )
    full = cross_entropy(jnp.asarray(scores), jnp.array(target))
    # Uncorrected, the sum over the draws is not even of the right size.
    assert (abs(float(found) - float(full)) < 0.02) is corrected


def test_sampled_softmax_by_hand():
    positive, negative = jnp.array([1.0]), jnp.array([[0.5, 1.0, -2.0]])
    same = jnp.array([[False, True, False]])
    log_q = jnp.log(jnp.array([[0.2, 0.5, 0.1]]))
    rest = math.exp(0.5) / (3 * 0.2) + math.exp(-2.0) / (3 * 0.1)
    expected = -math.log(math.exp(1) / (math.exp(1) + rest))
    assert float(sampled_softmax(positive, negative, same, log_q)[0]) == pytest.approx(expected)


def test_dro_is_the_published_expression():
    rng = np.random.default_rng(3)
    scores = torch.tensor(rng.normal(size=(5, 8)) * 2)
    target = torch.tensor(rng.integers(0, 8, 5))
    counts = rng.integers(0, 50, 8)
    ps = torch.tensor(((counts + 1) / (counts + 1).sum()) ** 0.05)
    beta = 0.7
    # As it stands in the code of the paper, in double precision.
    pos = torch.gather(scores * scores * ps, 1, target[:, None])[:, 0]
    wanted = torch.gather((scores - 1) * (scores - 1) * ps, 1, target[:, None])[:, 0]
    inner = torch.exp(scores * scores * ps / beta).sum(1)
    expected = torch.log(inner - torch.exp(pos / beta) + torch.exp(wanted / beta))
    propensity = propensities(jnp.asarray(counts))
    np.testing.assert_allclose(propensity, ps.numpy(), rtol=1e-6)
    ours = jnp.asarray(scores.numpy(), jnp.float32), jnp.asarray(target.numpy(), jnp.int32)
    np.testing.assert_allclose(dro(*ours, propensity, beta), expected.numpy(), rtol=1e-5)


def test_dro_of_large_scores_is_finite_and_least_where_only_the_target_scores_one():
    propensity = propensities(jnp.array([3, 1, 0]))
    right = dro(jnp.array([0.0, 1.0, 0.0]), jnp.array(1), propensity)
    assert float(right) == pytest.approx(math.log(3))
    for wrong in ([0.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 1.5, 0.0]):
        assert dro(jnp.array(wrong), jnp.array(1), propensity) > right
    # Exponents of 25,000, of which only the logarithm of the sum can be written.
    scores, p = np.array([50.0, -50.0, 0.0]), np.asarray(propensity, float)
    wanted = np.where(np.arange(3) == 0, (scores - 1) ** 2, scores**2) * p / 0.1
    found = dro(jnp.asarray(scores, jnp.float32), jnp.array(0), propensity, 0.1)
    assert float(found) == pytest.approx(logsumexp(wanted), rel=1e-5)
