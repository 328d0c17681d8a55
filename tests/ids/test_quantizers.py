import numpy as np
import pytest

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import code_statistics, pq, rq


def clustered(items=600, width=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, width))
    scale = np.linspace(2, 0.2, width)
    return scale * (centres[rng.integers(0, 30, items)] + 0.3 * rng.normal(size=(items, width)))


@pytest.mark.parametrize("fit", [pq.fit, rq.fit])
def test_distortion_falls_with_more_codes_and_more_levels(fit):
    vectors = clustered()
    by_size = [fit(vectors, 4, c).metadata["distortion"] for c in (2, 8, 32)]
    by_level = [fit(vectors, l, 8).metadata["distortion"] for l in (1, 2, 4, 8)]
    assert by_size == sorted(by_size, reverse=True) and by_size[-1] < 0.5 * by_size[0]
    assert by_level == sorted(by_level, reverse=True) and by_level[-1] < 0.5 * by_level[0]


@pytest.mark.parametrize("rotate", ["none", "balanced", "opq"])
def test_each_pq_code_is_the_nearest_centroid_of_its_segment(rotate):
    vectors = clustered(width=10)
    codes = pq.fit(vectors, 3, 8, rotate=rotate)
    books = codes.codebooks
    turned = (vectors - books["mean"]) @ books["rotation"]
    for level, columns in enumerate(np.array_split(np.arange(10), 3)):
        difference = turned[:, None, columns] - books[f"centroids_{level}"]
        np.testing.assert_array_equal((difference**2).sum(-1).argmin(1), codes.codes[:, level])
    np.testing.assert_allclose(books["rotation"] @ books["rotation"].T, np.eye(10), atol=1e-9)


def test_each_rq_code_is_the_nearest_centroid_to_the_residual():
    vectors = clustered()
    codes = rq.fit(vectors, 3, 8)
    residual = vectors - codes.codebooks["mean"]
    for level in range(3):
        book = codes.codebooks[f"centroids_{level}"]
        found = ((residual[:, None] - book) ** 2).sum(-1).argmin(1)
        np.testing.assert_array_equal(found, codes.codes[:, level])
        residual = residual - book[found]
    np.testing.assert_allclose(rq.decode(codes, codes.codes), vectors - residual, atol=1e-9)


@pytest.mark.parametrize("scheme", [pq, rq])
def test_encode_gives_the_fitted_codes_and_takes_new_items(scheme):
    vectors = clustered()
    codes = scheme.fit(vectors[:500], 4, (16, 8, 8, 4))
    np.testing.assert_array_equal(scheme.encode(codes, vectors[:500]), codes.codes)
    new = scheme.encode(codes, vectors[500:])
    assert new.shape == (100, 4) and (new < codes.sizes).all()
    error = ((scheme.decode(codes, new) - vectors[500:]) ** 2).sum()
    assert error < 0.6 * ((vectors[500:] - vectors.mean(0)) ** 2).sum()
    with pytest.raises(ConfigError, match="width 16, got width 5"):
        scheme.encode(codes, vectors[:, :5])


def test_opq_distorts_less_than_plain_segments():
    # Correlated columns: what plain segments cannot use.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(800, 12)) * np.linspace(3, 0.1, 12)
    vectors = vectors @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    plain, opq = (pq.fit(vectors, 4, 16, rotate=r).metadata["distortion"] for r in ("none", "opq"))
    assert opq < 0.9 * plain


def test_distortion_matches_faiss():
    faiss = pytest.importorskip("faiss")
    vectors = clustered(4000, 32).astype(np.float32)
    theirs = faiss.ProductQuantizer(32, 4, 6)
    theirs.train(vectors)
    back = theirs.decode(theirs.compute_codes(vectors))
    error = ((vectors - back) ** 2).sum() / ((vectors - vectors.mean(0)) ** 2).sum()
    ours = pq.fit(vectors, 4, 64, rotate="none").metadata["distortion"]
    assert ours == pytest.approx(error, rel=0.05)


@pytest.mark.parametrize("fit", [pq.fit, rq.fit])
def test_equal_seeds_give_equal_codes_and_other_seeds_others(fit):
    vectors = clustered()
    np.testing.assert_array_equal(fit(vectors, 4, 16).codes, fit(vectors, 4, 16).codes)
    assert (fit(vectors, 4, 16, seed=9).codes != fit(vectors, 4, 16).codes).any()


@pytest.mark.parametrize("fit", [pq.fit, rq.fit])
def test_renumbering_items_changes_nothing_beyond_seed_noise(fit):
    vectors = clustered()
    order = np.random.default_rng(5).permutation(len(vectors))
    seeds = [fit(vectors, 4, 16, seed=s).metadata["distortion"] for s in range(5)]
    moved = fit(vectors[order], 4, 16).metadata["distortion"]
    spread = max(seeds) - min(seeds)
    assert min(seeds) - spread <= moved <= max(seeds) + spread


@pytest.mark.parametrize("fit", [pq.fit, rq.fit])
def test_fewer_distinct_vectors_than_codes_is_fine(fit):
    codes = fit(np.eye(4).repeat(2, axis=0), 2, 16)
    found = code_statistics(codes.codes, codes.sizes)
    assert found["must_move"] >= 4 and codes.metadata["distortion"] < 1e-12


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match="5 levels need vectors of width 5"):
        pq.fit(np.zeros((3, 4)), 5, 2)
    with pytest.raises(ConfigError, match="rotations: none, balanced, opq"):
        pq.fit(np.zeros((3, 4)), 2, 2, rotate="pca")
    with pytest.raises(DataError, match="item 1 has entries that are not finite"):
        rq.fit(np.array([[0.0], [np.nan]]), 1, 2)
    with pytest.raises(DataError, match="shape"):
        pq.fit(np.zeros((0, 4)), 2, 2)
