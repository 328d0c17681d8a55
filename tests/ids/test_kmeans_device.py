import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from jaxrec.ids import kmeans
from jaxrec.ids.kmeans_device import fit_on_device


def _inertia(vectors, centroids):
    gaps = vectors[:, None] - np.asarray(centroids)[None]
    return (gaps**2).sum(-1).min(1).sum()


@pytest.mark.parametrize("batch", [None, 400])
def test_inertia_is_that_of_scikit_learn(batch):
    rng = np.random.default_rng(0)
    centers = 4 * rng.normal(size=(30, 6))
    vectors = (centers[rng.integers(0, 30, 2000)] + rng.normal(size=(2000, 6))).astype(np.float32)
    iterations = 25 if batch is None else 60
    found = min(
        _inertia(
            vectors, fit_on_device(jnp.asarray(vectors), 32, jax.random.key(s), iterations, batch)
        )
        for s in range(3)
    )
    theirs = KMeans(32, n_init=3, random_state=0).fit(vectors).inertia_
    assert found <= theirs * (1.03 if batch is None else 1.06)


def test_one_lloyd_step_is_the_mean_of_each_cell():
    # Far apart, so that the seeds lie one in each group and one step is enough.
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(4), 25)
    vectors = (1000 * np.eye(4)[group] + rng.normal(size=(100, 4))).astype(np.float32)
    found = np.asarray(fit_on_device(jnp.asarray(vectors), 4, jax.random.key(0), 1))
    found = found[found.argmax(1).argsort()]
    expected = np.stack([vectors[group == g].mean(0) for g in range(4)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_every_centroid_is_used_even_where_seeds_coincide():
    # Five distinct rows, many times each; as many centroids as rows.
    vectors = np.repeat(np.arange(5.0)[:, None] * np.ones((1, 2)), 40, axis=0).astype(np.float32)
    for seed in range(3):
        found = fit_on_device(jnp.asarray(vectors), 5, jax.random.key(seed), 8)
        np.testing.assert_allclose(np.sort(np.asarray(found)[:, 0]), np.arange(5), atol=1e-6)


def test_equal_keys_give_equal_centroids():
    vectors = jnp.asarray(np.random.default_rng(2).normal(size=(200, 3)), jnp.float32)
    found = [fit_on_device(vectors, 8, jax.random.key(k), 5, 64) for k in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_large_inputs_on_a_cpu_are_clustered_as_well_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(300, 16))
    vectors = centers[rng.integers(0, 300, 70_000)] + 0.5 * rng.normal(size=(70_000, 16))
    assert vectors.size > 1 << 20
    found = kmeans.fit_centroids(vectors, 64, seed=0)
    again = kmeans.fit_centroids(vectors, 64, seed=0)
    np.testing.assert_array_equal(found, again)
    referee = KMeans(64, n_init=1, max_iter=25, random_state=0).fit(vectors[:16384])

    def distortion(centroids):
        return kmeans.squared_distances(vectors, centroids).min(axis=1).mean()

    assert distortion(found) <= 1.02 * distortion(referee.cluster_centers_)
    # In float32 as in float64, but for rows that are as near to two centroids.
    exact = kmeans.squared_distances(vectors, found).argmin(axis=1)
    assert (kmeans.nearest(vectors, found) == exact).mean() > 0.9999
