"""Duplicates and repeats against a scan of all earlier rows."""

import numpy as np
from hypothesis import given, settings, strategies as st

from jaxrec.data import DataConfig, Interactions, describe, drop_repeats, load_dataset
from jaxrec.data.repeats import duplicate_rows, repeated_items, repeated_targets

ROWS = st.lists(
    st.tuples(st.sampled_from("uv"), st.sampled_from("abc"), st.integers(0, 3), st.integers(1, 2)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.booleans())
def test_duplicates_and_repeats_are_those_of_a_scan(rows, rated):
    user, item, time, rating = zip(*rows, strict=True)
    data = Interactions.from_columns(user, item, time, rating if rated else None)
    kept = list(
        zip(data.user, data.item, data.time, data.rating if rated else [0] * len(rows), strict=True)
    )
    again = [row in kept[:n] for n, row in enumerate(kept)]
    had = [row[:2] in [other[:2] for other in kept[:n]] for n, row in enumerate(kept)]
    assert duplicate_rows(data).tolist() == again
    assert repeated_items(data).tolist() == had
    assert len(drop_repeats(data, "duplicates")) == len(set(kept))
    assert len(drop_repeats(data, "repeats")) == len({row[:2] for row in kept})
    facts = describe(data)
    assert (facts["duplicate_rows"], facts["repeated_interactions"]) == (sum(again), sum(had))
    expected = 0
    for items in data.sequences():
        *past, valid, test = [None, None, *items.tolist()]
        expected += len(items) >= 3 and (valid in past or test in [*past, valid])
    assert repeated_targets(data) == expected


def test_without_times_only_neighbours_are_duplicates():
    data = Interactions.from_columns(user=["u"] * 5, item=list("aabab"))
    assert duplicate_rows(data).tolist() == [False, True, False, False, False]


def test_a_config_drops_them_before_the_filter(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user,item,t\n" + "u,a,1\nu,a,1\nu,b,2\nu,c,3\nu,a,4\n")
    config = {"name": str(path), "time_column": "t", "min_count": 0}
    for which, history in {"none": "aabca", "duplicates": "abca", "repeats": "abc"}.items():
        dataset = load_dataset(DataConfig(drop_repeats=which, **config))
        ids = dataset.interactions.items.ids
        assert "".join(ids[dataset.interactions.history(0)]) == history
        np.testing.assert_equal(ids[dataset.split.test_target], [history[-1]])
