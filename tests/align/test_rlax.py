"""Advantages and the clipped loss of PPO against rlax, which reads one response at a time."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import gae, importance_ratio, policy_loss

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def rlax():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow Probability, in the import alone
        return pytest.importorskip("rlax")


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 0.0), (0.97, 1.0)])
def test_advantages_are_those_of_rlax(rlax, gamma, lam):
    lengths = np.array([7, 1, 4])
    mask = jnp.asarray(np.arange(7) < lengths[:, None])
    rewards, values = normal(3, 7), normal(3, 7)
    ours, returns = gae(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths.tolist()):
        discounts = jnp.full(length, gamma)
        after = jnp.append(values[row, :length], jnp.float32(0))  # nothing comes after the end
        theirs = rlax.truncated_generalized_advantage_estimation(
            rewards[row, :length], discounts, lam, after
        )
        np.testing.assert_allclose(ours[row, :length], theirs, atol=1e-5)
        np.testing.assert_allclose(returns[row, :length], theirs + after[:-1], atol=1e-5)


@pytest.mark.parametrize("clip", [0.1, 0.2])
def test_the_clipped_loss_and_its_gradient_are_those_of_rlax(rlax, clip):
    old, advantages = normal(200), normal(200)
    new = old + 0.3 * normal(200)

    def ours(new):
        return policy_loss(importance_ratio(new, old), advantages, clip).mean()

    def theirs(new):
        return rlax.clipped_surrogate_pg_loss(jnp.exp(new - old), advantages, clip)

    (value, slope), (expected, expected_slope) = (
        jax.value_and_grad(loss)(new) for loss in (ours, theirs)
    )
    assert float(value) == pytest.approx(float(expected), abs=1e-6)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-7)
    assert 0 < (np.asarray(slope) == 0).mean() < 1  # some are clipped
