import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.data import Interactions, k_core, load, sample_users


def brute_force(pairs, k, users, items):
    """Remove one offending row's user or item at a time until none is left."""
    pairs = list(enumerate(pairs))
    while True:
        by_user, by_item = {}, {}
        for _, (user, item) in pairs:
            by_user[user] = by_user.get(user, 0) + 1
            by_item[item] = by_item.get(item, 0) + 1
        bad = [
            (n, p)
            for n, p in pairs
            if (users and by_user[p[0]] < k) or (items and by_item[p[1]] < k)
        ]
        if not bad:
            return sorted(n for n, _ in pairs)
        user, item = bad[0][1]
        drop_user = users and by_user[user] < k
        pairs = [(n, p) for n, p in pairs if (p[0] != user if drop_user else p[1] != item)]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=50),
    st.integers(0, 4),
    st.booleans(),
    st.booleans(),
)
def test_it_equals_a_brute_force(pairs, k, users, items):
    data = Interactions.from_columns(*zip(*pairs, strict=True))
    expected = brute_force(pairs, k, users, items)
    if not expected:
        with pytest.raises(DataError, match=f"nothing left after {k}-core .* lower k"):
            k_core(data, k, users=users, items=items)
        return
    found = k_core(data, k, users=users, items=items)
    assert sorted(found.row.tolist()) == expected
    assert found.num_users == len(np.unique(found.user))
    assert found.num_items == len(np.unique(found.item))


@pytest.mark.parametrize(
    ("name", "users", "items", "interactions"),
    [
        ("ml-100k", 943, 1_349, 99_287),
        ("movietweetings-100k", 4_333, 2_414, 68_055),
        ("ml-1m", 6_040, 3_416, 999_611),
        ("amazon-beauty", 22_363, 12_101, 198_502),
    ],
)
def test_five_core_has_the_published_size(real_data, monkeypatch, name, users, items, interactions):
    monkeypatch.setenv(
        "JAXREC_DATA",
        str(real_data(name.removesuffix("-100k") if "tweet" in name else name).parent),
    )
    found = k_core(load(name, allow_download=False), 5)
    assert (found.num_users, found.num_items, len(found)) == (users, items, interactions)


def test_a_negative_k_is_a_setting_error(small):
    with pytest.raises(ConfigError, match="0 or more, got -1"):
        k_core(small, -1)


def test_a_sample_of_users_keeps_their_rows_and_the_whole_catalogue():
    rng = np.random.default_rng(0)
    pairs = [
        (f"u{user}", f"i{rng.integers(12)}") for user in range(40) for _ in range(3 + user % 4)
    ]
    data = Interactions.from_columns(*zip(*pairs, strict=True))
    found = sample_users(data, 9, seed=1)
    assert found.num_users == 9 and found.num_items == data.num_items
    kept = found.user_ids.tolist()
    assert kept == [user for user in data.user_ids.tolist() if user in kept]
    whole = dict(zip(data.user_ids.tolist(), data.sequences(), strict=True))
    for user, items in zip(kept, found.sequences(), strict=True):
        np.testing.assert_array_equal(items, whole[user])
    assert sample_users(data, 9, seed=1).user_ids.tolist() == kept
    assert sample_users(data, 9, seed=2).user_ids.tolist() != kept
    assert sample_users(data, 40).fingerprint() == data.fingerprint()
    for count in (0, 41):
        with pytest.raises(ConfigError, match=f"cannot sample {count} of the 40 users"):
            sample_users(data, count)
