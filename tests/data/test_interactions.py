import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import DataError
from jaxrec.data import Interactions, ItemTable, describe

rows = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(-3, 3)), min_size=1, max_size=60
)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_rows_are_sorted_by_user_then_time_then_original_row(data):
    user, item, time = (list(column) for column in zip(*data, strict=True))
    found = Interactions.from_columns(user, item, time)
    order = sorted(range(len(data)), key=lambda i: (user[i], time[i], i))
    assert found.row.tolist() == order
    assert found.user_ids[found.user].tolist() == [str(user[i]) for i in order]
    assert found.items.ids[found.item].tolist() == [str(item[i]) for i in order]
    assert found.time.tolist() == [time[i] for i in order]


@settings(max_examples=40, deadline=None)
@given(rows, st.randoms())
def test_numbering_does_not_depend_on_the_order_of_rows(data, random):
    shuffled = list(data)
    random.shuffle(shuffled)
    a, b = (Interactions.from_columns(*zip(*part, strict=True)) for part in (data, shuffled))
    assert a.user_ids.tolist() == b.user_ids.tolist()
    assert a.items.ids.tolist() == b.items.ids.tolist()


@settings(max_examples=40, deadline=None)
@given(rows)
def test_offsets_histories_and_sequences_agree(data):
    found = Interactions.from_columns(*zip(*data, strict=True))
    assert found.offsets[0] == 0 and found.offsets[-1] == len(found)
    for user, history in enumerate(found.sequences()):
        np.testing.assert_array_equal(history, found.item[found.user == user])
        np.testing.assert_array_equal(history, found.history(user))


def test_numeric_ids_are_numbered_by_value_and_others_as_text():
    numeric = Interactions.from_columns(["10", "9", "007", "7"], [3, 20, 100, 3])
    assert numeric.user_ids.tolist() == ["007", "7", "9", "10"]
    assert numeric.items.ids.tolist() == ["3", "20", "100"]
    mixed = Interactions.from_columns(["10", "9", "x"], [1, 1, 1])
    assert mixed.user_ids.tolist() == ["10", "9", "x"]


def test_strings_and_integers_give_the_same_numbers(small):
    again = Interactions.from_columns(
        user=["b", "a", "a", "c", "a", "b", "c", "c", "b", "a"],
        item=["10", "2", "9", "10", "10", "2", "2", "9", "30", "30"],
        time=[5, 7, 3, 1, 7, 5, 1, 1, 2, 9],
    )
    np.testing.assert_array_equal(small.item, again.item)
    np.testing.assert_array_equal(small.user, again.user)


def test_without_times_the_file_order_is_the_order():
    found = Interactions.from_columns([1, 0, 1], [5, 6, 7])
    assert found.time_unit == "order"
    assert found.items.ids[found.history(1)].tolist() == ["5", "7"]
    assert np.isnan(found.rating).all()


def test_item_texts_are_joined_and_absent_ones_left_out(small):
    assert small.items.ids.tolist() == ["2", "9", "10", "30"]
    assert small.items.text("title", "genres") == ["Two", "Nine Drama | War", "Ten", ""]
    assert small.items.labels() == ["Two (1992)", "Nine", "Ten", "30"]
    assert small.user_fields["age"].tolist() == ["30", "", ""]


def test_an_unknown_item_field_names_the_available_ones(small):
    with pytest.raises(
        DataError, match=r"no item field 'titel', did you mean 'title'\?; fields: title, year"
    ):
        small.items.text("titel")


def test_a_field_named_by_half_of_a_pair_has_a_fingerprint_of_its_own(small):
    named = [
        dataclasses.replace(
            small, items=dataclasses.replace(small.items, fields={name: small.items.ids})
        )
        for name in ("\ud800", "\ud801")
    ]
    assert len({data.fingerprint() for data in (small, *named)}) == 3


def test_the_fingerprint_depends_on_contents_and_not_on_name_or_source(small):
    same = dataclasses.replace(small, name="other", source="elsewhere")
    assert small.fingerprint() == same.fingerprint()
    fields = small.items.fields | {"title": small.items.fields["title"].copy()}
    fields["title"][0] = "Tow"
    changed = [
        dataclasses.replace(small, rating=small.rating + 1),
        dataclasses.replace(small, time=small.time + 1),
        dataclasses.replace(small, items=ItemTable(small.items.ids, fields)),
        small.select(small.user > 0),
    ]
    assert len({x.fingerprint() for x in [small, *changed]}) == 5


def test_compact_keeps_rows_and_drops_what_has_none(small):
    part = small.select(small.user == 1).compact()
    assert part.user_ids.tolist() == ["b"]
    assert part.items.ids.tolist() == ["2", "10", "30"]
    assert part.items.labels() == ["Two (1992)", "Ten", "30"]
    assert part.row.tolist() == small.row[small.user == 1].tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [], "item": []}, "no interactions"),
        ({"user": [1, 2], "item": [1]}, "column 'item' has 1 rows, 'user' has 2"),
        ({"user": [1, 2], "item": ["a", ""]}, "empty item ID in row 1"),
        ({"user": [1], "item": [1], "time": ["now"]}, "column 'time' is not numeric"),
        ({"user": [1], "item": [1], "time": [float("nan")]}, "not a number of seconds"),
        ({"user": [[1]], "item": [1]}, "expected one axis"),
    ],
)
def test_wrong_columns_are_refused_in_one_line(columns, message):
    with pytest.raises(DataError, match=message) as error:
        Interactions.from_columns(**columns)
    assert "\n" not in str(error.value)


def test_unsorted_columns_are_refused(small):
    with pytest.raises(DataError, match="not sorted by user and time"):
        dataclasses.replace(small, time=small.time[::-1].copy())


def test_numbers_outside_the_catalogue_are_refused(small):
    with pytest.raises(DataError, match=r"item numbers run from 0 to 4, but .* 0 and 3"):
        dataclasses.replace(small, item=np.where(small.item == 3, 4, small.item))


def test_describe_counts_and_states_the_tie_rule(small):
    facts = describe(small)
    assert (facts["users"], facts["items"], facts["interactions"]) == (3, 4, 10)
    assert facts["history_shortest"] == 3 and facts["history_longest"] == 4
    assert facts["tie_rule"].endswith("(timestamp, original row)")
    assert facts["users_with_tied_last_two"] == pytest.approx(2 / 3)
