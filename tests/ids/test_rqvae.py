import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import repair, rqvae
from jaxrec.ids.rqvae import Params, RqVaeConfig, loss, straight_through

QUICK = RqVaeConfig(latent=8, hidden=(32,), warmup=100, steps=300, batch_size=128, reseed_every=20)


def clustered(items=600, clusters=8, width=16, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, clusters, items)
    centres = rng.normal(size=(clusters, width))
    return centres[label] + noise * rng.normal(size=(items, width)), label


def identity(width, *books):
    """An autoencoder that does nothing, around codebooks of whole numbers."""
    layer = ((jnp.eye(width), jnp.zeros(width)),)
    return Params(layer, layer, tuple(jnp.asarray(book, jnp.float32) for book in books))


@pytest.fixture(scope="module")
def fitted():
    vectors, label = clustered()
    return rqvae.fit(vectors, 2, 8, config=QUICK), vectors, label


def test_the_gradient_passes_straight_through_the_quantized_vector():
    z, q = jnp.array([1.0, 2.0]), jnp.array([5.0, -3.0])
    value, (by_z, by_q) = jax.value_and_grad(
        lambda z, q: (straight_through(z, q) ** 3).sum(), argnums=(0, 1)
    )(z, q)
    assert value == pytest.approx(5.0**3 - 27)
    # d/dz q^3 = 3 q^2, as if z were q; and nothing goes to q.
    np.testing.assert_allclose(by_z, 3 * q**2)
    np.testing.assert_allclose(by_q, 0)


def test_loss_and_gradients_equal_those_by_hand():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3))
    books = [rng.normal(size=(4, 3)), 0.3 * rng.normal(size=(2, 3))]
    beta = 0.25
    params = identity(3, *books)
    batch = jnp.asarray(x, jnp.float32)
    (found, (codes, residuals)), gradient = jax.value_and_grad(loss, has_aux=True)(
        params, batch, beta
    )
    r, total, chosen = x, 0.0, np.zeros_like(x)
    d_commit = np.zeros_like(x)
    for level, book in enumerate(books):
        near = ((r[:, None] - book) ** 2).sum(-1).argmin(1)
        np.testing.assert_array_equal(codes[level], near)
        np.testing.assert_allclose(residuals[level], r, atol=1e-6)
        difference = r - book[near]
        total += (1 + beta) * (difference**2).sum() / 5
        # Of ||sg(r) - e||^2: the mean pull of the residuals on the codes that they chose.
        expected = np.zeros_like(book)
        np.add.at(expected, near, -2 * difference / 5)
        np.testing.assert_allclose(gradient.books[level], expected, atol=1e-5)
        d_commit += 2 * beta * difference / 5
        chosen += book[near]
        r = difference
    total += ((x - chosen) ** 2).sum() / 5
    assert float(found) == pytest.approx(total, rel=1e-5)
    # Through an encoder that is the identity, dloss/dbias sums dloss/dz over the batch: of the
    # reconstruction straight through, and of the commitment at every level.
    d_z = 2 * (chosen - x) / 5 + d_commit
    np.testing.assert_allclose(gradient.encoder[0][1], d_z.sum(axis=0), atol=1e-5)


def test_planted_clusters_are_recovered_by_the_first_code(fitted):
    codes, _, label = fitted
    first = codes.codes[:, 0]
    pure = sum(np.bincount(label[first == c]).max() for c in np.unique(first)) / len(label)
    assert pure > 0.95


def test_more_levels_reconstruct_better_than_k_means_with_as_many_codes_as_one():
    from sklearn.cluster import KMeans

    # Vectors on a curved sheet of two dimensions: what a linear code cannot follow.
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (1500, 2))
    vectors = np.concatenate([np.sin(3 * u), np.cos(3 * u), u**2, u[:, :1] * u[:, 1:]], axis=1)
    k_means = KMeans(16, n_init=3, random_state=0).fit(vectors)
    theirs = k_means.inertia_ / ((vectors - vectors.mean(0)) ** 2).sum()
    config = dataclasses.replace(QUICK, steps=1500, latent=4)
    codes = rqvae.fit(vectors, 3, 16, config=config)
    assert codes.metadata["distortion"] < 0.5 * theirs
    back = rqvae.decode(codes, codes.codes)
    error = ((vectors - back) ** 2).sum() / ((vectors - vectors.mean(0)) ** 2).sum()
    assert codes.metadata["distortion"] == pytest.approx(error)


