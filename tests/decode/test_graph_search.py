"""The graph of similar items and the walk over it, against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.decode import (
    code_similarities,
    exact_top,
    graph_top,
    item_neighbours,
    pack_codes,
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


def walk_by_hand(scores, neighbours, starts, top, excluded, beams, steps, keep):
    """The walk for one user, with sets and lists."""
    candidates, visited = set(starts), set()
    for _ in range(steps):
        ranked = sorted(candidates, key=lambda i: -scores[i])
        if keep:
            pool = ranked[: max(2 * beams, top)]
            nodes = [i for i in pool if i not in visited][:beams]
            visited |= set(nodes)
        else:
            pool, nodes = [], ranked[:beams]
        candidates = {int(i) for node in nodes for i in neighbours[node]} | set(pool)
    left = [i for i in candidates if i not in excluded]
    return sorted(left, key=lambda i: -scores[i])[:top]


@pytest.mark.parametrize(("keep", "beams", "packed"), [(0, 2, 0), (0, 8, 1), (1, 2, 1), (1, 8, 0)])
def test_the_walk_is_that_of_a_plain_loop(keep, beams, packed):
    _, codes = catalogue(seed=3)
    codes = np.unique(codes, axis=0)  # without ties
    rng = np.random.default_rng(4)
    # Random edges, so that a node is not its own neighbour and `keep` makes a difference.
    neighbours = rng.integers(0, len(codes), (len(codes), 3)).astype(np.int32)
    table = rng.normal(size=(5, LEVELS, SIZE)).astype(np.float32)
    excluded = np.array([[1, 2, -1]] * 5, np.int32)
    starts = random_starts(len(codes), 7, seed=1)
    items, scores = graph_top(
        jnp.asarray(table),
        pack_codes(codes) if packed else jnp.asarray(codes),
        jnp.asarray(neighbours),
        jnp.asarray(starts),
        5,
        jnp.asarray(excluded),
        beams=beams,
        steps=3,
        keep=bool(keep),
    )
    differs = False
    for row in range(5):
        own = table[row][np.arange(LEVELS), codes].mean(axis=1)
        arguments = own, neighbours, starts.tolist(), 5, {1, 2}, beams, 3
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
    exact = exact_top(table, codes, 10)
    for keep in (False, True):
        found = graph_top(
            table, codes, jnp.asarray(everyone), jnp.array([0]), 10, beams=1, steps=1, keep=keep
        )
        np.testing.assert_array_equal(found[0], exact[0])
    assert recall(np.asarray(found[0]), np.asarray(exact[0])).mean() == 1


def test_more_edges_than_items_and_walks_over_too_many_are_refused():
    embeddings, codes = catalogue()
    similarities = code_similarities(jnp.asarray(embeddings))
    with pytest.raises(ConfigError, match="a graph of 60 items cannot have 61 edges"):
        item_neighbours(similarities, jnp.asarray(codes), 61)
    shapes = (
        jax.ShapeDtypeStruct((1, 1, 2), jnp.float32),
        jax.ShapeDtypeStruct((2**30 + 1, 1), jnp.uint8),
        jax.ShapeDtypeStruct((2**30 + 1, 1), jnp.int32),
        jax.ShapeDtypeStruct((1,), jnp.int32),
    )
    with pytest.raises(ConfigError, match=r"1,073,741,825 items is not possible.*rank exactly"):
        jax.eval_shape(lambda *arrays: graph_top(*arrays, 1), *shapes)


@pytest.mark.parametrize(("size", "width"), [(256, 1), (257, 2), (65_536, 2), (65_537, 4)])
@pytest.mark.parametrize("levels", [1, 3, 4, 9])
def test_packed_codes_are_the_codes(size, width, levels):
    codes = np.random.default_rng(0).integers(0, size, (7, levels))
    codes[3] = size - 1
    packed = pack_codes(codes)
    assert len(packed) == 7 and packed.words.dtype == jnp.uint32 and packed.width == width
    items = np.array([[3, 0], [6, 3]])
    np.testing.assert_array_equal(packed.take(jnp.asarray(items)), codes[items])


def test_negative_codes_are_not_packed():
    with pytest.raises(DataError, match="item 1 has the negative code -1"):
        pack_codes(np.array([[0, 1], [2, -1]]))
