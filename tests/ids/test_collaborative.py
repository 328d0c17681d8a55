import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.data import k_core, leave_one_out, load
from jaxrec.ids import ItemIndex, collaborative
from jaxrec.ids.cooccurrence import cooccurrence, weighted
from jaxrec.ids.lengths import check_prefix_free, closed, opened


def block_histories(blocks=8, items=60, users=1500, seed=0, stray=0.1):
    """Users who keep to one block of items but for a few strays; the block of each item."""
    rng = np.random.default_rng(seed)
    histories = []
    for _ in range(users):
        own = items * rng.integers(blocks) + rng.choice(items, 10, replace=False)
        stray_items = rng.integers(0, blocks * items, 10)
        histories.append(np.unique(np.where(rng.random(10) < stray, stray_items, own)))
    return histories, np.repeat(np.arange(blocks), items)


def leaves(item_codes):
    """Sets of items that share all but the last code."""
    found = {}
    for item, row in enumerate(item_codes.codes.tolist()):
        row = [code for code in row if code >= 0]
        found.setdefault(tuple(row[:-1]), set()).add(item)
    return {frozenset(items) for items in found.values()}


@pytest.fixture
def films(real_data):
    return k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)


@pytest.mark.parametrize(
    ("clusters", "leaf", "length", "count", "largest"),
    [(10, 50, 3.0, 100, 38), (20, 100, 2.08, 39, 100), (20, 500, 2.0, 20, 106)],
)
def test_the_tree_of_films_is_the_one_measured(films, clusters, leaf, length, count, largest):
    """Canonical MovieLens-100K, ties in file order; scikit-learn's clustering gives these trees."""
    train = leave_one_out(films).train.sequences()
    codes = collaborative.fit(train, films.num_items, clusters=clusters, leaf=leaf)
    facts = codes.metadata
    assert facts["items"] == 1349 and facts["unique_share"] == 1
    assert facts["mean_length"] == pytest.approx(length, abs=0.005)
    assert (facts["leaves"], facts["largest_leaf"]) == (count, largest)
    assert max(codes.sizes) == leaf
    check_prefix_free(codes)
    index = ItemIndex.build(closed(codes))
    np.testing.assert_array_equal(index.lookup(index.item_codes), np.arange(1349))


def test_little_of_the_film_graph_lies_within_leaves(films):
    train = leave_one_out(films).train.sequences()
    facts = collaborative.fit(train, films.num_items).metadata
    assert facts["inside_share"] == pytest.approx(0.033, abs=0.002)
    assert facts["inside_expected"] == pytest.approx(0.024, abs=0.002)


def test_held_out_interactions_do_not_change_the_ids(films):
    rng = np.random.default_rng(0)
    full = [films.history(user) for user in range(films.num_users)]
    other = [np.append(h[:-2], rng.integers(0, films.num_items, 2)) for h in full]
    ids = [collaborative.fit([h[:-2] for h in one], films.num_items).codes for one in (full, other)]
    np.testing.assert_array_equal(*ids)


def test_renumbering_the_films_changes_the_numbers_alone(films):
    train = leave_one_out(films).train.sequences()
    new = np.random.default_rng(0).permutation(films.num_items)
    plain = leaves(collaborative.fit(train, films.num_items))
    moved = leaves(collaborative.fit([new[h] for h in train], films.num_items))
    assert {frozenset(new[list(leaf)].tolist()) for leaf in plain} == moved


@pytest.mark.parametrize("weighting", ["counts", "ppmi", "degree"])
def test_the_first_code_finds_planted_blocks(weighting):
    histories, block = block_histories()
    codes = collaborative.fit(histories, 480, clusters=8, leaf=80, weighting=weighting).codes
    pure = sum(np.bincount(block[codes[:, 0] == c]).max() for c in np.unique(codes[:, 0]))
    assert pure / 480 > 0.95


