import numpy as np
import pytest

from jaxrec.core.errors import DataError
from jaxrec.ids import ItemCodes, collaborative, hybrid, semantic, simple
from jaxrec.ids.lengths import check_prefix_free, closed

PATHS = [["a", "x"], ["a"], ["b", "y"], ["b", "y"], ["b", "z"], []]


def prefixes(codes, cut):
    """Which items share all but the last `cut` codes: their groups, as sets."""
    found = {}
    for item, (row, length) in enumerate(zip(codes.codes.tolist(), codes.lengths, strict=True)):
        found.setdefault(tuple(row[: length - cut]), set()).add(item)
    return sorted(map(sorted, found.values()))


def test_the_last_code_gives_way_to_a_token_of_the_items_own():
    first = semantic.fit(PATHS)
    codes = hybrid.replace_last(first)
    np.testing.assert_array_equal(codes.lengths, first.lengths)
    assert prefixes(codes, 1) == prefixes(first, 1)
    for level in range(codes.levels):
        last = codes.codes[codes.lengths == level + 1, level]
        inner = codes.codes[codes.lengths > level + 1, level]
        # Nobody else has it, as a place or as a category.
        assert len(set(last.tolist())) == len(last)
        assert not set(last.tolist()) & set(inner.tolist())
    check_prefix_free(codes)


def test_an_appended_token_makes_colliding_ids_unique():
    codes = hybrid.append_item(
        ItemCodes(codes=np.array([[1, 2], [1, 2], [0, 2]]), sizes=(2, 3), scheme="pq")
    )
    assert codes.codes.tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 2]]
    assert codes.metadata["how"] == "append_item" and codes.metadata["parts"] == ["pq"]
    assert codes.metadata["unique_share"] == 1


def test_joined_ids_hold_the_path_of_the_first_and_the_whole_of_the_second():
    first = semantic.fit(PATHS)
    second = ItemCodes(
        codes=np.array([[0, 0], [0, 1], [0, 2], [1, -1], [2, 0], [2, 1]]),
        sizes=(3, 3),
        scheme="test",
    )
    codes = hybrid.join(first, second)
    np.testing.assert_array_equal(codes.lengths, first.lengths - 1 + second.lengths)
    check_prefix_free(codes)
    # Items 2 and 3 are alike in the first scheme's path, 4 and 5 in the second's first code.
    assert codes.codes[2, :2].tolist() == codes.codes[3, :2].tolist()
    assert codes.codes[2, 2] != codes.codes[3, 2]
    whole = hybrid.join(first, second, keep_last=True)
    np.testing.assert_array_equal(whole.lengths, first.lengths + second.lengths)


def test_equal_codes_of_the_second_scheme_stay_equal_at_any_place():
    first = semantic.fit([["a"], ["b"], ["a"]])  # all paths of one length
    second = simple.sequential([np.arange(3)], 3, base=2)  # 00 01 10
    codes = hybrid.join(first, second).codes
    assert codes[0, 1] == codes[1, 1] != codes[2, 1]
    assert codes[0, 2] == codes[2, 2] != codes[1, 2]


def test_closed_ids_are_opened_first():
    first = semantic.fit(PATHS)
    for one, other in (
        (hybrid.replace_last(closed(first)), hybrid.replace_last(first)),
        (hybrid.append_item(closed(first)), hybrid.append_item(first)),
        (hybrid.join(closed(first), closed(first)), hybrid.join(first, first)),
    ):
        np.testing.assert_array_equal(one.codes, other.codes)
        assert one.sizes == other.sizes


def test_collaborative_paths_end_in_own_tokens():
    rng = np.random.default_rng(0)
    histories = [20 * rng.integers(4) + rng.choice(20, 6, replace=False) for _ in range(300)]
    first = collaborative.fit(histories, 81, clusters=4, leaf=10)
    codes = hybrid.replace_last(first)
    assert codes.metadata["unique_share"] == 1
    assert prefixes(codes, 1) == prefixes(first, 1)
    check_prefix_free(codes)


def test_schemes_of_different_items_are_refused():
    with pytest.raises(DataError, match="one scheme has 3 items and the other 6"):
        hybrid.join(simple.independent(3), semantic.fit(PATHS))
