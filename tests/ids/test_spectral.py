import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from jaxrec.ids import spectral
from jaxrec.ids.spectral import _parts, _product, cluster_qr, split


def blocks(sizes, inside=0.3, between=0.02, seed=0):
    """Stochastic block model: sparse symmetric adjacency and the block of each node."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(len(sizes)), sizes)
    chance = np.where(block[:, None] == block[None, :], inside, between)
    upper = np.triu(rng.random(chance.shape) < chance, 1).astype(float)
    return sp.csr_array(upper + upper.T), block


def same_partition(a, b):
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def purity(found, block):
    return sum(np.bincount(block[found == c]).max() for c in np.unique(found)) / len(block)


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_of_scikit_learn(seed):
    from sklearn.cluster import SpectralClustering

    graph, _ = blocks([40, 30, 60, 20], inside=0.15, between=0.05, seed=seed)
    theirs = SpectralClustering(
        6, affinity="precomputed", assign_labels="cluster_qr", random_state=0
    ).fit(graph.toarray())
    assert same_partition(split(graph, 6), theirs.labels_)


@pytest.mark.parametrize("size", [400, 700, 1600])
def test_dense_sparse_and_loose_eigenvectors_find_the_planted_blocks(size):
    graph, block = blocks([size // 4] * 4 + [size // 2], inside=0.12, between=0.01)
    found = split(graph, 5)
    assert len(np.unique(found)) == 5
    assert purity(found, block) > 0.97


def test_a_graph_beyond_the_exact_solver_is_clustered_as_well():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(5), 1000)
    other = np.where(
        rng.random((5000, 12)) < 0.8,
        1000 * block[:, None] + rng.integers(0, 1000, (5000, 12)),
        rng.integers(0, 5000, (5000, 12)),
    )
    pairs = (np.repeat(np.arange(5000), 12), other.ravel())
    graph = sp.csr_array((np.ones(60000), pairs), shape=(5000, 5000))
    assert purity(split(graph + graph.T, 5), block) > 0.95


def test_rotating_the_eigenvectors_does_not_move_a_node():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(4), 20, axis=0) + 0.2 * rng.normal(size=(80, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    np.testing.assert_array_equal(cluster_qr(rows @ turn), cluster_qr(rows))


def test_renumbering_the_nodes_moves_none_to_another_cluster():
    graph, _ = blocks([50, 30, 70], inside=0.2, between=0.05)
    order = np.random.default_rng(1).permutation(150)
    assert same_partition(split(graph[order][:, order], 6), split(graph, 6)[order])


def test_parts_that_nothing_joins_are_clustered_apart_in_proportion_to_their_size():
    parts = [blocks([n], inside=0.5)[0] for n in (80, 40, 3, 2, 1, 1)]
    graph, part = sp.csr_array(sp.block_diag(parts)), np.repeat(np.arange(6), (80, 40, 3, 2, 1, 1))
    label = split(graph, 8)
    of = [set(label[part == p].tolist()) for p in range(6)]
    assert len(of[0]) == 5 and len(of[1]) == 2
    # The small parts stay whole, and share what is left with one another alone.
    assert all(len(one) == 1 for one in of[2:])
    assert not (of[0] | of[1]) & set.union(*of[2:]) and not of[0] & of[1]


@pytest.mark.parametrize("edges", [100, 250, 400])
def test_parts_are_those_of_scipy(edges):
    rng = np.random.default_rng(edges)
    pairs = rng.integers(0, 300, (2, edges))
    graph = sp.csr_array((np.ones(edges), tuple(pairs)), shape=(300, 300))
    graph = sp.csr_array(graph + graph.T)
    count, part = sp.csgraph.connected_components(graph, directed=False)
    found, label = _parts(graph)
    assert 1 < count == found and same_partition(label, part)
    # Numbered by their first nodes.
    assert np.unique(label, return_index=True)[1].tolist() == sorted(
        np.unique(part, return_index=True)[1].tolist()
    )


def test_one_edge_among_many_joins_two_parts():
    # Odd and even nodes are friends; nodes 37 and 38, each with a long row before that, meet.
    node = np.arange(40)
    graph = (node[:, None] % 2 == node % 2).astype(float) - np.eye(40)
    assert _parts(sp.csr_array(graph))[0] == 2
    graph[37, 38] = graph[38, 37] = 1
    assert _parts(sp.csr_array(graph))[0] == 1


def test_isolated_nodes_are_dealt_evenly():
    label = split(sp.csr_array((50, 50)), 7)
    assert sorted(np.bincount(label)) == [7] * 6 + [8]


def test_a_large_part_makes_room_for_a_single_stray_node():
    graph = sp.csr_array(sp.block_diag([blocks([60], inside=0.4)[0], np.zeros((1, 1))]))
    label = split(graph, 2)
    assert set(label[:60]) == {1 - label[60]}


@pytest.mark.parametrize("clusters", [2, 3, 10])
def test_a_graph_without_clusters_is_cut_evenly(clusters):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        label = split(sp.csr_array(1.0 - np.eye(90)), clusters)
        star = np.zeros((90, 90))
        star[0, 1:] = star[1:, 0] = 1
        hub = split(sp.csr_array(star), clusters)
    for one in (label, hub):
        assert np.bincount(one).max() <= 0.9 * 90
        assert 2 <= len(np.unique(one)) <= clusters


@pytest.mark.parametrize("nodes", [2, 3])
def test_tiny_graphs_are_split(nodes):
    assert len(np.unique(split(sp.csr_array(1.0 - np.eye(nodes)), 5))) >= 2


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_threads_multiply_as_one_does_to_the_last_bit(threads, monkeypatch):
    dense = sp.random_array((50, 50), density=0.1, rng=np.random.default_rng(3)).toarray()
    dense[[0, 7, 49]] = 0
    weights = sp.csr_array(dense.astype(np.float32))
    monkeypatch.setattr(spectral, "_EDGES_A_THREAD", weights.nnz // threads)
    monkeypatch.setattr(spectral.os, "cpu_count", lambda: threads)
    x = np.random.default_rng(0).normal(size=50).astype(np.float32)
    with _product(weights) as product:
        np.testing.assert_array_equal(product(x), weights @ x)