def test_popular_items_do_not_hide_the_blocks_from_weighted_graphs():
    # Ten items of each user's ten are drawn from twenty that all users meet.
    histories, block = block_histories(stray=0.3)
    rng = np.random.default_rng(1)
    histories = [np.append(h, 480 + rng.choice(20, 10, replace=False)) for h in histories]
    share = []
    for weighting in ("counts", "ppmi"):
        codes = collaborative.fit(histories, 500, clusters=9, leaf=80, weighting=weighting).codes
        first = codes[:480, 0]
        share.append(sum(np.bincount(block[first == c]).max() for c in np.unique(first)) / 480)
    assert share[1] > 0.95 and share[1] >= share[0]


def test_clusters_hold_at_most_leaf_items_and_places_count_from_zero():
    histories, _ = block_histories()
    codes = collaborative.fit(histories, 480, clusters=3, leaf=20)
    found = leaves(codes)
    assert max(len(leaf) for leaf in found) <= 20 == codes.metadata["leaf"]
    assert codes.metadata["leaves"] == len(found)
    assert codes.metadata["largest_leaf"] == max(len(leaf) for leaf in found)
    for items in found:
        last = [codes.codes[i, codes.lengths[i] - 1] for i in sorted(items)]
        assert last == sorted(last)


def test_the_graph_equals_counting_pairs_by_hand():
    rng = np.random.default_rng(0)
    histories = [rng.permutation(12)[: rng.integers(1, 8)] for _ in range(30)]
    whole, near = np.zeros((12, 12)), np.zeros((12, 12))
    for history in histories:
        for (p, a), (q, b) in itertools.combinations(enumerate(history.tolist()), 2):
            whole[a, b] += 1
            whole[b, a] += 1
            if q - p <= 3:
                near[a, b] += 0.5 ** (q - p - 1)
                near[b, a] += 0.5 ** (q - p - 1)
    np.testing.assert_allclose(cooccurrence(histories, 12).toarray(), whole)
    found = cooccurrence(histories, 12, window=3, decay=0.5)
    np.testing.assert_allclose(found.toarray(), near)
    degree = whole.sum(axis=1)
    by_degree = whole / np.sqrt(np.outer(degree, degree))
    np.testing.assert_allclose(weighted(cooccurrence(histories, 12), "degree").toarray(), by_degree)


def test_items_that_met_no_other_have_a_token_of_their_own():
    # Item 5 is never met, item 6 only alone.
    codes = collaborative.fit([np.array([0, 1, 2]), np.array([3, 4, 0]), np.array([6])], 7)
    assert codes.lengths.tolist() == [1, 1, 1, 1, 1, 1, 1]
    assert codes.codes[:, 0].tolist() == [0, 1, 2, 3, 4, 50, 51] and codes.sizes == (52,)
    histories, _ = block_histories()
    codes = collaborative.fit(histories, 483)
    assert codes.metadata["unmet_items"] == 3
    assert codes.lengths[480:].tolist() == [1, 1, 1]
    first = codes.codes[:, 0]
    assert all((first == first[item]).sum() == 1 for item in (480, 481, 482))
    check_prefix_free(codes)


@pytest.mark.parametrize("items", [1, 2])
def test_one_or_two_items_get_ids(items):
    codes = collaborative.fit([np.arange(items)], items)
    assert codes.codes.tolist() == [[item] for item in range(items)]


def test_groups_that_nobody_joins_are_separated_by_the_first_code():
    # 30 disjoint circles of 5 items, and one of 60.
    histories = [np.arange(5) + 5 * g for g in range(30)] + [150 + np.arange(60)]
    codes = collaborative.fit(histories, 210, clusters=10, leaf=20)
    for g in range(30):
        circle = codes.codes[5 * g : 5 * g + 5, 0]
        assert len(set(circle.tolist())) == 1
    assert not set(codes.codes[150:, 0].tolist()) & set(codes.codes[:150, 0].tolist())


