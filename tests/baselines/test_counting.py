import itertools

import jax
import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from jaxrec.baselines import cooccurrence, item_knn, markov, pair_table, popularity
from jaxrec.core.errors import ConfigError, DataError, ResourceError

MODELS = [popularity, item_knn, markov, cooccurrence]
ITEMS = 12


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    return [rng.permutation(ITEMS - 1)[: rng.integers(1, ITEMS)] for _ in range(40)]  # 11: never


def left_padded(histories, width):
    batch = np.full((len(histories), width), -1, np.int32)
    for row, items in enumerate(histories):
        if len(items):
            batch[row, -len(items) :] = items[-width:]
    return {"history": batch}


def scores_of(model, train, histories, width=12, **settings):
    return np.asarray(
        model.scores(model.fit(train, ITEMS), left_padded(histories, width), **settings)
    )


def test_popularity_counts_interactions(train):
    scores = scores_of(popularity, train, [[1], []])
    for item in range(ITEMS):
        assert (scores[:, item] == sum(int((s == item).sum()) for s in train)).all()


def test_markov_counts_neighbours_and_breaks_ties_by_popularity(train):
    scores = scores_of(markov, train, [[4, 7], [7], []])
    count = [sum(list(s).count(j) for s in train) for j in range(ITEMS)]
    for j in range(ITEMS):
        followed = sum((a, b) == (7, j) for s in train for a, b in itertools.pairwise(s))
        expected = followed + count[j] / (1 + max(count))
        assert scores[0, j] == scores[1, j] == pytest.approx(expected)
        assert scores[2, j] == pytest.approx(count[j] / (1 + max(count)))


def test_item_knn_without_shrinkage_is_the_cosine_of_scikit_learn(train):
    met = np.zeros((len(train), ITEMS))
    for user, items in enumerate(train):
        met[user, items] = 1
    expected = cosine_similarity(met.T)
    np.fill_diagonal(expected, 0)
    similarity = item_knn.fit(train, ITEMS, shrinkage=0)["similarity"]
    np.testing.assert_allclose(similarity, expected, atol=1e-6)


