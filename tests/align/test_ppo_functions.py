"""The functions of PPO against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxrec.align import (
    AdaptiveKL,
    explained_variance,
    gae,
    importance_ratio,
    is_clipped,
    k1,
    k2,
    k3,
    masked_mean,
    policy_loss,
    value_loss,
    whiten,
)
from jaxrec.core import ConfigError

RNG = np.random.default_rng(0)
LENGTHS = np.array([7, 1, 4, 0])
MASK = np.arange(7) < LENGTHS[:, None]


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 0.0), (0.97, 1.0)])
def test_advantages_are_the_discounted_sums_of_the_definition(gamma, lam):
    rewards, values = normal(4, 7), normal(4, 7)
    advantages, returns = gae(*map(jnp.asarray, (rewards, values, MASK)), gamma, lam)
    for row, length in enumerate(LENGTHS):
        v = np.append(values[row, :length].astype(np.float64), 0.0)
        delta = rewards[row, :length] + gamma * v[1:] - v[:-1]
        for t in range(7):
            expected = sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, length))
            assert float(advantages[row, t]) == pytest.approx(expected, abs=1e-6)
            value = v[t] if t < length else 0.0
            assert float(returns[row, t]) == pytest.approx(expected + value, abs=1e-6)


def test_what_stands_after_the_end_of_a_response_changes_nothing():
    rewards, values = normal(4, 7), normal(4, 7)
    other = np.where(MASK, values, 100.0).astype(np.float32)
    late = np.where(MASK, rewards, -50.0).astype(np.float32)
    ours = gae(*map(jnp.asarray, (rewards, values, MASK)))
    theirs = gae(*map(jnp.asarray, (late, other, MASK)))
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_the_estimators_agree_with_the_divergence_of_two_gaussians():
    (m, s), (m_ref, s_ref), count = (0.3, 0.9), (0.0, 1.0), 400_000
    exact = np.log(s_ref / s) + (s**2 + (m - m_ref) ** 2) / (2 * s_ref**2) - 0.5
    x = RNG.normal(m, s, count)
    ours, reference = (scipy.stats.norm(*p).logpdf(x) for p in ((m, s), (m_ref, s_ref)))
    given = jnp.asarray(ours, jnp.float32), jnp.asarray(reference, jnp.float32)
    for estimate in (k1, k3):
        values = np.asarray(estimate(*given), np.float64)
        error = values.std() / np.sqrt(count)
        assert values.mean() == pytest.approx(exact, abs=4 * error)
    # k2 is biased; its expectation is half the second moment of the log-ratio.
    ratio = ours - reference
    assert float(k2(*given).mean()) == pytest.approx((ratio**2).mean() / 2, rel=1e-4)
    assert float(k3(*given).min()) >= 0.0
    assert np.asarray(k3(*given)).std() < np.asarray(k1(*given)).std()


def test_a_policy_that_has_not_moved_has_ratio_one_and_no_loss_after_whitening():
    logprobs = jnp.asarray(normal(4, 7))
    ratio = importance_ratio(logprobs, logprobs)
    assert (np.asarray(ratio) == 1.0).all()
    advantages = whiten(jnp.asarray(5 + 3 * normal(4, 7)), jnp.asarray(MASK))
    loss = masked_mean(policy_loss(ratio, advantages), jnp.asarray(MASK))
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    assert not np.asarray(is_clipped(ratio, advantages)).any()


def test_the_policy_loss_has_no_gradient_where_it_is_clipped():
    ratio = jnp.asarray(np.exp(normal(500)) ** 0.5)
    advantages = jnp.asarray(normal(500))
    slopes = jax.grad(lambda r: policy_loss(r, advantages, 0.2).sum())(ratio)
    np.testing.assert_array_equal(np.asarray(slopes) == 0, is_clipped(ratio, advantages, 0.2))
    r, a = np.asarray(ratio, np.float64), np.asarray(advantages, np.float64)
    # The pessimistic bound of Schulman et al., as a minimum over gains instead of losses.
    gains = [min(x * y, min(max(x, 0.8), 1.2) * y) for x, y in zip(r, a, strict=True)]
    np.testing.assert_allclose(policy_loss(ratio, advantages), -np.array(gains), rtol=1e-5)


def test_the_value_loss_is_the_larger_of_two_errors():
    values, old, returns = normal(300), normal(300), normal(300)
    expected = [
        0.5 * max((v - r) ** 2, (min(max(v, o - 0.2), o + 0.2) - r) ** 2)
        for v, o, r in zip(values, old, returns, strict=True)
    ]
    ours = value_loss(*map(jnp.asarray, (values, old, returns)), 0.2)
    np.testing.assert_allclose(ours, expected, rtol=2e-5)


def test_whitened_tokens_have_the_moments_that_numpy_computes():
    values = 4 + 3 * normal(4, 7)
    shifted, kept = (
        np.asarray(whiten(jnp.asarray(values), jnp.asarray(MASK), shift))[MASK]
        for shift in (True, False)
    )
    assert shifted.mean() == pytest.approx(0, abs=1e-6)
    assert shifted.std() == pytest.approx(1, abs=1e-5)
    assert kept.mean() == pytest.approx(values[MASK].mean(), abs=1e-5)
    assert kept.std() == pytest.approx(1, abs=1e-5)


def test_explained_variance_is_that_of_scikit_learn():
    from sklearn.metrics import explained_variance_score

    values, returns = normal(4, 7), normal(4, 7)
    ours = explained_variance(*map(jnp.asarray, (values, returns, MASK)))
    assert float(ours) == pytest.approx(
        explained_variance_score(returns[MASK], values[MASK]), abs=1e-5
    )


def test_the_weight_of_the_kl_moves_towards_the_target():
    controller = AdaptiveKL(target=6.0, horizon=1000)
    assert controller.update(0.1, 6.0, 100) == pytest.approx(0.1)
    assert controller.update(0.1, 6.6, 100) == pytest.approx(0.1 * 1.01)
    assert controller.update(0.1, 600.0, 100) == pytest.approx(0.1 * 1.02)  # clipped
    assert controller.update(0.1, -3.0, 100) == pytest.approx(0.1 * 0.98)
    with pytest.raises(ConfigError, match="kl target must be above 0, got 0"):
        AdaptiveKL(target=0.0)
