import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import ItemCodes, code_statistics, collisions, pq, repair, rq, simple


def plain(codes, sizes):
    return ItemCodes(codes=np.asarray(codes), sizes=sizes, scheme="random")


def test_statistics_equal_those_by_hand():
    # IDs a a b c c c d: three groups of 2, 1, 3, 1
    codes = np.array([[0, 1], [0, 1], [1, 0], [2, 2], [2, 2], [2, 2], [0, 0]])
    found = code_statistics(codes, (4, 3))
    assert found["unique_share"] == pytest.approx(4 / 7)
    assert found["collision_share"] == pytest.approx(5 / 7)
    assert found["largest_group"] == 3
    assert found["must_move"] == 3
    assert found["utilization"] == [3 / 4, 1.0]
    # level 0: shares 3/7, 1/7, 3/7; level 1: 2/7, 2/7, 3/7
    h = [
        -sum(p * np.log2(p) for p in shares)
        for shares in ((3 / 7, 1 / 7, 3 / 7), (2 / 7, 2 / 7, 3 / 7))
    ]
    assert found["entropy"] == pytest.approx(h)
    assert found["perplexity"] == pytest.approx([2 ** h[0], 2 ** h[1]])
    assert found["collapsed_levels"] == []


def test_a_collapsed_codebook_warns_and_is_flagged():
    vectors = np.repeat(np.random.default_rng(0).normal(size=(2, 4)), 50, axis=0)
    with pytest.warns(UserWarning, match="codebook collapse"):
        codes = pq.fit(vectors, 2, 32)
    assert codes.metadata["collapsed_levels"] == [0, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 120), st.booleans())
def test_repair_makes_ids_unique_and_moves_as_few_items_as_needed(seed, levels, items, large):
    rng = np.random.default_rng(seed)
    size = max(2, int(np.ceil(items ** (1 / levels)))) + (300 if large else 0)
    codes = plain(rng.integers(0, min(size, 4), (items, levels)), (size,) * levels)
    fixed = repair(codes)
    needed = code_statistics(codes.codes, codes.sizes)["must_move"]
    assert code_statistics(fixed.codes, fixed.sizes)["must_move"] == 0
    assert (fixed.codes != codes.codes).any(axis=1).sum() == needed
    np.testing.assert_array_equal(repair(codes).codes, fixed.codes)


@pytest.mark.parametrize("scheme", [pq, rq])
@pytest.mark.parametrize("dense_grid", [0, 1 << 16])
def test_the_most_faithful_item_keeps_its_id_and_others_go_near(scheme, dense_grid, monkeypatch):
    monkeypatch.setattr(collisions, "_DENSE_GRID", dense_grid)
    vectors = np.random.default_rng(0).normal(size=(200, 6))
    codes = scheme.fit(vectors, 3, 7)
    fixed = repair(codes, vectors)
    error = ((vectors - scheme.decode(codes, codes.codes)) ** 2).sum(axis=1)
    moved = (fixed.codes != codes.codes).any(axis=1)
    for row in np.unique(codes.codes, axis=0):
        group = np.flatnonzero((codes.codes == row).all(axis=1))
        assert not moved[group[error[group].argmin()]]
        assert moved[group].sum() == len(group) - 1
    # Far nearer than any other free ID would be.
    after = ((vectors - scheme.decode(fixed, fixed.codes)) ** 2).sum(axis=1)
    elsewhere = simple.random(200, 3, 7).codes
    random = ((vectors - scheme.decode(fixed, elsewhere)) ** 2).sum(axis=1)
    assert after[moved].mean() < 0.6 * random[moved].mean()
    assert fixed.metadata["repair"]["moved"] == moved.sum()


def test_the_first_mover_gets_the_nearest_free_id(monkeypatch):
    vectors = np.random.default_rng(1).normal(size=(40, 4))
    codes = pq.fit(vectors, 2, 12)
    clash = codes.codes.copy()
    taken = set(map(tuple, clash.tolist()))
    clash[1] = clash[0]
    if len(taken) < 40:
        clash = repair(codes, vectors).codes.copy()
        clash[1] = clash[0]
    both = ItemCodes(
        codes=clash, sizes=codes.sizes, scheme="pq", metadata={}, codebooks=codes.codebooks
    )
    fixed = repair(both, vectors)
    (moved,) = np.flatnonzero((fixed.codes != clash).any(axis=1))
    grid = np.array(list(itertools.product(range(12), range(12))))
    taken = set(map(tuple, clash.tolist()))
    error = ((vectors[moved] - pq.decode(codes, grid)) ** 2).sum(axis=1)
    best = next(tuple(grid[i].tolist()) for i in error.argsort() if tuple(grid[i]) not in taken)
    assert tuple(fixed.codes[moved].tolist()) == best


def test_best_first_search_yields_every_id_once_in_order():
    rng = np.random.default_rng(0)
    cost = [rng.random(c) for c in (3, 1, 4)]
    found = list(collisions._ascending(cost))
    assert sorted(found) == list(itertools.product(range(3), range(1), range(4)))
    totals = [sum(cost[l][code] for l, code in enumerate(row)) for row in found]
    np.testing.assert_allclose(totals, sorted(totals))


def test_large_groups_of_equal_items_are_spread():
    vectors = np.repeat(np.random.default_rng(0).normal(size=(40, 6)), 100, axis=0)
    codes = pq.fit(vectors, 3, 64)
    assert codes.metadata["largest_group"] >= 100
    fixed = repair(codes, vectors)
    assert fixed.metadata["unique_share"] == 1


def test_suffix_counts_the_items_of_a_group():
    codes = plain([[0, 1], [0, 1], [1, 1], [0, 1]], (2, 2))
    fixed = repair(codes, method="suffix")
    assert fixed.sizes == (2, 2, 3)
    assert fixed.codes.tolist() == [[0, 1, 0], [0, 1, 1], [1, 1, 0], [0, 1, 2]]


def test_unique_ids_are_left_alone():
    codes = simple.random(50, 2, 10)
    for method in ("next_free", "suffix", "refuse"):
        assert repair(codes, method=method) is codes


def test_what_cannot_be_repaired_is_refused_with_numbers():
    codes = plain(np.zeros((5, 2), int), (2, 2))
    with pytest.raises(ConfigError, match=r"5 items do not fit into 2 x 2 = 4 IDs; raise"):
        repair(codes)
    with pytest.raises(DataError, match=r"100\.0% of 5 items .* items 0 and 1 at \(0, 0\)"):
        repair(codes, method="refuse")
    with pytest.raises(ConfigError, match="repairs: next_free, suffix, refuse"):
        repair(codes, method="drop")
    with pytest.raises(DataError, match="3 vectors for 5 items"):
        repair(codes, np.zeros((3, 2)))


def test_a_full_grid_is_filled_to_the_last_id():
    fixed = repair(plain(np.zeros((64, 3), int), (4, 4, 4)))
    assert fixed.metadata["unique_share"] == 1