def test_item_knn_hand_computed():
    # Users of item 0: a b c; of 1: a b; of 2: c. Shared: 01 two, 02 one, 12 none.
    train = [np.array([0, 1, 0]), np.array([1, 0]), np.array([2, 0])]
    s01, s02 = 2 / (np.sqrt(3 * 2) + 20), 1 / (np.sqrt(3 * 1) + 20)
    params = item_knn.fit(train, 3)
    np.testing.assert_allclose(
        params["similarity"], [[0, s01, s02], [s01, 0, 0], [s02, 0, 0]], rtol=1e-6
    )
    batch = {"history": np.array([[-1, 0], [1, 2], [-1, -1]], np.int32)}
    whole = np.asarray(item_knn.scores(params, batch))
    np.testing.assert_allclose(whole, [[0, s01, s02], [s01 + s02, 0, 0], [0, 0, 0]], rtol=1e-6)
    last = np.asarray(item_knn.scores(params, batch, last=1))
    np.testing.assert_allclose(last, [[0, s01, s02], [s02, 0, 0], [0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("window", [1, 3, 30])
def test_forward_counts_equal_a_loop_over_all_pairs(train, window):
    counts = pair_table.forward_counts(train, ITEMS, lambda d: 1 / d, window).toarray()
    expected = np.zeros((ITEMS, ITEMS))
    for items in train:
        for place, i in enumerate(items):
            for later in range(place + 1, min(place + window, len(items) - 1) + 1):
                expected[i, items[later]] += 1 / (later - place)
    np.testing.assert_allclose(counts, expected, rtol=1e-6)


def test_cooccurrence_hand_computed():
    # Pairs: 0>1 d=1, 0>2 d=2, 1>2 d=1, 2>0 d=1. With κ = 1/2 the rows are divided by 2, 1.5, 1.5.
    train = [np.array([0, 1, 2]), np.array([2, 0])]
    params = cooccurrence.fit(train, 3, window=2, smoothing=0.5)
    p = np.array([[0, 1 / 2, 1 / 4], [0, 0, 2 / 3], [2 / 3, 0, 0]])
    np.testing.assert_allclose(params["follows"], p, rtol=1e-6)
    n = np.array([2, 1, 2])
    batch = {"history": np.array([[2, 0, 1], [-1, -1, 2], [-1, -1, -1]], np.int32)}
    settings = {"last": 2, "decay": 0.1, "popularity_weight": 0.01}
    scores = np.asarray(cooccurrence.scores(params, batch, **settings))
    expected = np.stack([p[1] + 0.1 * p[0], p[2], np.zeros(3)]) + 0.01 * n
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_scores_do_not_depend_on_padding(model, train):
    histories = [[1, 2, 3], [5], []]
    narrow = scores_of(model, train, histories, width=3)
    np.testing.assert_array_equal(scores_of(model, train, histories, width=12), narrow)


@pytest.mark.parametrize("model", MODELS)
def test_scores_under_jit_and_in_any_batch_are_the_same(model, train):
    params = model.fit(train, ITEMS)
    batch = left_padded([[1, 2, 3], [5], [], [9, 0]], 5)
    eager = np.asarray(model.scores(params, batch))
    assert eager.shape == (4, ITEMS) and eager.dtype == np.float32
    np.testing.assert_allclose(jax.jit(model.scores)(params, batch), eager, rtol=1e-6)
    for row in range(4):
        one = model.scores(params, {"history": batch["history"][row : row + 1]})
        np.testing.assert_array_equal(np.asarray(one)[0], eager[row])


@pytest.mark.parametrize("model", MODELS)
def test_items_outside_the_catalogue_are_refused(model):
    with pytest.raises(DataError, match=r"item 3 is outside 0\.\.2"):
        model.fit([np.array([0, 3])], 3)
    with pytest.raises(DataError, match=r"item -1 is outside"):
        model.fit([np.array([0, -1])], 3)


@pytest.mark.parametrize("model", MODELS)
def test_nothing_to_count_is_refused(model):
    with pytest.raises(DataError, match="no training interactions"):
        model.fit([np.array([], int)], 3)


PAIRS = [(item_knn, "similarity"), (markov, "transitions"), (cooccurrence, "follows")]


@pytest.mark.parametrize(("model", "table"), PAIRS)
def test_sparse_tables_and_their_scores_equal_the_dense_ones_exactly(model, table, train):
    dense, sparse = model.fit(train, ITEMS), model.fit(train, ITEMS, sparse=True)
    np.testing.assert_array_equal(sparse[table].toarray(), dense[table])
    batch = left_padded([[1, 2, 3, 1], [5], [], [9, 0], list(range(12))], 12)
    np.testing.assert_array_equal(model.scores(sparse, batch), model.scores(dense, batch))


@pytest.mark.parametrize(("model", "table"), PAIRS)
def test_a_large_catalogue_takes_memory_for_its_pairs_alone(model, table):
    train = [np.array([0, 199_999]), np.array([0, 7])]
    params = model.fit(train, 200_000)
    assert params[table].nnz <= 7
    scores = np.asarray(model.scores(params, {"history": np.array([[-1, 0]])}))
    assert scores.shape == (1, 200_000)
    assert scores[0, 7] == scores[0, 199_999] > scores[0, 1]
    with pytest.raises(ConfigError, match="a dense table of 200,000 items takes 160 GB"):
        model.fit(train, 200_000, sparse=False)


@pytest.mark.parametrize(("model", "table"), PAIRS)
def test_too_many_pairs_are_refused(model, table, train, monkeypatch):
    monkeypatch.setattr(pair_table, "MAX_PAIRS", 20)
    with pytest.raises(ResourceError, match="more than 20 pairs of items does not fit"):
        model.fit(train, ITEMS)


def test_similarities_do_not_depend_on_the_blocks_that_they_are_counted_in(train, monkeypatch):
    whole = item_knn.fit(train, ITEMS)["similarity"]
    monkeypatch.setattr(item_knn, "_PAIRS_AT_ONCE", 15)
    np.testing.assert_array_equal(item_knn.fit(train, ITEMS)["similarity"], whole)


def test_bad_settings_are_refused(train):
    params = item_knn.fit(train, ITEMS)
    with pytest.raises(ConfigError, match="last must be at least 1, got 0"):
        item_knn.scores(params, left_padded([[1]], 3), last=0)
    with pytest.raises(ConfigError, match="shrinkage must be >= 0, got -1"):
        item_knn.fit(train, ITEMS, shrinkage=-1)
    with pytest.raises(ConfigError, match="window 0"):
        cooccurrence.fit(train, ITEMS, window=0)
    with pytest.raises(ConfigError, match=r"decay .* got 1\.5"):
        cooccurrence.scores(cooccurrence.fit(train, ITEMS), left_padded([[1]], 3), decay=1.5)


def test_rare_items_without_followers_score_zero():
    params = cooccurrence.fit([np.array([0, 1])], 3, smoothing=0)
    np.testing.assert_array_equal(params["follows"], [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
