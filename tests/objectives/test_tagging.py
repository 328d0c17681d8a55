"""Losses for incomplete labels: entity ratio, soft labels, replacement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.objectives import (
    crf_marginals,
    entity_ratio,
    entity_ratio_loss,
    init_crf,
    is_confident,
    replace_confident,
    sharpen_labels,
    soft_label_loss,
)


def probabilities(seed=0, shape=(2, 4, 3)):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)


MASK = np.array([[True, True, False, False], [True, True, True, True]])


def test_the_ratio_is_the_mass_inside_entities_over_all_mass():
    p = probabilities()
    total = 0.0
    for row, column in np.argwhere(MASK):
        total += p[row, column, 1:].sum()
    np.testing.assert_allclose(entity_ratio(jnp.asarray(p), jnp.asarray(MASK)), total / 6, 1e-6)
    assert float(entity_ratio(jnp.asarray(p), jnp.zeros_like(MASK))) == 0.0


@pytest.mark.parametrize(("ratio", "loss"), [(0.02, 0.08), (0.12, 0.0), (0.18, 0.0), (0.5, 0.3)])
def test_the_ratio_costs_nothing_within_its_margin(ratio, loss):
    marginals = jnp.broadcast_to(jnp.array([1 - ratio, ratio], jnp.float32), (2, 4, 2))
    found = entity_ratio_loss(marginals, jnp.asarray(MASK), ratio=0.15, margin=0.05)
    np.testing.assert_allclose(found, loss, atol=1e-6)


@pytest.mark.parametrize("bias", [-3.0, 3.0])
def test_descent_moves_the_ratio_of_a_crf_into_the_margin(bias):
    crf = init_crf(jax.random.key(0), 5)
    emissions = jnp.zeros((2, 4, 5)).at[:, :, 0].set(bias)

    def loss(e):
        return entity_ratio_loss(crf_marginals(crf, e, jnp.asarray(MASK)), jnp.asarray(MASK))

    step = jax.jit(jax.value_and_grad(loss))
    for _ in range(2000):
        value, gradient = step(emissions)
        emissions = emissions - 3.0 * gradient
        if value == 0.0:
            break
    ratio = entity_ratio(crf_marginals(crf, emissions, jnp.asarray(MASK)), jnp.asarray(MASK))
    assert 0.1 <= float(ratio) <= 0.2
    # Skipped tokens have no part in it.
    assert not np.asarray(gradient)[~MASK].any()


def test_soft_labels_are_squared_and_divided_by_the_frequency_of_the_tag():
    f = probabilities(1)
    p = f[MASK].sum(axis=0)
    expected = f**2 / p
    expected /= expected.sum(axis=-1, keepdims=True)
    found = np.asarray(sharpen_labels(jnp.asarray(f), jnp.asarray(MASK)))
    np.testing.assert_allclose(found[MASK], expected[MASK], rtol=1e-5)
    assert not found[~MASK].any()


def test_the_loss_of_soft_labels_is_torchs_cross_entropy():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(2, 4, 3)).astype(np.float32), probabilities(3)
    flat = torch.tensor(logits.reshape(-1, 3)), torch.tensor(labels.reshape(-1, 3))
    expected = torch.nn.functional.cross_entropy(*flat, reduction="none").numpy().reshape(2, 4)
    log_probs = jax.nn.log_softmax(jnp.asarray(logits))
    found = soft_label_loss(log_probs, jnp.asarray(labels), jnp.asarray(MASK))
    np.testing.assert_allclose(found, np.where(MASK, expected, 0.0), atol=1e-6)
    by_labels = jax.grad(lambda s: soft_label_loss(log_probs, s, jnp.asarray(MASK)).sum())(
        jnp.asarray(labels)
    )
    assert not by_labels.any()


def test_only_contradicted_labels_are_replaced():
    #                  sure of 0,     sure of 2,      unsure,        sure of 1, no token
    p = jnp.array([[[0.9, 0, 0.1], [0.05, 0, 0.95], [0.5, 0.3, 0.2], [0, 1.0, 0]]], jnp.float32)
    mask = jnp.array([[True, True, True, False]])
    assert is_confident(p, mask, 0.9).tolist() == [[True, True, False, False]]
    outside = jnp.zeros((1, 4, 3), bool).at[:, :, 0].set(True)
    by_teacher = replace_confident(outside, p, mask, 0.9)
    assert by_teacher.astype(int).tolist() == [[[1, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0]]]
    by_unknown = replace_confident(outside, p, mask, 0.9, "unknown")
    assert by_unknown.astype(int).tolist() == [[[1, 0, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0]]]
    unknown = jnp.ones((1, 4, 3), bool)
    filled = replace_confident(unknown, p, mask, 0.9)
    assert filled.astype(int).tolist() == [[[1, 0, 0], [0, 0, 1], [1, 1, 1], [1, 1, 1]]]
    assert (replace_confident(unknown, p, mask, 0.9, "unknown") == unknown).all()
