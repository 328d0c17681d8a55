"""Advantages, divergences and losses of alignment against their definitions, in NumPy by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import (
    KlController,
    dpo,
    gae,
    group_advantages,
    grpo_loss,
    k1,
    k2,
    k3,
    ppo_policy_loss,
    ppo_value_loss,
    s_dpo,
    token_rewards,
    whiten,
)
from jaxrec.core import ConfigError

MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 0], [0] * 6], bool)


def draws(seed, *shapes):
    draw = np.random.default_rng(seed)
    return [draw.normal(size=shape).astype(np.float32) for shape in shapes]


def test_advantages_are_their_definition():
    rewards, values = draws(0, MASK.shape, MASK.shape)
    gamma, lam = 0.9, 0.7
    expected = np.zeros(MASK.shape)
    for row in range(len(MASK)):
        at = np.flatnonzero(MASK[row])
        r, v = rewards[row, at].astype(float), np.append(values[row, at], 0.0)
        deltas = [r[t] + gamma * v[t + 1] - v[t] for t in range(len(at))]
        for t in range(len(at)):
            later = range(len(at) - t)
            expected[row, at[t]] = sum((gamma * lam) ** k * deltas[t + k] for k in later)
    advantages, returns = gae(
        jnp.array(rewards), jnp.array(values), jnp.array(MASK), gamma=gamma, lam=lam
    )
    np.testing.assert_allclose(advantages, expected, atol=1e-6)
    np.testing.assert_allclose(returns, np.where(MASK, expected + values, 0), atol=1e-6)


def test_advantages_with_lambda_one_are_rewards_to_go_without_the_value():
    rewards, values = draws(1, (2, 7), (2, 7))
    advantages, returns = gae(jnp.array(rewards), jnp.array(values), lam=1.0)
    to_go = np.cumsum(rewards[:, ::-1], 1)[:, ::-1]
    np.testing.assert_allclose(returns, to_go, atol=1e-5)
    np.testing.assert_allclose(advantages, to_go - values, atol=1e-5)


def test_the_score_stands_at_the_last_token_of_the_answer():
    log_p, log_ref = draws(2, MASK.shape, MASK.shape)
    scores = jnp.array([1.0, 2.0, 3.0, 4.0])
    found = token_rewards(scores, jnp.array(log_p), jnp.array(log_ref), jnp.array(MASK), 0.1)
    expected = np.where(MASK, -0.1 * (log_p - log_ref), 0)
    for row, last in ((0, 5), (1, 2), (2, 4)):
        expected[row, last] += row + 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("shift", [True, False])
def test_whitening_is_over_the_entries_of_the_mask(shift):
    (x,) = draws(3, MASK.shape)
    x = 5 + 3 * x
    found = np.asarray(whiten(jnp.array(x), jnp.array(MASK), shift=shift))
    kept = x[MASK]
    expected = (kept - kept.mean()) / np.sqrt(kept.var() + 1e-8) + (0 if shift else kept.mean())
    np.testing.assert_allclose(found[MASK], expected, atol=1e-4)
    assert not found[~MASK].any()


def test_divergences_of_gaussians():
    mean, size = 0.3, 400_000
    x = np.random.default_rng(4).normal(size=size)
    # log-densities up to a common constant
    log_p, log_ref = jnp.array(-0.5 * x**2), jnp.array(-0.5 * (x - mean) ** 2)
    exact = mean**2 / 2
    for estimator in (k1, k3):
        values = np.asarray(estimator(log_p, log_ref))
        assert abs(values.mean() - exact) < 4 * values.std() / np.sqrt(size) + 1e-5
    # E[k2] = Var(k1)/2 + KL²/2 is biased by KL²/2.
    values = np.asarray(k2(log_p, log_ref))
    assert abs(values.mean() - exact - exact**2 / 2) < 4 * values.std() / np.sqrt(size) + 1e-5
    assert float(k3(log_p, log_ref).min()) >= -1e-7
    assert float(k1(log_p, log_ref).min()) < 0
    assert np.asarray(k3(log_p, log_ref)).std() < np.asarray(k1(log_p, log_ref)).std() / 3


def test_the_policy_loss_by_hand():
    log_p, log_old, advantages = draws(5, MASK.shape, MASK.shape, MASK.shape)
    log_p = log_old + 0.3 * log_p
    loss, stats = ppo_policy_loss(*map(jnp.array, (log_p, log_old, advantages, MASK)), clip=0.2)
    rho, a = np.exp(log_p - log_old)[MASK], advantages[MASK]
    expected = np.maximum(-a * rho, -a * np.clip(rho, 0.8, 1.2)).mean()
    assert float(loss) == pytest.approx(expected, abs=1e-6)
    assert float(stats.ratio) == pytest.approx(rho.mean(), rel=1e-5)
    assert float(stats.clip_fraction) == pytest.approx((abs(rho - 1) > 0.2).mean())
    assert float(stats.approx_kl) == pytest.approx((np.log(rho) ** 2).mean() / 2, rel=1e-4)
    assert 0 < float(stats.clip_fraction) < 1


def test_the_first_step_has_ratio_one_and_no_loss_after_whitening():
    log_p, advantages = draws(6, MASK.shape, MASK.shape)
    # What stands where the mask is False must not matter, not even in the gradient.
    log_p = jnp.where(MASK, log_p, jnp.inf)
    white = whiten(jnp.array(advantages), jnp.array(MASK))

    def loss(log_new):
        return ppo_policy_loss(log_new, log_p, white, jnp.array(MASK))

    (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(log_p)
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert (float(stats.ratio), float(stats.clip_fraction)) == (1, 0)
    np.testing.assert_allclose(gradient, np.where(MASK, -white / MASK.sum(), 0), atol=1e-7)


def test_a_clipped_token_has_no_gradient_where_the_step_went_far_enough():
    old = jnp.zeros((1, 4))
    new = jnp.log(jnp.array([[1.5, 1.5, 0.5, 0.5]]))
    advantages, mask = jnp.array([[1.0, -1.0, 1.0, -1.0]]), jnp.ones((1, 4), bool)
    gradient = jax.grad(lambda x: ppo_policy_loss(x, old, advantages, mask)[0])(new)
    np.testing.assert_allclose(gradient, [[0, 1.5 / 4, -0.5 / 4, 0]], atol=1e-6)


def test_the_value_loss_by_hand():
    values, old, returns = draws(7, MASK.shape, MASK.shape, MASK.shape)
    found = ppo_value_loss(*map(jnp.array, (values, old, returns, MASK)), clip=0.2)
    near = np.clip(values, old - 0.2, old + 0.2)
    expected = np.maximum((values - returns) ** 2, (near - returns) ** 2)[MASK].mean() / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_dpo_by_hand_and_its_gradient_at_the_start():
    w, l, ref_w, ref_l = map(jnp.array, draws(8, 5, 5, 5, 5))
    margin = 0.1 * ((np.asarray(w) - ref_w) - (np.asarray(l) - ref_l))
    np.testing.assert_allclose(
        dpo(w, l, ref_w, ref_l, beta=0.1), -np.log(1 / (1 + np.exp(-margin))), rtol=1e-5
    )
    gradient = jax.grad(lambda w: dpo(w, l, w, l, beta=0.1).sum())(w)
    assert not np.asarray(gradient).any()
    start = jax.grad(lambda x: dpo(x, l, w, l, beta=0.1).sum())(w)
    np.testing.assert_allclose(start, -0.05, rtol=1e-6)  # -β σ(0)


def test_s_dpo_by_hand_and_with_one_rejected_answer():
    w, ref_w, l, ref_l = draws(9, 4, 4, (4, 3), (4, 3))
    r_w, r_l = w - ref_w, l - ref_l
    inner = -np.log(np.exp(2 * r_l - 2 * r_w[:, None]).sum(-1))
    found = s_dpo(*map(jnp.array, (w, l, ref_w, ref_l)), beta=2.0)
    np.testing.assert_allclose(found, -np.log(1 / (1 + np.exp(-inner))), rtol=1e-5)
    one = s_dpo(*map(jnp.array, (w, l[:, :1], ref_w, ref_l[:, :1])), beta=2.0)
    pair = dpo(*map(jnp.array, (w, l[:, 0], ref_w, ref_l[:, 0])), beta=2.0)
    np.testing.assert_allclose(one, pair, rtol=1e-6)


def test_advantages_of_a_group():
    rewards = np.array([[1, 0, 0, 0], [2, 2, 2, 2]], np.float32)
    found = group_advantages(jnp.array(rewards), eps=1e-4)
    expected = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, keepdims=True) + 1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.asarray(found[1]).any()
    plain = group_advantages(jnp.array(rewards), scale=False)
    np.testing.assert_allclose(plain[0], [0.75, -0.25, -0.25, -0.25])


@pytest.mark.parametrize("by_length", [True, False])
def test_the_loss_of_grpo_by_hand(by_length):
    log_p, log_old, log_ref = (0.3 * x for x in draws(10, MASK.shape, MASK.shape, MASK.shape))
    (advantages,) = draws(11, len(MASK))
    arrays = map(jnp.array, (log_p, log_old, log_ref, advantages, MASK))
    found = grpo_loss(*arrays, beta=0.04, by_length=by_length)
    total = 0.0
    for row in range(len(MASK)):
        terms = 0.0
        for t in np.flatnonzero(MASK[row]):
            rho, a = np.exp(log_p[row, t] - log_old[row, t]), advantages[row]
            x = log_ref[row, t] - log_p[row, t]
            terms -= min(rho * a, np.clip(rho, 0.8, 1.2) * a) - 0.04 * (np.exp(x) - 1 - x)
        total += terms / (max(MASK[row].sum(), 1) if by_length else MASK.shape[1])
    assert float(found) == pytest.approx(total / len(MASK), rel=1e-5)


def test_the_weight_of_the_penalty_follows_its_target():
    controller = KlController(0.1, target=6.0, horizon=1000.0)
    assert controller.update(kl=6.3, n=100).beta == pytest.approx(0.1 * (1 + 0.05 * 0.1))
    assert controller.update(kl=60.0, n=100).beta == pytest.approx(0.1 * 1.02)
    assert controller.update(kl=0.0, n=100).beta == pytest.approx(0.1 * 0.98)
    fixed = KlController(0.1)
    assert fixed.update(kl=60.0, n=100) is fixed


ZERO = jnp.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: gae(ZERO, ZERO[:1]),
            r"values is float32 \[1, 3\] and rewards is float32 \[2, 3\]",
        ),
        (lambda: gae(ZERO, ZERO, ZERO), r"mask: expected bool \[2, 3\], got float32"),
        (lambda: k3(ZERO, ZERO.astype(jnp.bfloat16)), "log_ref is bfloat16"),
        (lambda: whiten(ZERO, ZERO[:1] > 0), r"mask: expected bool \[2, 3\]"),
        (lambda: token_rewards(ZERO, ZERO, ZERO, ZERO > 0, 0.1), "scores must have one value"),
        (lambda: group_advantages(ZERO[:, :1]), "at least 2 answers"),
        (lambda: grpo_loss(ZERO, ZERO, ZERO, ZERO, ZERO > 0), r"advantages must be \[B\]"),
        (lambda: ppo_value_loss(ZERO, ZERO, ZERO[:, :2], ZERO > 0), "returns is"),
        (lambda: dpo(ZERO, ZERO, ZERO, ZERO[0]), r"ref_rejected is float32 \[3\]"),
        (lambda: s_dpo(ZERO, ZERO, ZERO, ZERO), r"rejected must be \[..., n\]"),
        (lambda: KlController(-0.1), "beta must be at least 0, got -0.1"),
        (lambda: KlController(0.1, target=0.0), "target must be above 0"),
    ],
)
def test_what_does_not_fit_is_named(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
