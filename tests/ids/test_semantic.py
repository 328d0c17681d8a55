import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import ItemIndex, semantic
from jaxrec.ids.lengths import check_prefix_free, closed

paths_of = st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1, max_size=40)


def ids(codes):
    return [[code for code in row if code >= 0] for row in codes.codes.tolist()]


def test_ids_are_those_of_the_drawing():
    paths = [
        ["Makeup", "Nails"],
        ["Hair", "Tools"],
        ["Makeup"],
        ["Makeup", "Nails"],
        ["Makeup", "Tools"],
        [],
    ]
    codes = semantic.fit(paths)
    # Level 0: Hair 0, Makeup 1, a place right below the root 2.
    # Level 1: Hair Tools 0, Makeup Nails 1, Makeup Tools 2, a place right below Makeup 3.
    assert ids(codes) == [[1, 1, 0], [0, 0, 0], [1, 3], [1, 1, 1], [1, 2, 0], [2]]
    assert codes.sizes == (3, 4, 2)


def test_without_the_tree_a_name_is_one_code_at_each_level():
    paths = [["Makeup", "Tools"], ["Hair", "Tools"], ["Hair", "Dye"]]
    assert ids(semantic.fit(paths)) == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]
    assert ids(semantic.fit(paths, tree=False)) == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


@settings(max_examples=60, deadline=None)
@given(paths_of, st.booleans(), st.sampled_from([None, 1, 2]))
def test_ids_are_unique_prefix_free_and_share_as_much_as_their_categories(paths, tree, depth):
    codes = semantic.fit(paths, tree=tree, max_depth=depth)
    check_prefix_free(codes)
    assert codes.metadata["unique_share"] == 1
    shared = len(codes.metadata["shared"])
    cut = [path[shared:][:depth] for path in paths]
    for a, path in zip(ids(codes), cut, strict=True):
        assert len(a) == len(path) + 1
        for b, other in zip(ids(codes), cut, strict=True):
            common = next(
                (n for n, (x, y) in enumerate(zip(path, other, strict=False)) if x != y),
                min(len(path), len(other)),
            )
            assert a[:common] == b[:common]
            if common < min(len(path), len(other)):
                assert a[common] != b[common]


def test_categories_that_all_items_share_are_left_out():
    codes = semantic.fit([["Beauty", "Hair"], ["Beauty", "Makeup"], ["Beauty"]])
    assert codes.metadata["shared"] == ["Beauty"]
    assert ids(codes) == [[0, 0], [1, 0], [2]]


def test_renumbering_the_items_changes_places_alone():
    rng = np.random.default_rng(0)
    paths = [[str(rng.integers(3)), str(rng.integers(5))] for _ in range(60)]
    order = rng.permutation(60)
    plain, moved = semantic.fit(paths), semantic.fit([paths[i] for i in order])
    np.testing.assert_array_equal(moved.codes[:, :-1], plain.codes[order, :-1])


def test_real_categories_give_every_product_its_id(real_data):
    with gzip.open(real_data("amazon-beauty") / "items.jsonl.gz", "rt") as file:
        paths = [json.loads(line)["categories"][0] for line in file]
    codes = semantic.fit(paths)
    assert codes.num_items == 12101
    distinct = len({tuple(path[:2]) for path in paths if len(path) > 1})
    assert len(np.unique(codes.codes[[len(p) > 1 for p in paths], 0])) == distinct
    index = ItemIndex.build(closed(codes))
    np.testing.assert_array_equal(index.lookup(index.item_codes), np.arange(12101))


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="item 1 are one string, 'Hair'"):
        semantic.fit([["Hair"], "Hair"])
    with pytest.raises(DataError, match="one category path per item"):
        semantic.fit([])
    with pytest.raises(ConfigError, match="max_depth must be at least 1"):
        semantic.fit([["a"]], max_depth=0)
