"""S-DPO against its published formula, and what DPO and GRPO are at the start.

`test_trl.py` compares DPO and GRPO with trl.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxrec.align import (
    check_pairs,
    dpo,
    group_advantages,
    grpo,
    sdpo,
    sequence_log_probs,
)
from jaxrec.core import ConfigError, DataError

RNG = np.random.default_rng(0)


def normal(*shape, scale=3.0):
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def test_dpo_is_ln_2_at_the_start_and_its_gradient_that_of_the_log_ratio_alone():
    chosen, rejected = normal(5), normal(5)
    assert np.allclose(dpo(chosen, rejected, chosen, rejected, beta=0.3), math.log(2), atol=1e-7)

    def total(policy):
        return dpo(policy[0], policy[1], chosen, rejected, beta=0.3).sum()

    gradient = jax.grad(total)(jnp.stack([chosen, rejected]))
    # sigmoid(0) = 1/2, so each log-ratio has the slope beta / 2.
    assert np.allclose(gradient[0], -0.15, atol=1e-6)
    assert np.allclose(gradient[1], 0.15, atol=1e-6)


def test_sdpo_with_one_negative_is_dpo():
    w, l, ref_w, ref_l = (normal(7) for _ in range(4))
    ours = sdpo(w, l[:, None], ref_w, ref_l[:, None], beta=0.7)
    assert np.allclose(ours, dpo(w, l, ref_w, ref_l, beta=0.7), atol=1e-6)


def test_sdpo_equals_its_formula_and_ignores_negatives_that_do_not_exist():
    w, ref_w, l, ref_l = normal(4), normal(4), normal(4, 3), normal(4, 3)
    valid = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], bool)
    ours = sdpo(w, l, ref_w, ref_l, beta=0.5, valid=jnp.asarray(valid))
    for row in range(4):
        terms = [
            math.exp(0.5 * ((l[row, n] - ref_l[row, n]) - (w[row] - ref_w[row])))
            for n in range(3)
            if valid[row, n]
        ]
        # -log sigmoid(-log s) = log(1 + s)
        assert float(ours[row]) == pytest.approx(math.log1p(sum(terms)), rel=1e-5, abs=1e-6)
    gradient = jax.jit(
        jax.grad(lambda x: sdpo(w, x, ref_w, ref_l, valid=jnp.asarray(valid)).sum())
    )(l)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[~valid] == 0).all()


def test_sequence_log_probs_sums_the_tokens_of_the_answer_alone():
    logits, tokens = normal(2, 5, 7), RNG.integers(0, 7, (2, 5))
    answer = np.array([[0, 0, 1, 1, 0], [1, 1, 0, 0, 1]], bool)
    logs = torch.log_softmax(torch.tensor(logits), -1).numpy()
    expected = [
        sum(logs[row, t - 1, tokens[row, t]] for t in range(1, 5) if answer[row, t])
        for row in range(2)
    ]
    ours = jax.jit(sequence_log_probs)(
        jnp.asarray(logits), jnp.asarray(tokens), jnp.asarray(answer)
    )
    assert np.allclose(ours, expected, atol=1e-5)


def test_group_advantages_of_a_short_group_are_those_of_its_own_answers():
    rewards = normal(3, 6)
    valid = np.array([[1] * 6, [1, 1, 1, 0, 0, 0], [0] * 6], bool)
    advantages = jax.jit(group_advantages)
    ours = np.asarray(advantages(jnp.asarray(rewards), jnp.asarray(valid)))
    assert np.allclose(ours[1, :3], advantages(jnp.asarray(rewards[1:2, :3]))[0], atol=1e-6)
    assert (ours[~valid] == 0).all()


def test_grpo_without_an_old_policy_has_the_gradient_of_the_log_probability():
    advantages, mask = normal(2, 3), np.ones((2, 3, 4), bool)

    def loss(new):
        return grpo(new, jnp.asarray(advantages), jnp.asarray(mask)).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(normal(2, 3, 4)))
    assert float(value) == pytest.approx(-advantages.sum(), rel=1e-5)
    assert np.allclose(gradient, -advantages[..., None] / 4 * np.ones(4), atol=1e-6)


def test_pairs_of_equal_answers_are_refused_by_their_row():
    check_pairs(np.array([1, 2]), np.array([[2, 3], [1, 3]]))
    with pytest.raises(DataError, match=r"pair 1: .* both 2"):
        check_pairs(np.array([1, 2]), np.array([[2, 3], [1, 2]]))
    with pytest.raises(DataError, match=r"pair 0: .*\[5, 6\]"):
        check_pairs(np.array([[5, 6], [5, 7]]), np.array([[5, 6], [5, 6]]))
    with pytest.raises(ConfigError, match="do not fit"):
        check_pairs(np.array([1, 2]), np.array([3]))


def test_shapes_that_would_broadcast_and_a_beta_of_zero_are_refused():
    one, two = jnp.zeros(2), jnp.zeros((2, 1))
    with pytest.raises(ConfigError, match="policy_rejected must have shape"):
        dpo(one, two, one, one)
    with pytest.raises(ConfigError, match="beta must be above 0"):
        dpo(one, one, one, one, beta=0.0)
    with pytest.raises(ConfigError, match="reference_rejected must have shape"):
        sdpo(one, jnp.zeros((2, 3)), one, two)
    with pytest.raises(ConfigError, match="advantages must have shape"):
        grpo(jnp.zeros((1, 2, 3)), jnp.zeros((1, 3)), jnp.ones((1, 2, 3), bool))
