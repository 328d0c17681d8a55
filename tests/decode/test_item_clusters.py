"""Graphs that are built from clusters, and their reverse edges, against brute force."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.decode import (
    add_reverse_edges,
    cluster_items,
    cluster_neighbours,
    code_similarities,
    refine_neighbours,
    spread_starts,
)
from jaxrec.decode.item_clusters import code_vectors

ITEMS, LEVELS, SIZE, WIDTH = 240, 3, 6, 5


def catalogue(seed=0):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(LEVELS, SIZE, WIDTH)).astype(np.float32)
    # Few combinations of codes, so that there are clusters, and one code of each is any.
    codes = rng.integers(0, SIZE, (12, LEVELS))[rng.integers(0, 12, ITEMS)]
    codes[np.arange(ITEMS), rng.integers(0, LEVELS, ITEMS)] = rng.integers(0, SIZE, ITEMS)
    return code_similarities(jnp.asarray(embeddings)), codes


def brute_force(similarities, codes):
    """[I, I] mean similarity."""
    table = np.asarray(similarities)
    pairs = [table[place][codes[:, None, place], codes[None, :, place]] for place in range(LEVELS)]
    return np.mean(pairs, axis=0)


def test_products_of_vectors_are_mean_cosines_or_the_nearest_of_their_rank():
    similarities, codes = catalogue()
    cosines = 2 * brute_force(similarities, codes) - 1

    def products(width):
        features = code_vectors(similarities, codes, width, seed=1)
        vectors = sum(features[place, codes[:, place]] for place in range(LEVELS))
        return vectors @ vectors.T, vectors.shape[1]

    exact, width = products(64)
    assert width <= LEVELS * WIDTH
    np.testing.assert_allclose(exact, cosines, atol=1e-5)
    rough, width = products(4)
    assert width == 4
    # No matrix of this rank is nearer (Eckart and Young 1936).
    values, axes = np.linalg.eigh(cosines)
    nearest = (axes[:, -4:] * values[-4:]) @ axes[:, -4:].T
    np.testing.assert_allclose(rough, nearest, atol=1e-3)
    assert np.abs(rough - cosines).max() > 0.1


def test_clusters_hold_every_item_once_and_starts_take_from_all_of_them():
    similarities, codes = catalogue()
    clusters = cluster_items(similarities, codes, size=20)
    assert sorted(clusters.order.tolist()) == list(range(ITEMS))
    number = len(clusters.bounds) - 1
    assert 1 < number <= 12 and (np.diff(clusters.bounds) > 0).all()
    truth = brute_force(similarities, codes)
    cluster = np.empty(ITEMS, int)
    for c in range(number):
        cluster[clusters.members(c)] = c
    same = cluster[:, None] == cluster[None, :]
    assert truth[same].mean() > truth[~same].mean() + 0.2
    # As many starts as items are all items; a third of them leave out no cluster of three.
    assert sorted(spread_starts(clusters, 999).tolist()) == list(range(ITEMS))
    third = spread_starts(clusters, ITEMS // 3)
    assert len(set(third.tolist())) == ITEMS // 3
    assert set(cluster[third]) == set(cluster) or np.diff(clusters.bounds).min() < 3


def test_a_window_over_all_items_is_exact_and_smaller_ones_find_most():
    similarities, codes = catalogue()
    truth = brute_force(similarities, codes)
    best = -np.sort(-truth, axis=1)[:, :5]
    clusters = cluster_items(similarities, codes, size=20)
    whole = cluster_neighbours(clusters, 5, window=9999)
    np.testing.assert_allclose(np.take_along_axis(truth, whole, 1), best, atol=1e-5)
    some = cluster_neighbours(clusters, 5, window=48)
    assert (some >= 0).all() and all(len(set(row)) == 5 for row in some.tolist())

    def share(near):
        return (np.take_along_axis(truth, near, 1) >= best[:, -1:] - 1e-5).mean()

    # A fifth of the items stand in a window.
    assert share(some) > 0.8
    poor = np.random.default_rng(2).permuted(some, axis=0)
    mended = np.asarray(
        refine_neighbours(similarities, jnp.asarray(codes), jnp.asarray(poor), rounds=4)
    )
    assert share(poor) < 0.2 and share(mended) > 0.8
    assert all(len(set(row)) == 5 for row in mended.tolist())


def test_reverse_edges_lead_to_items_that_few_lead_to():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(300, 20))
    distance = ((points[:, None] - points[None]) ** 2).sum(-1)
    near = np.argsort(distance, axis=1)[:, :8].astype(np.int32)
    found = add_reverse_edges(near, 3)
    np.testing.assert_array_equal(found[:, :5], near[:, :5])
    others = np.arange(300)[:, None]

    def reached(edges):
        return np.bincount(edges[edges != others], minlength=300)

    # Points of 20 dimensions are hubs or nobody's neighbours.
    assert (reached(near) == 0).sum() > 5 and (reached(found) == 0).sum() <= 1
    for item, row in enumerate(found[:, 5:]):
        for place, other in enumerate(row):
            assert other == near[item, 5 + place] or item in near[other, :4]
    np.testing.assert_array_equal(add_reverse_edges(near, 0), near)


def test_windows_clusters_and_reverse_edges_that_cannot_be_are_refused():
    similarities, codes = catalogue()
    clusters = cluster_items(similarities, codes, size=20)
    with pytest.raises(ConfigError, match="a window of 4 items cannot hold 5 edges"):
        cluster_neighbours(clusters, 5, window=4)
    with pytest.raises(ConfigError, match="a graph of 240 items cannot have 241 edges"):
        cluster_neighbours(clusters, 241)
    with pytest.raises(ConfigError, match="a cluster of 0 items"):
        cluster_items(similarities, codes, size=0)
    with pytest.raises(ConfigError, match="a vector of 0 columns"):
        cluster_items(similarities, codes, size=20, width=0)
    for reverse in (-1, 5):
        with pytest.raises(ConfigError, match=f"{reverse} of 5 edges cannot be reverse ones"):
            add_reverse_edges(np.zeros((9, 5), np.int32), reverse)
