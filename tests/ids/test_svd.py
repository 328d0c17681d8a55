import warnings

import numpy as np
import pytest

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.data import k_core, leave_one_out, load
from jaxrec.ids import repair, svd
from jaxrec.ids.codes import ItemCodes


def histories(users=120, items=60, seed=0):
    """Users of three tastes and items of many popularities, so that no two items are alike."""
    rng = np.random.default_rng(seed)
    popularity = rng.lognormal(size=items)
    third = np.arange(items) * 3 // items
    out = []
    for taste in rng.choice(3, users, p=[0.6, 0.3, 0.1]):
        weight = popularity * np.where(third == taste, 6, 1)
        out.append(rng.choice(items, 12, replace=False, p=weight / weight.sum()))
    return out


@pytest.mark.parametrize(
    ("levels", "size", "share", "unique_of_equal_width"),
    [
        (2, 64, 0.488, 0.361),
        (2, 128, 0.155, 0.575),
        (2, 256, 0.032, 0.772),
        (4, 32, 0.033, 0.629),
        (4, 64, 0.003, 0.854),
        (4, 128, 0.0, 0.976),
        (8, 16, 0.0, 0.779),
    ],
)
def test_films_collide_as_often_as_measured(real_data, levels, size, share, unique_of_equal_width):
    """Canonical MovieLens-100K, SVD of the training part: figures of an independent measurement."""
    films = k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)
    train = leave_one_out(films).train.sequences()
    quantile = svd.fit(train, films.num_items, levels, size)
    assert quantile.metadata["collision_share"] == pytest.approx(share, abs=0.02)
    width = svd.fit(train, films.num_items, levels, size, bins="width")
    assert width.metadata["unique_share"] == pytest.approx(unique_of_equal_width, abs=0.02)


def test_held_out_interactions_do_not_change_the_ids(real_data):
    films = k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)
    rng = np.random.default_rng(0)
    full = [films.history(user) for user in range(films.num_users)]
    other = [np.append(h[:-2], rng.integers(0, films.num_items, 2)) for h in full]
    ids = [svd.fit([h[:-2] for h in one], films.num_items, 4, 64).codes for one in (full, other)]
    np.testing.assert_array_equal(*ids)


def test_coordinates_are_the_scaled_right_factors_of_numpys_svd():
    train = histories()
    codes = svd.fit(train, 60, 3, 8)
    matrix = np.zeros((120, 60))
    for user, items in enumerate(train):
        matrix[user, items] = 1
    v = np.linalg.svd(matrix)[2][:3].T
    low, high = v.min(axis=0), v.max(axis=0)
    expected = (v - low) / (high - low)
    found = svd.coordinates(codes, svd.columns(train, 60))
    for level in range(3):
        # The sign of a singular vector is open: scaled, x and 1 - x are the same.
        column = expected[:, level]
        if not np.allclose(found[:, level], column, atol=1e-6):
            column = 1 - column
        np.testing.assert_allclose(found[:, level], column, atol=1e-6)


def test_quantile_bins_are_those_of_scikit_learn():
    from sklearn.preprocessing import KBinsDiscretizer

    train = histories()
    codes = svd.fit(train, 60, 3, 7, noise=0.0)
    x = svd.coordinates(codes, svd.columns(train, 60))
    # Pairs of items that differ by rounding alone may fall on either side of an edge.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = KBinsDiscretizer(
            7, encode="ordinal", strategy="quantile", quantile_method="linear", subsample=None
        )
        expected = theirs.fit_transform(x)
    assert (codes.codes == expected).mean() > 0.95


def test_quantile_bins_hold_equally_many_items_and_width_bins_do_not():
    train = histories(400, 240)
    spread = {
        bins: np.ptp(np.bincount(svd.fit(train, 240, 1, 8, bins=bins).codes[:, 0], minlength=8))
        for bins in ("quantile", "width")
    }
    assert spread["quantile"] <= 1 < 20 < spread["width"]


