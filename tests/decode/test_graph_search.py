"""The graph of similar items and the walk over it, against plain loops."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.decode import (
    code_similarities,
    exact_top,
    forest_neighbours,
    graph_top,
    item_neighbours,
    random_starts,
    recall,
)

ITEMS, LEVELS, SIZE, WIDTH = 60, 3, 6, 5


def catalogue(items=ITEMS, seed=0):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(LEVELS, SIZE, WIDTH)).astype(np.float32)
    return embeddings, rng.integers(0, SIZE, (items, LEVELS))


def similarity_by_hand(embeddings, codes):
    """[I, I], from the vectors themselves."""
    vectors = np.stack([embeddings[place, codes[:, place]] for place in range(LEVELS)], axis=1)
    vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return ((1 + np.einsum("ild,kld->ikl", vectors, vectors)) / 2).mean(axis=-1)


@pytest.mark.parametrize("block", [7, 64])
def test_neighbours_are_the_most_similar_items(block):
    embeddings, codes = catalogue()
    expected = similarity_by_hand(embeddings, codes)
    found = np.asarray(
        item_neighbours(code_similarities(jnp.asarray(embeddings)), jnp.asarray(codes), 4, block)
    )
    assert found.shape == (ITEMS, 4)
    # Items with equal codes are equally similar, so values are compared and not numbers.
    values = np.take_along_axis(expected, found, axis=1)
    np.testing.assert_allclose(values, -np.sort(-expected, axis=1)[:, :4], atol=1e-5)
    assert all(len(set(row)) == 4 for row in found.tolist())


def test_a_forest_of_one_group_is_exact_and_smaller_groups_find_most():
    embeddings, codes = catalogue(items=240)
    similarities = code_similarities(jnp.asarray(embeddings))
    truth = similarity_by_hand(embeddings, codes)
    best = -np.sort(-truth, axis=1)[:, :5]
    whole = forest_neighbours(similarities, codes, 5, trees=1, group=240)
    np.testing.assert_allclose(np.take_along_axis(truth, whole, 1), best, atol=1e-5)
    some = forest_neighbours(similarities, codes, 5, trees=3, group=60)
    assert (some >= 0).all() and all(len(set(row)) == 5 for row in some.tolist())
    found = np.take_along_axis(truth, some, 1)
    near, chance = (found >= best[:, -1:] - 1e-5).mean(), 3 * 60 / 240 / 2
    assert near > max(0.6, chance)
    assert (found[:, 0] > 1 - 1e-5).all()  # itself, or an item with its codes


def walk_by_hand(scores, neighbours, starts, top, excluded, beams, steps, keep):
    """The published loop for one user, with sets."""
    ranked = sorted(starts, key=lambda i: -scores[i])
    candidates = list(ranked)
    for _ in range(steps):
        nodes = sorted(candidates, key=lambda i: -scores[i])[:beams]
        reached = {int(i) for node in nodes for i in neighbours[node]}
        candidates = sorted(reached | set(nodes) if keep else reached)
    left = [i for i in candidates if i not in excluded]
    return sorted(left, key=lambda i: -scores[i])[:top]


@pytest.mark.parametrize("keep", [False, True])
def test_the_walk_is_that_of_a_plain_loop(keep):
    _, codes = catalogue(seed=3)
    codes = np.unique(codes, axis=0)  # without ties
    rng = np.random.default_rng(4)
    # Random edges, so that a node is not its own neighbour and `keep` makes a difference.
    neighbours = rng.integers(0, len(codes), (len(codes), 3)).astype(np.int32)
    table = rng.normal(size=(5, LEVELS, SIZE)).astype(np.float32)
    excluded = np.array([[1, 2, -1]] * 5, np.int32)
    starts = random_starts(len(codes), 6, seed=1)
    items, scores = graph_top(
        jnp.asarray(table),
        jnp.asarray(codes),
        jnp.asarray(neighbours),
        jnp.asarray(starts),
        6,
        jnp.asarray(excluded),
        beams=4,
        steps=3,
        keep=keep,
    )
    differs = False
    for row in range(5):
        own = table[row][np.arange(LEVELS), codes].mean(axis=1)
        arguments = own, neighbours, starts.tolist(), 6, {1, 2}, 4, 3
        expected = walk_by_hand(*arguments, keep)
        differs |= expected != walk_by_hand(*arguments, not keep)
        found = np.asarray(items[row])
        assert found[found >= 0].tolist() == expected
        np.testing.assert_allclose(scores[row][: len(expected)], own[expected], atol=1e-5)
        assert np.isneginf(np.asarray(scores[row])[len(expected) :]).all()
    assert differs


def test_a_walk_over_all_edges_is_the_exact_ranking():
    _, codes = catalogue()
    everyone = np.tile(np.arange(ITEMS, dtype=np.int32), (ITEMS, 1))
    table = jnp.asarray(np.random.default_rng(5).normal(size=(4, LEVELS, SIZE)), jnp.float32)
    codes = jnp.asarray(codes)
    found = graph_top(table, codes, jnp.asarray(everyone), jnp.array([0]), 10, beams=1, steps=1)
    exact = exact_top(table, codes, 10)
    np.testing.assert_array_equal(found[0], exact[0])
    assert recall(np.asarray(found[0]), np.asarray(exact[0])).mean() == 1


def test_more_edges_than_items_or_than_half_a_group_are_refused():
    embeddings, codes = catalogue()
    similarities = code_similarities(jnp.asarray(embeddings))
    with pytest.raises(ConfigError, match="a graph of 60 items cannot have 61 edges"):
        item_neighbours(similarities, jnp.asarray(codes), 61)
    with pytest.raises(ConfigError, match="groups of 8 items are too small for 5 edges"):
        forest_neighbours(similarities, codes, 5, group=8)
