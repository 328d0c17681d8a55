"""Gumbel-Sinkhorn: its limits against SciPy, its noise, and the straight-through gradient."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from jaxrec.nn import gumbel_sinkhorn, straight_through


def logits(size=8, count=3, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(count, size, size)), jnp.float32)


def test_rows_and_columns_are_scaled_until_both_sum_to_one():
    given = logits()
    found = np.asarray(gumbel_sinkhorn(given, None, iterations=200), np.float64)
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-4)
    np.testing.assert_allclose(found.sum(-2), 1.0, atol=1e-4)
    # Sinkhorn's theorem: the result is D1 exp(logits / τ) D2, so that odds ratios stay.
    kernel = np.asarray(given, np.float64) / 0.7
    logs = np.log(found)
    for a in (kernel, logs):
        a -= a.mean(-1, keepdims=True)
        a -= a.mean(-2, keepdims=True)
    np.testing.assert_allclose(logs, kernel, atol=1e-3)


def test_three_rounds_end_with_columns():
    found = np.asarray(gumbel_sinkhorn(logits(), None))
    np.testing.assert_allclose(found.sum(-2), 1.0, atol=1e-5)
    assert 1e-4 < np.abs(found.sum(-1) - 1.0).max() < 0.2
    by_hand = np.exp(np.asarray(logits(), np.float64) / 0.7)
    for _ in range(3):
        by_hand /= by_hand.sum(-1, keepdims=True)
        by_hand /= by_hand.sum(-2, keepdims=True)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4)


def test_a_low_temperature_finds_the_best_permutation():
    given = logits()
    found = np.asarray(gumbel_sinkhorn(given, None, iterations=400, temperature=0.02))
    for costs, shares in zip(np.asarray(given), found, strict=True):
        rows, columns = linear_sum_assignment(costs, maximize=True)
        np.testing.assert_array_equal(shares.argmax(-1), columns[np.argsort(rows)])
        assert shares.max(-1).min() > 0.9


def test_noise_makes_a_choice_as_likely_as_its_share():
    # With one round of rows alone Gumbel noise is the Gumbel-max trick; a row that dwarfs the
    # others keeps columns from mattering.
    row = np.log([0.5, 0.3, 0.2])
    given = jnp.asarray(np.tile(row, (3, 1)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 4000)
    first = jax.vmap(lambda key: given + jax.random.gumbel(key, (3, 3)))(keys)
    drawn = jax.vmap(lambda key: gumbel_sinkhorn(given, key, temperature=1.0))(keys)
    same = jax.vmap(lambda noisy: gumbel_sinkhorn(noisy, None, temperature=1.0))(first)
    np.testing.assert_allclose(drawn, same, rtol=1e-4, atol=1e-6)
    chosen = np.asarray(first)[:, 0].argmax(-1)
    np.testing.assert_allclose(np.bincount(chosen) / 4000, np.exp(row), atol=0.03)


def test_the_forward_pass_is_hard_and_the_gradient_that_of_the_shares():
    given = logits()
    weights = jnp.asarray(np.random.default_rng(1).normal(size=given.shape), jnp.float32)
    shares = gumbel_sinkhorn(given, None)
    hard = np.asarray(straight_through(shares))
    np.testing.assert_allclose(
        hard, np.asarray(shares.argmax(-1))[..., None] == np.arange(8), atol=1e-6
    )

    def loss(x, choose):
        return (weights * choose(gumbel_sinkhorn(x, None))).sum()

    through = jax.grad(lambda x: loss(x, straight_through))(given)
    soft = jax.grad(lambda x: loss(x, lambda p: p))(given)
    np.testing.assert_allclose(through, soft, rtol=1e-5, atol=1e-6)
    assert np.abs(through).max() > 1e-3