def test_a_repeated_interaction_counts_once():
    train = histories()
    twice = [np.concatenate([items, items]) for items in train]
    np.testing.assert_array_equal(svd.fit(twice, 60, 3, 8).codes, svd.fit(train, 60, 3, 8).codes)


def test_noise_tells_items_apart_that_the_same_users_met_and_is_seeded():
    train = [np.array([0, 1, 2, 3, 4, 5]), np.array([6, 7, 8]), np.array([6, 7, 8, 0, 1, 2])]
    ids = [svd.fit(train, 9, 2, 9, seed=seed).codes for seed in (0, 0, 1)]
    assert len(np.unique(ids[0][:3], axis=0)) == 3
    np.testing.assert_array_equal(ids[0], ids[1])
    assert (ids[0] != ids[2]).any()
    x = svd.coordinates(svd.fit(train, 9, 2, 9), svd.columns(train, 9))
    np.testing.assert_allclose(x[:3], np.tile(x[:1], (3, 1)), atol=1e-9)


def test_items_and_users_without_interactions_are_at_home():
    train = [*histories(), np.zeros(0, int)]
    codes = svd.fit(train, 63, 3, 8)
    x = svd.coordinates(codes, svd.columns(train, 63))
    # Nobody met the last three: they lie where the embedding is zero.
    origin = -codes.codebooks["low"] / codes.codebooks["range"]
    np.testing.assert_allclose(x[60:], np.tile(origin, (3, 1)), atol=1e-9)


def test_known_columns_get_their_codes_back_and_new_ones_those_of_their_like():
    train = histories()
    codes = svd.fit(train, 60, 3, 8, noise=0.0)
    met = svd.columns(train, 60)
    again = svd.encode(codes, svd.coordinates(codes, met))
    # An item on an edge may fall either way, by rounding.
    assert (again == codes.codes).mean() > 0.9
    # A new item that just the users of item 7 met.
    twin = svd.coordinates(codes, met[[7]])
    np.testing.assert_allclose(twin, svd.coordinates(codes, met)[[7]])


def test_repair_makes_the_ids_unique_and_keeps_the_items_nearest_to_their_bins(real_data):
    films = k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)
    train = leave_one_out(films).train.sequences()
    codes = svd.fit(train, films.num_items, 2, 64)
    x = svd.coordinates(codes, svd.columns(train, films.num_items))
    fixed = repair(codes, x)
    assert fixed.metadata["unique_share"] == 1
    moved = (fixed.codes != codes.codes).any(axis=1)
    error = ((x - svd.decode(codes, codes.codes)) ** 2).sum(axis=1)
    for row in np.unique(codes.codes, axis=0):
        group = np.flatnonzero((codes.codes == row).all(axis=1))
        assert not moved[group[error[group].argmin()]]


def test_more_levels_than_the_rank_are_told_apart_by_noise_alone():
    codes = svd.fit([np.array([0, 1, 2]), np.array([0, 1, 2]), np.array([0, 1, 2])], 3, 3, 3)
    assert isinstance(codes, ItemCodes)
    np.testing.assert_allclose(codes.codebooks["user_factors"][:, 1:], 0)


def test_bad_input_is_refused():
    train = histories()
    with pytest.raises(ConfigError, match="bins: quantile, width"):
        svd.fit(train, 60, 2, 8, bins="kmeans")
    with pytest.raises(ConfigError, match=r"61 levels need .* 60 items and 120 users"):
        svd.fit(train, 60, 61, 8)
    with pytest.raises(DataError, match=r"item numbers 0\.\.59 do not fit 0\.\.29"):
        svd.fit(train, 30, 2, 8)
    with pytest.raises(DataError, match="no training interactions"):
        svd.fit([], 30, 2, 8)
    codes = svd.fit(train, 60, 2, 8)
    with pytest.raises(ConfigError, match="are for 120 users, got 7"):
        svd.coordinates(codes, np.zeros((1, 7)))
    with pytest.raises(ConfigError, match="2 coordinates per item, got 5"):
        svd.encode(codes, np.zeros((1, 5)))
