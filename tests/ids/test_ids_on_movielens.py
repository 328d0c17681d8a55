"""IDs of the real MovieLens-100K (5-core, leave-one-out)."""

import numpy as np
import pytest

from jaxrec.data import k_core, load
from jaxrec.ids import ItemIndex, item_vectors, pq, repair, rq, text_vectors


@pytest.fixture
def films(real_data):
    return k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)


def texts_of(films):
    return films.items.text("title", "year", "genres")


def test_text_pq_collides_as_often_as_published(films):
    """Shares of items that share their ID, from TF-IDF and SVD of title, year and genres."""
    assert films.num_items == 1349
    vectors = text_vectors(texts_of(films), 128)
    for levels, size, share in [(8, 16, 0.285), (8, 32, 0.201), (16, 32, 0.145)]:
        codes = pq.fit(vectors, levels, size, rotate="none")
        assert codes.metadata["collision_share"] == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("scheme", [pq, rq])
def test_every_film_gets_its_own_id_and_comes_back(films, scheme):
    train = [films.history(user)[:-2] for user in range(films.num_users)]
    vectors = item_vectors(texts_of(films), train, films.num_items, 32)
    codes = repair(scheme.fit(vectors, 3, 32), vectors)
    index = ItemIndex.build(codes)
    np.testing.assert_array_equal(index.lookup(index.item_codes), np.arange(films.num_items))


def test_held_out_interactions_do_not_change_the_ids(films):
    full = [films.history(user) for user in range(films.num_users)]
    rng = np.random.default_rng(0)
    other = [np.append(h[:-2], rng.integers(0, films.num_items, 2)) for h in full]
    ids = []
    for histories in (full, other):
        train = [history[:-2] for history in histories]
        vectors = item_vectors(texts_of(films), train, films.num_items, 32)
        ids.append(repair(pq.fit(vectors, 3, 32), vectors).codes)
    np.testing.assert_array_equal(*ids)
