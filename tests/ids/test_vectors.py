import numpy as np
import pytest

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import collaborative_vectors, item_vectors, reduced_vectors, text_vectors

TEXTS = ["star wars space", "space star trek", "", "romantic comedy", "a romantic drama", "M"]


def test_text_vectors_are_unit_rows_and_like_texts_are_near():
    vectors = text_vectors(TEXTS, 5)
    norms = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(norms, [1, 1, 0, 1, 1, 1], atol=1e-6)
    cosine = vectors @ vectors.T
    assert cosine[0, 1] > 0.2 > abs(cosine[0, 3])
    np.testing.assert_array_equal(vectors, text_vectors(TEXTS, 5))


def test_a_width_beyond_the_rank_is_filled_with_zeros():
    vectors = text_vectors(TEXTS, 40)
    assert vectors.shape == (6, 40) and not vectors[:, 6:].any()
    assert not text_vectors(["", ""], 3).any()


def test_items_met_together_are_near_and_unseen_items_are_zero():
    # Two circles of users, items 0-5 and 6-11; item 12 is only met alone, item 13 never.
    rng = np.random.default_rng(0)
    histories = [rng.permutation(6)[:3] + 6 * (user % 2) for user in range(40)]
    vectors = collaborative_vectors([*histories, np.array([12])], 14, 4)
    cosine = vectors @ vectors.T
    within = [cosine[:6, :6], cosine[6:12, 6:12]]
    assert min(w.mean() for w in within) > 0.3 > np.abs(cosine[:6, 6:12]).max()
    assert not vectors[12:].any()


def test_the_inner_product_of_joined_vectors_is_the_weighted_mean_of_cosines():
    histories = [np.array(h) for h in ([0, 1, 2, 5], [2, 1, 0], [3, 4], [4, 3, 5])]
    joined = item_vectors(TEXTS, histories, 6, 6, text_weight=0.3)
    text, together = text_vectors(TEXTS, 6), collaborative_vectors(histories, 6, 6)
    expected = 0.3 * text @ text.T + 0.7 * together @ together.T
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-5)
    np.testing.assert_allclose(item_vectors(TEXTS, None, 6, 6, text_weight=1), text)
    np.testing.assert_allclose(item_vectors(None, histories, 6, 6, text_weight=0), together)


@pytest.mark.parametrize(("items", "width", "dim"), [(200, 40, 8), (30, 40, 12)])
def test_reduced_vectors_have_the_cosines_of_scikit_learns_truncated_svd(items, width, dim):
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    rng = np.random.default_rng(0)
    # Falling singular values, as those of text vectors: all solvers then agree.
    vectors = rng.normal(size=(items, width)) * 0.7 ** np.arange(width)
    vectors[3] = 0
    svd = TruncatedSVD(dim, algorithm="arpack", random_state=0)
    expected = normalize(svd.fit_transform(normalize(vectors)))
    found = reduced_vectors(vectors, dim)
    assert found.dtype == np.float32 and found.shape == (items, dim)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)
    assert not found[3].any()
    np.testing.assert_array_equal(found, reduced_vectors(vectors, dim))
    # New rows lie where the axes of the others put them, and move none of these.
    new = rng.normal(size=(7, width)) * 0.7 ** np.arange(width)
    both = reduced_vectors(vectors, dim, new=new)
    np.testing.assert_array_equal(both[:items], found)
    placed = normalize(svd.transform(normalize(new)))
    np.testing.assert_allclose(both[items:] @ found.T, placed @ expected.T, atol=1e-5)


def test_new_texts_are_placed_by_the_words_of_the_others():
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    new = [TEXTS[0], TEXTS[1] + " unheardof", "unheardof", ""]
    found = text_vectors(TEXTS, 3, new=new)
    np.testing.assert_array_equal(found[: len(TEXTS)], text_vectors(TEXTS, 3))
    np.testing.assert_allclose(found[len(TEXTS)], found[0], atol=1e-6)
    assert not found[-2:].any()
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    matrix = words.fit_transform(TEXTS)
    svd = TruncatedSVD(3, algorithm="arpack", random_state=0).fit(matrix)
    placed = normalize(svd.transform(words.transform(new[1:2])))
    theirs = placed @ normalize(svd.transform(matrix)).T
    ours = found[len(TEXTS) + 1] @ found[: len(TEXTS)].T
    np.testing.assert_allclose(ours[None], theirs, atol=1e-5)


def test_reduced_vectors_beyond_the_rank_are_the_vectors():
    vectors = np.random.default_rng(0).normal(size=(5, 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = reduced_vectors(vectors, 7)
    np.testing.assert_allclose(found @ found.T, unit @ unit.T, atol=1e-6)
    assert not found[:, 3:].any()
    for bad in (np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(DataError, match="finite numbers"):
            reduced_vectors(bad, 2)


def test_text_vectors_can_be_handed_in_instead_of_texts():
    histories = [np.array(h) for h in ([0, 1, 2, 5], [2, 1, 0], [3, 4], [4, 3, 5])]
    vectors = text_vectors(TEXTS, 6)
    given = item_vectors(vectors, histories, 6, 6, text_weight=0.3)
    np.testing.assert_array_equal(given, item_vectors(TEXTS, histories, 6, 6, text_weight=0.3))
    with pytest.raises(DataError, match="5 texts for 6 items"):
        item_vectors(vectors[:5], histories, 6, 6)


def test_bad_input_is_refused():
    histories = [np.array([0, 9])]
    with pytest.raises(DataError, match=r"item numbers 0\.\.9 do not fit 0\.\.4"):
        collaborative_vectors(histories, 5, 2)
    with pytest.raises(DataError, match="no training interactions"):
        collaborative_vectors([np.zeros(0, int)], 5, 2)
    with pytest.raises(DataError, match="no training interactions"):
        collaborative_vectors([], 5, 2)
    with pytest.raises(ConfigError, match="needs a window"):
        collaborative_vectors(histories, 10, 2, decay=0.5)
    with pytest.raises(ConfigError, match="window must be"):
        collaborative_vectors(histories, 10, 2, window=0)
    with pytest.raises(ConfigError, match="dim must be"):
        text_vectors(TEXTS, 0)
    with pytest.raises(ConfigError, match="text_weight"):
        item_vectors(TEXTS, histories, 6, 2, text_weight=2)
    with pytest.raises(ConfigError, match="needs texts"):
        item_vectors(None, histories, 6, 2)
    with pytest.raises(DataError, match="1 texts for 6 items"):
        item_vectors(["a"], histories, 6, 2)
