import dataclasses
import itertools

import numpy as np
import pytest

from jaxrec.core.errors import ConfigError
from jaxrec.ids import ItemIndex, collaborative, pq, repair, rq, rqvae, simple, svd
from jaxrec.ids.lengths import closed
from jaxrec.ids.new_items import encode_items

QUICK = rqvae.RqVaeConfig(latent=8, hidden=(32,), warmup=200, steps=300, batch_size=128)


def vectors_of(items=300, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, 8))
    return centres[rng.integers(0, 20, items)] + 0.3 * rng.normal(size=(items, 8))


def with_new(item_codes, new):
    return dataclasses.replace(item_codes, codes=np.concatenate([item_codes.codes, new]))


@pytest.mark.parametrize("method", ["next_free", "suffix"])
@pytest.mark.parametrize("scheme", ["pq", "rq", "rqvae"])
def test_new_items_get_free_ids_near_those_of_their_vectors(scheme, method):
    fit = {"pq": pq.fit, "rq": rq.fit, "rqvae": lambda *a: rqvae.fit(*a, config=QUICK)}[scheme]
    vectors = vectors_of()
    codes = repair(fit(vectors[:200], 3, 16), vectors[:200], method)
    new = encode_items(codes, vectors[200:])
    index = ItemIndex.build(with_new(codes, new))
    np.testing.assert_array_equal(index.lookup(index.item_codes), np.arange(300))
    module = {"pq": pq, "rq": rq, "rqvae": rqvae}[scheme]
    wish = module.encode(codes, vectors[200:])
    taken = {tuple(row) for row in codes.codes[:, :3].tolist()}
    for row, mine in zip(new.tolist(), wish.tolist(), strict=True):
        # Whose wish nobody else has, gets it.
        if tuple(mine) not in taken and wish.tolist().count(mine) == 1:
            assert row[:3] == mine
    # Far nearer than any other free ID would be.
    error = ((vectors[200:] - module.decode(codes, new)) ** 2).sum(axis=1)
    elsewhere = simple.random(100, 3, 16).codes
    assert (
        error.mean() < 0.3 * ((vectors[200:] - module.decode(codes, elsewhere)) ** 2).sum(1).mean()
    )


def test_a_taken_id_gives_way_to_the_nearest_free_one():
    vectors = vectors_of(40)
    codes = repair(pq.fit(vectors, 2, 12), vectors)
    new = encode_items(codes, vectors[:1])
    grid = np.array(list(itertools.product(range(12), range(12))))
    error = ((vectors[0] - pq.decode(codes, grid)) ** 2).sum(axis=1)
    taken = set(map(tuple, codes.codes.tolist()))
    best = next(row for row in grid[error.argsort()].tolist() if tuple(row) not in taken)
    assert new.tolist() == [best]


def test_equal_codes_take_the_next_free_suffix():
    vectors = np.repeat(vectors_of(30), [4] * 10 + [1] * 20, axis=0)
    codes = repair(rq.fit(vectors, 2, 10), vectors, "suffix")
    alike = (codes.codes[:, None, :2] == codes.codes[None, :, :2]).all(axis=2).sum(axis=1)
    one = int(alike.argmin())
    assert alike[one] == 1 and codes.sizes[2] >= 4
    new = encode_items(codes, np.repeat(vectors[[one]], 2, axis=0))
    np.testing.assert_array_equal(new[:, :2], np.repeat(codes.codes[[one], :2], 2, axis=0))
    assert new[:, 2].tolist() == [1, 2]
    # Where all suffixes are taken, nobody gets a second one.
    (full,) = encode_items(codes, vectors[[int(alike.argmax())]])
    assert tuple(full) not in set(map(tuple, codes.codes.tolist()))


def test_the_first_of_two_equal_new_items_gets_the_wish():
    vectors = vectors_of(60)
    codes = repair(pq.fit(vectors[:50], 3, 16), vectors[:50])
    twins = np.repeat(vectors[55:56], 3, axis=0)
    new = encode_items(codes, twins)
    assert len(np.unique(new, axis=0)) == 3
    np.testing.assert_array_equal(new[:1], encode_items(codes, twins[:1]))


def test_items_are_coded_by_who_met_them():
    rng = np.random.default_rng(0)
    popularity = rng.lognormal(size=80)
    train = [rng.choice(80, 12, replace=False, p=popularity / popularity.sum()) for _ in range(150)]
    met = svd.columns(train, 80)
    codes = svd.fit(train, 80, 3, 16)
    codes = repair(codes, svd.coordinates(codes, met))
    # The users of item 7 meet its twin: the twin's ID is the one nearest to it that is free.
    for column in (met[[7]], met[[7]].toarray()):
        (new,) = encode_items(codes, column)
        assert tuple(new) not in set(map(tuple, codes.codes.tolist()))
        x = svd.coordinates(codes, met[[7]])
        grid = np.array(list(itertools.product(range(16), repeat=3)))
        error = ((x - svd.decode(codes, grid)) ** 2).sum(axis=1)
        taken = set(map(tuple, codes.codes.tolist()))
        free = np.array([tuple(row) not in taken for row in grid.tolist()])
        assert error[(grid == new).all(axis=1)][0] == pytest.approx(error[free].min())


def test_items_are_coded_by_what_they_were_met_with():
    rng = np.random.default_rng(0)
    train = [20 * rng.integers(4) + rng.choice(20, 6, replace=False) for _ in range(300)]
    codes = closed(collaborative.fit(train, 80, clusters=4, leaf=30))
    together = np.zeros((4, 80))
    for new in range(4):
        together[new, 20 * new : 20 * new + 5] = 1
    found = encode_items(codes, together)
    assert found[:, 0].tolist() == [codes.codes[20 * new, 0] for new in range(4)]
    ItemIndex.build(with_new(codes, found))


def test_schemes_without_codebooks_and_full_grids_are_refused():
    with pytest.raises(ConfigError, match=r"'random' IDs have no codebooks .* pq, rq, rqvae, svd"):
        encode_items(simple.random(5, 2, 3), np.zeros((1, 2)))
    vectors = vectors_of(16)
    codes = repair(pq.fit(vectors, 2, 4), vectors)
    with pytest.raises(ConfigError, match="17 items do not fit into 4 x 4 = 16 IDs"):
        encode_items(codes, vectors[:1])
    with pytest.raises(ConfigError, match="width 8, got width 3"):
        encode_items(repair(pq.fit(vectors, 2, 8), vectors), np.zeros((1, 3)))
