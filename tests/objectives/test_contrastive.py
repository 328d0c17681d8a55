"""Contrastive losses against sums written out in NumPy and PyTorch; semi-synthetic IDs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.objectives import info_nce, semi_synthetic, supervised_contrast

M, D, TAU = 7, 5, 0.07


def arrays():
    rng = np.random.default_rng(0)
    states, vectors, fake = rng.normal(size=(3, M, D))
    states, vectors, fake = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (states, vectors, fake)
    )
    items = np.array([3, 1, 3, 2, 3, 1, 9])
    # Equal items have equal vectors, as in a batch.
    first = {item: i for i, item in reversed(list(enumerate(items)))}
    vectors = vectors[[first[item] for item in items]]
    counts = np.array([True, True, True, False, True, True, True])
    return states / TAU, vectors, items, counts, fake


def by_hand(states, vectors, items, counts, fake, kept=0.0):
    """The printed equation, term by term; a duplicate adds `kept` to the sum."""
    losses = []
    for m in range(M):
        positive = np.exp(states[m] @ vectors[m])
        total = positive + (0 if fake is None else np.exp(states[m] @ fake[m]))
        for n in range(M):
            if n != m and counts[n]:
                same = items[n] == items[m]
                total += kept if same else np.exp(states[m] @ vectors[n])
        losses.append(-np.log(positive / total))
    return np.array(losses)


def found_loss(*given):
    *rest, fake = given
    states, vectors, items, counts = rest
    fake = None if fake is None else jnp.asarray(fake, jnp.float32)
    as32 = (jnp.asarray(x, jnp.float32) for x in (states, vectors))
    return info_nce(*as32, jnp.asarray(items), jnp.asarray(counts), fake)


@pytest.mark.parametrize("with_fake", [False, True])
def test_the_loss_is_the_printed_sum_without_duplicates_and_padding(with_fake):
    *given, counts, fake = arrays()
    given = (*given, counts, fake if with_fake else None)
    found = np.asarray(found_loss(*given))
    np.testing.assert_allclose(found[counts], by_hand(*given)[counts], rtol=2e-5)
    # The published code's exp(0) is another loss wherever an item comes twice.
    published = by_hand(*given, kept=1.0)
    twice = counts & (np.array([(given[2] == item).sum() for item in given[2]]) > 1)
    assert (published[twice] - found[twice] > 1e-7).all()


def test_equal_items_do_not_repel_one_another():
    states, vectors, items, counts, _ = arrays()

    def total(moved):
        return jnp.where(
            counts,
            info_nce(
                jnp.asarray(states, jnp.float32), moved, jnp.asarray(items), jnp.asarray(counts)
            ),
            0.0,
        )[0]

    gradient = np.asarray(jax.grad(total)(jnp.asarray(vectors, jnp.float32)))
    # Prediction 0 is of item 3: predictions 2 and 4 are too, 3 is padding.
    assert (gradient[[2, 3, 4]] == 0).all()
    assert (np.abs(gradient[[0, 1, 5, 6]]).max(axis=1) > 0).all()


def test_without_duplicates_it_is_the_cross_entropy_of_the_batch():
    torch = pytest.importorskip("torch")
    states, vectors, _, _, _ = arrays()
    vectors = np.random.default_rng(1).normal(size=vectors.shape)
    logits = torch.tensor(states @ vectors.T)
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(M), reduction="none")
    found = found_loss(states, vectors, np.arange(M), np.ones(M, bool), None)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)


def test_digits_are_replaced_with_probability_rho_by_any_code_of_their_level():
    sizes = np.array([4, 16, 64])
    codes = jnp.asarray(np.tile([3, 7, 0], (20_000, 1)), jnp.int32)
    fake = np.asarray(semi_synthetic(codes, jnp.asarray(sizes), 0.75, jax.random.key(0)))
    assert fake.min() >= 0 and (fake.max(axis=0) == sizes - 1).all()
    changed = (fake != np.asarray(codes)).mean(axis=0)
    # A draw gives the old digit once in C times.
    np.testing.assert_allclose(changed, 0.75 * (1 - 1 / sizes), atol=0.012)
    for level, size in enumerate(sizes):
        others = np.delete(np.bincount(fake[:, level], minlength=size), codes[0, level])
        np.testing.assert_allclose(others.mean(), 20_000 * 0.75 / size, rtol=0.02)
        assert others.std() < 1.5 * np.sqrt(others.mean())
    # Digits are replaced independently of one another.
    moved = (fake != np.asarray(codes)).astype(float)
    assert np.abs(np.corrcoef(moved.T)[np.triu_indices(3, 1)]).max() < 0.03


def test_no_share_changes_nothing_and_keys_differ():
    codes = jnp.zeros((9, 4), jnp.int32)
    sizes = jnp.full(4, 8)
    np.testing.assert_array_equal(semi_synthetic(codes, sizes, 0.0, jax.random.key(0)), codes)
    one, other = (semi_synthetic(codes, sizes, 1.0, jax.random.key(n)) for n in (0, 1))
    assert (np.asarray(one) != np.asarray(other)).any()


def supervised_by_loops(vectors, labels, counts, temperature):
    """The published equation, term by term, in float64."""
    units = vectors.astype(np.float64)
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    losses = np.zeros(len(labels))
    for k in np.flatnonzero(counts):
        others = [o for o in np.flatnonzero(counts) if o != k]
        same = [l for l in others if labels[l] == labels[k]]
        below = sum(np.exp(units[k] @ units[o] / temperature) for o in others)
        for l in same:
            losses[k] -= np.log(np.exp(units[k] @ units[l] / temperature) / below) / len(same)
    return losses


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_supervised_contrast_is_the_published_equation(temperature):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, 4)).astype(np.float32)
    labels = np.array([0, 1, 0, 1, 1, 0, 2, 0, 1])  # one label occurs once
    counts = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0], bool)
    arrays = [jnp.asarray(x) for x in (vectors, labels, counts)]
    found = supervised_contrast(*arrays, temperature)
    expected = supervised_by_loops(vectors, labels, counts, temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found[6] == 0.0 and not found[7:].any()


def test_supervised_contrast_of_vectors_without_length_has_a_finite_gradient():
    labels, counts = jnp.array([0, 0, 1]), jnp.array([True, True, True])
    gradient = jax.grad(lambda v: supervised_contrast(v, labels, counts).sum())(jnp.zeros((3, 2)))
    assert np.isfinite(gradient).all()
    alone = supervised_contrast(jnp.ones((1, 2)), jnp.array([0]), jnp.array([True]))
    assert alone.tolist() == [0.0]
