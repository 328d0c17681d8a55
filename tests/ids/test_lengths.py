"""IDs of different lengths, against Python tuples."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import IdVocabulary, ItemCodes, ItemIndex, code_statistics, repair, write_histories
from jaxrec.ids.lengths import (
    check_prefix_free,
    closed,
    is_closed,
    number_tokens,
    opened,
    pad_rows,
)

quick = settings(max_examples=60, deadline=None)


@st.composite
def ragged(draw, unique=False):
    """ItemCodes of random IDs, some of them equal or the beginning of another."""
    levels = draw(st.integers(1, 4))
    sizes = tuple(draw(st.integers(1, 4)) for _ in range(levels))
    code = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    row = st.tuples(code, st.integers(1, levels)).map(lambda pair: pair[0][: pair[1]])
    rows = draw(st.lists(row, min_size=1, max_size=40, unique=unique))
    padded = np.full((len(rows), levels), -1)
    for item, row in enumerate(rows):
        padded[item, : len(row)] = row
    return ItemCodes(
        codes=padded,
        sizes=sizes,
        scheme="test",
        metadata={"colour": "red", **code_statistics(padded, sizes)},
    )


def tuples(codes):
    return [tuple(code for code in row if code >= 0) for row in codes.tolist()]


@quick
@given(ragged())
def test_opening_undoes_closing_and_closing_twice_is_closing_once(item_codes):
    shut = closed(item_codes)
    again = opened(shut)
    np.testing.assert_array_equal(again.codes, item_codes.codes)
    assert (again.sizes, again.metadata) == (item_codes.sizes, item_codes.metadata)
    assert closed(shut) is shut and opened(again) is again
    assert is_closed(shut) == (item_codes.lengths.min() < item_codes.levels)


@quick
@given(ragged())
def test_end_is_one_code_more_where_an_id_has_ended(item_codes):
    shut, ids = closed(item_codes), tuples(item_codes.codes)
    for level, (old, new) in enumerate(zip(item_codes.sizes, shut.sizes, strict=True)):
        assert new - old == any(len(row) <= level for row in ids)
        expected = [row[level] if len(row) > level else old for row in ids]
        assert shut.codes[:, level].tolist() == expected


@quick
@given(ragged(unique=True))
def test_closed_ids_are_distinct_wherever_open_ones_are(item_codes):
    shut = closed(item_codes)
    assert len(set(tuples(shut.codes))) == item_codes.num_items
    assert shut.metadata["unique_share"] == 1


@quick
@given(ragged())
def test_the_prefix_check_agrees_with_looking_at_all_pairs(item_codes):
    ids = tuples(item_codes.codes)
    clash = {
        (a, b)
        for a in range(len(ids))
        for b in range(len(ids))
        if a != b and ids[b][: len(ids[a])] == ids[a]
    }
    for given_codes in (item_codes, closed(item_codes)):
        if not clash:
            check_prefix_free(given_codes)
            continue
        with pytest.raises(DataError, match="is a prefix of the ID of item") as caught:
            check_prefix_free(given_codes)
        assert any(
            f"the ID of item {a}, {ids[a]}, is a prefix of the ID of item {b}, {ids[b]}"
            in str(caught.value)
            for a, b in clash
        )


@quick
@given(ragged(unique=True))
def test_end_is_the_only_legal_code_after_an_id_that_begins_no_other(item_codes):
    ids = tuples(item_codes.codes)
    shut = closed(item_codes)
    for item, row in enumerate(ids):
        alone = not any(other[: len(row)] == row for b, other in enumerate(ids) if b != item)
        for level in range(len(row), item_codes.levels):
            legal = {
                code[level]
                for code in tuples(shut.codes)
                if code[:level] == tuple(shut.codes[item, :level].tolist())
            }
            end = item_codes.sizes[level]
            assert end in legal
            assert legal == {end} or not alone


@quick
@given(ragged())
def test_repair_leaves_other_ids_alone_and_lets_none_begin_another(item_codes):
    ids = tuples(item_codes.codes)
    fixed = repair(item_codes, method="suffix")
    after = tuples(fixed.codes)
    assert len(set(after)) == len(after)
    assert fixed.metadata["unique_share"] == 1
    if len(after) == len(set(ids)) or item_codes.lengths.min() == item_codes.levels:
        # Nothing to repair, or IDs of one length, which all get a suffix.
        assert all(now[: len(before)] == before for before, now in zip(ids, after, strict=True))
        return
    for before, now in zip(ids, after, strict=True):
        if ids.count(before) == 1:
            assert now == before
        else:
            # One code more, that no ID had at that level.
            assert now[:-1] == before
            assert all(len(row) < len(now) or row[len(now) - 1] != now[-1] for row in ids)
    again = repair(closed(item_codes), method="suffix")
    np.testing.assert_array_equal(again.codes, closed(fixed).codes)


def test_ids_of_different_lengths_have_no_next_free_id():
    twins = ItemCodes(codes=np.array([[0, -1], [0, -1], [1, 1]]), sizes=(2, 2), scheme="test")
    with pytest.raises(ConfigError, match="use repair 'suffix'"):
        repair(twins)


def test_statistics_count_codes_and_not_ends():
    # a, ab, ab, cd over the codes a = 0, c = 1; b = 0, d = 2
    codes = np.array([[0, -1], [0, 0], [0, 0], [1, 2]])
    found = code_statistics(codes, (2, 4))
    assert found["mean_length"] == pytest.approx(7 / 4)
    assert found["utilization"] == [1.0, 2 / 4]
    assert found["unique_share"] == 3 / 4
    assert found["collision_share"] == 2 / 4
    assert found["prefix_collision_share"] == [3 / 4, 2 / 4]
    quarter, third = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)), np.log2(3) - 2 / 3
    assert found["entropy"] == pytest.approx([quarter, third])


def test_a_level_that_few_ids_reach_is_not_called_collapsed():
    codes = np.full((200, 2), -1)
    codes[:, 0] = np.arange(200)
    codes[:5, 1] = np.arange(5)
    assert code_statistics(codes, (200, 100))["collapsed_levels"] == []


@quick
@given(ragged())
def test_the_share_of_shared_prefixes_is_that_of_python_counting(item_codes):
    ids = item_codes.codes.tolist()
    for level, share in enumerate(item_codes.metadata["prefix_collision_share"]):
        cut = [tuple(row[: level + 1]) for row in ids]
        assert share == pytest.approx(sum(cut.count(row) > 1 for row in cut) / len(cut))


def test_saved_ids_of_different_lengths_come_back_equal(tmp_path):
    codes = ItemCodes(codes=np.array([[0, -1], [1, 3]]), sizes=(2, 4), scheme="test")
    for one in (codes, closed(codes)):
        one.save(tmp_path)
        again = ItemCodes.load(tmp_path)
        np.testing.assert_array_equal(again.codes, one.codes)
        assert (again.sizes, again.metadata) == (one.sizes, one.metadata)
    np.testing.assert_array_equal(opened(again).codes, codes.codes)


def test_empty_ids_and_codes_after_the_end_are_named():
    with pytest.raises(DataError, match="item 1 has an empty ID"):
        ItemCodes(codes=np.array([[0, 0], [-1, -1]]), sizes=(1, 1), scheme="test")
    with pytest.raises(DataError, match="item 1 ends at level 1, but code 2 follows at level 2"):
        ItemCodes(codes=np.array([[0, 0, 0], [0, -1, 2]]), sizes=(1, 1, 3), scheme="test")
    with pytest.raises(DataError, match="item 0 has code -2 at level 1"):
        ItemCodes(codes=np.array([[0, -2]]), sizes=(1, 1), scheme="test")


def test_an_index_of_open_ids_is_refused_and_says_how_to_close_them():
    codes = ItemCodes(codes=np.array([[0, 1], [1, -1]]), sizes=(2, 2), scheme="test")
    with pytest.raises(DataError, match=r"that of item 1 has 1 codes of 2; .* ids\.closed"):
        ItemIndex.build(codes)
    ItemIndex.build(closed(codes))


def test_tokens_are_numbered_in_order_and_come_back_from_the_books():
    rows = [[7, 3], [900], [7, 0, 5]]
    codes, sizes, books = number_tokens(pad_rows(rows))
    assert codes.tolist() == [[0, 1, -1], [1, -1, -1], [0, 0, 0]]
    assert sizes == (2, 2, 1)
    back = [
        [int(books[level][code]) for level, code in enumerate(row) if code >= 0]
        for row in codes.tolist()
    ]
    assert back == rows


def test_beam_search_ranks_closed_ids_by_the_chain_rule():
    """IDs a, ab, abc, ca, cb: every item's score is the product of its codes' and END's shares."""
    from jaxrec.decode import Catalogue, Prompts, SearchOptions, beam_search
    from jaxrec.models import CausalLM
    from jaxrec.testing import random_params, tiny_model

    open_codes = np.array([[0, -1, -1], [0, 1, -1], [0, 1, 2], [2, 0, -1], [2, 1, -1]])
    codes = closed(ItemCodes(codes=open_codes, sizes=(3, 2, 3), scheme="test"))
    vocabulary = IdVocabulary(sizes=codes.sizes)
    model = CausalLM(tiny_model(vocabulary.size))
    params = random_params(model, 0)
    ids = vocabulary.tokens(codes.codes)
    history = write_histories([np.array([3, 1])], ids, 4)
    found = beam_search(
        model,
        params,
        Catalogue(ItemIndex.build(codes), vocabulary),
        Prompts(tokens=jnp.asarray(history)),
        SearchOptions(beams=5),
    )
    rows = jnp.asarray(np.concatenate([np.repeat(history, 5, axis=0), ids], axis=1))
    logits = np.asarray(model.apply(params, rows, rows != 0), np.float64)
    scores = np.zeros(5)
    for level in range(3):
        row = logits[:, history.shape[1] - 1 + level, vocabulary.level(level)]
        row = row - np.log(np.exp(row).sum(axis=1, keepdims=True))
        scores += row[np.arange(5), codes.codes[:, level]]
    np.testing.assert_array_equal(found.items[0], np.argsort(-scores))
    np.testing.assert_allclose(found.scores[0], np.sort(scores)[::-1], atol=1e-4)