def test_new_items_join_the_block_that_they_were_met_with():
    histories, block = block_histories()
    # Ten more items, of which only new users know.
    codes = collaborative.fit(histories, 480, clusters=8, leaf=80)
    together = np.zeros((16, 480))
    rng = np.random.default_rng(0)
    for new in range(16):
        together[new, rng.choice(np.flatnonzero(block == new % 8), 6)] = 1
        together[new, rng.integers(0, 480, 2)] += 1
    first = [np.bincount(codes.codes[block == b, 0]).argmax() for b in range(8)]
    for item_codes in (codes, closed(codes)):
        found = collaborative.encode(item_codes, together)
        assert found[:, 0].tolist() == [first[new % 8] for new in range(16)]
        everything = np.concatenate([item_codes.codes, found])
        assert len(np.unique(everything, axis=0)) == 496
        assert (found < item_codes.sizes).all()


def test_new_items_that_met_only_unmet_ones_still_get_an_id_that_begins_no_other():
    histories, _ = block_histories()
    codes = collaborative.fit(histories, 481, clusters=8, leaf=80)
    together = np.zeros((3, 481))
    together[:, 480] = 1
    found = collaborative.encode(codes, together)
    check_prefix_free(dataclasses.replace(codes, codes=np.concatenate([codes.codes, found])))


def test_a_full_cluster_sends_new_items_to_the_next_and_a_full_tree_refuses():
    # One cluster with places 0..3, all taken.
    codes = collaborative.fit([np.arange(4)], 4, clusters=2, leaf=4)
    with pytest.raises(ConfigError, match="no free ID for new item 0"):
        collaborative.encode(codes, np.ones((1, 4)))
    histories = [np.arange(6), np.arange(6, 11)]  # clusters of 6 and 5 items
    codes = collaborative.fit(histories, 11, clusters=2, leaf=6)
    together = np.zeros((1, 11))
    together[0, :6] = 1
    (row,) = collaborative.encode(codes, together)
    # The own cluster is full, so it is the other one's sixth place.
    assert row.tolist() == [codes.codes[6, 0], 5]
    assert opened(codes) is codes


def test_the_first_fit_of_a_process_runs_on_one_thread():
    """Threads that spin beside one another would move last bits and take several times as long."""
    code = """
import numpy as np, threadpoolctl
from jaxrec.ids import collaborative, kmeans
seen = []
def spy(function):
    def call(*args):
        found = function(*args)
        seen.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info())
        return found
    return call
collaborative.split = spy(collaborative.split)
kmeans._fit = spy(kmeans._fit)
collaborative.fit([np.arange(600)], 600)
kmeans.fit_centroids(np.random.default_rng(0).normal(size=(100, 2)), 4, 0)
assert seen and set(seen) == {1}, seen
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_hundred_thousand_items_take_seconds():
    import time

    rng = np.random.default_rng(0)
    block = rng.integers(0, 500, 50_000)
    own = 200 * block[:, None] + rng.integers(0, 200, (50_000, 8))
    histories = list(np.where(rng.random((50_000, 8)) < 0.8, own, rng.integers(0, 100_000, (1, 8))))
    begin = time.process_time()
    codes = collaborative.fit(histories, 100_000)
    assert time.process_time() - begin < 30
    assert codes.metadata["unique_share"] == 1


def test_bad_settings_are_refused():
    histories = [np.arange(4)]
    with pytest.raises(ConfigError, match="got 10 clusters and leaf 5"):
        collaborative.fit(histories, 4, leaf=5)
    with pytest.raises(ConfigError, match="weightings: counts, ppmi, degree"):
        collaborative.fit(histories, 4, weighting="tfidf")
    with pytest.raises(ConfigError, match="needs a window"):
        collaborative.fit(histories, 4, decay=0.5)
    with pytest.raises(DataError, match=r"item numbers 0\.\.3 do not fit 0\.\.1"):
        collaborative.fit(histories, 2)
    with pytest.raises(ConfigError, match="of 4 items, but co-occurrences with 3"):
        collaborative.encode(collaborative.fit(histories, 4), np.ones((1, 3)))
