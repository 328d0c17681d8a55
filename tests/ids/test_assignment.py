"""Codes of rows by pieces: those of all rows at once, and in the same type, by every engine."""

import pickle

import numpy as np
import pytest

from jaxrec.ids import assignment, kmeans, pq, rq, rqvae


class Elsewhere:
    """An engine whose worker gets everything as bytes, and does the last piece first."""

    def __init__(self):
        self.pieces = 0

    def map(self, job, pieces):
        work = pickle.loads(pickle.dumps(job))()
        for number in range(len(pieces))[::-1]:
            self.pieces += 1
            yield number, work(pickle.loads(pickle.dumps(pieces[number])))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(kmeans, "_CHUNK", 64)
    monkeypatch.setattr(assignment, "_ROWS", 128)


@pytest.mark.parametrize("large", [100, 1 << 20])
def test_pieces_get_the_codes_of_brute_force(monkeypatch, large):
    monkeypatch.setattr(kmeans, "_LARGE", large)
    rng = np.random.default_rng(0)
    vectors, centroids = rng.normal(size=(500, 6)), rng.normal(size=(9, 6))
    engine = Elsewhere()
    codes = assignment.assign(vectors, centroids, engine)
    assert engine.pieces == 4 and codes.dtype == np.int32
    distances = ((vectors[:, None] - centroids[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(codes, distances.argmin(axis=1))
    np.testing.assert_array_equal(codes, kmeans.nearest(vectors, centroids))


def test_the_type_is_that_of_all_rows(monkeypatch):
    """Two centroids differ only beyond float32, in which ties go to the first."""
    vectors, centroids = np.ones((500, 1)), np.array([[1 + 1e-6], [1.0]])
    assert set(assignment.assign(vectors, centroids, Elsewhere())) == {1}
    # Each piece is small, and all rows are not.
    monkeypatch.setattr(kmeans, "_LARGE", 200)
    assert set(assignment.assign(vectors, centroids, Elsewhere())) == {0}


def test_few_rows_stay_here():
    engine = Elsewhere()
    assignment.assign(np.ones((128, 1)), np.ones((1, 1)), engine)
    assert engine.pieces == 0


@pytest.mark.parametrize(
    ("module", "options"),
    [(pq, {}), (rq, {}), (rqvae, {"config": rqvae.RqVaeConfig(latent=4, warmup=2, steps=5)})],
)
def test_quantizers_give_the_same_ids_by_every_engine(module, options):
    vectors = np.random.default_rng(1).normal(size=(300, 8))
    engine = Elsewhere()
    here, there = (
        module.fit(vectors, 2, 8, seed=3, **options, **more) for more in ({}, {"engine": engine})
    )
    assert engine.pieces == 2 * 3
    np.testing.assert_array_equal(here.codes, there.codes)
    assert here.metadata == there.metadata