def test_the_loss_falls_without_a_warm_up_too():
    config = dataclasses.replace(QUICK, warmup=0)
    begin, end = rqvae.fit(clustered()[0], 2, 8, config=config).metadata["loss"]
    assert end < 0.2 * begin


def test_codes_are_the_nearest_centroids_of_the_residuals(fitted):
    codes, vectors, _ = fitted
    books = codes.codebooks
    x = ((vectors - books["mean"]) / books["spread"]).astype(np.float32)
    hidden = np.maximum(x @ books["encoder_w_0"] + books["encoder_b_0"], 0)
    residual = hidden @ books["encoder_w_1"] + books["encoder_b_1"]
    for level in range(2):
        book = books[f"centroids_{level}"]
        near = ((residual[:, None] - book) ** 2).sum(-1).argmin(1)
        np.testing.assert_array_equal(codes.codes[:, level], near)
        residual = residual - book[near]
    np.testing.assert_array_equal(rqvae.encode(codes, vectors), codes.codes)


def test_new_vectors_of_a_cluster_get_its_first_code(fitted):
    codes, vectors, _ = fitted
    rng = np.random.default_rng(1)
    pick = rng.integers(0, 600, 100)
    new = rqvae.encode(codes, vectors[pick] + 0.02 * rng.normal(size=(100, 16)))
    assert (new[:, 0] == codes.codes[pick, 0]).mean() > 0.95


def test_equal_seeds_give_equal_codebooks_and_other_seeds_others(fitted):
    codes, vectors, _ = fitted
    again = rqvae.fit(vectors, 2, 8, config=QUICK)
    for name, array in codes.codebooks.items():
        np.testing.assert_array_equal(again.codebooks[name], array)
    other = rqvae.fit(vectors, 2, 8, config=QUICK, seed=1)
    assert (other.codes != codes.codes).any()


def test_dead_codes_come_back_to_life():
    vectors, _ = clustered(clusters=30, noise=0.1)
    used = {}
    for every in (0, 20):
        # A first batch of 32 cannot seed 64 codes well.
        config = dataclasses.replace(QUICK, warmup=0, batch_size=32, reseed_every=every)
        used[every] = rqvae.fit(vectors, 1, 64, config=config).metadata["utilization"][0]
    assert used[20] > used[0] and used[20] > 0.6


def test_collisions_are_repaired_by_suffix_or_nearest_free_id(fitted):
    codes, vectors, _ = fitted
    assert codes.metadata["collision_share"] > 0.5
    suffixed = repair(codes, vectors, "suffix")
    assert suffixed.metadata["unique_share"] == 1 and suffixed.levels == 3
    wide = rqvae.fit(vectors, 3, 16, config=QUICK)
    fixed = repair(wide, vectors)
    assert fixed.metadata["unique_share"] == 1
    moved = (fixed.codes != wide.codes).any(axis=1)
    shift = fixed.codes[moved] - wide.codes[moved]
    # Most find a free ID without leaving their coarse cluster.
    assert (shift[:, 0] == 0).mean() > 0.8


def test_fewer_vectors_than_codes_and_equal_vectors_are_fine():
    vectors = np.repeat(np.eye(4), 2, axis=0)
    codes = rqvae.fit(vectors, 2, 16, config=dataclasses.replace(QUICK, steps=50))
    assert len(np.unique(codes.codes, axis=0)) <= 4
    with pytest.warns(UserWarning, match="codebook collapse"):
        rqvae.fit(np.ones((40, 4)), 2, 16, config=dataclasses.replace(QUICK, steps=5))


def test_bad_input_is_refused(fitted):
    for change in ({"steps": 0}, {"learning_rate": -1.0}, {"commitment": -0.1}, {"hidden": (0,)}):
        with pytest.raises(ConfigError, match=next(iter(change)).replace("_", "-")):
            dataclasses.replace(QUICK, **change)
    with pytest.raises(ConfigError, match="width 16, got width 3"):
        rqvae.encode(fitted[0], np.zeros((2, 3)))
    with pytest.raises(DataError, match="not finite"):
        rqvae.fit(np.array([[np.nan, 1.0]]), 1, 2, config=QUICK)
