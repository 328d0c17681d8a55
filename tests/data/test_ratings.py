"""Rating texts, synthetic reviews, and the random split that they are predicted on."""

import json

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import k_core, load, random_split, read_amazon
from jaxrec.data.interactions import SEPARATOR
from jaxrec.data.ratings import BANDS, TEXTS, rating_text, star_of
from jaxrec.data.reviews import read_reviews, synthetic_reviews
from jaxrec.testing import tiny_interactions


def test_there_are_41_texts_and_every_one_is_some_stars():
    assert len(set(TEXTS)) == 41
    assert (TEXTS[0], TEXTS[-1]) == ("1.0", "5.0")
    bands = {1: ("1.0", "1.4"), 2: ("1.5", "2.4"), 3: ("2.5", "3.4"), 4: ("3.5", "4.4")}
    bands[5] = ("4.5", "5.0")
    for text in TEXTS:
        low, high = bands[star_of(text)]
        assert low <= text <= high
    assert star_of("5.1") is star_of("4") is star_of("") is None


@pytest.mark.parametrize("star", [1, 2, 3, 4, 5])
def test_drawn_texts_stay_in_their_stars_band_and_spread_over_it(star):
    rng = np.random.default_rng(star)
    drawn = [rating_text(star, rng) for _ in range(4000)]
    assert {star_of(text) for text in drawn} == {star}
    low, high = BANDS[star]
    values = np.array([float(text) for text in drawn])
    # A Gaussian of a quarter of the band, rounded to tenths and cut at two deviations.
    assert values.mean() == pytest.approx((low + high) / 20, abs=0.01)
    deviation = (high - low) / 40
    assert 0.85 * deviation < values.std() < 1.15 * np.hypot(deviation, 0.1 / 12**0.5)
    assert len(set(drawn)) == high - low + 1


def test_half_a_star_is_refused():
    with pytest.raises(DataError, match=r"rating 3\.5"):
        rating_text(3.5, np.random.default_rng(0))


def test_a_synthetic_review_says_its_items_category_and_its_stars():
    data = tiny_interactions()
    found, again = synthetic_reviews(data), synthetic_reviews(data)
    assert found.text == again.text
    assert found.synthetic
    genres = data.items.fields["genres"]
    moods: dict[float, set[str]] = {}
    for row in range(len(data)):
        hint = found.hint[row]
        assert hint in genres[data.item[row]].lower().split(SEPARATOR)
        assert hint in found.explanation[row].split()
        assert found.explanation[row] in found.text[row]
        assert hint in found.title[row].split()
        moods.setdefault(float(data.rating[row]), set()).add(found.title[row].split()[0])
    words = list(moods.values())
    assert len(words) == 5
    assert sum(map(len, words)) == len(set.union(*words))
    with pytest.raises(DataError, match=r"no item field 'genre'.*did you mean 'genres'"):
        synthetic_reviews(data, "genre")


def test_reviews_of_a_file_are_those_of_their_interactions(tmp_path):
    lines = [
        ("u1", "b2", 5, "Smells great!", "I bought it. The shampoo smells of Roses, really."),
        ("u1", "b1", 2, "", "Bad brush"),
        ("u0", "b2", 4, "ok", "Nothing to say"),
    ]
    path = tmp_path / "reviews.json"
    keys = ("reviewerID", "asin", "overall", "summary", "reviewText")
    records = [
        dict(zip(keys, line, strict=True)) | {"unixReviewTime": 9 - n}
        for n, line in enumerate(lines)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    meta = tmp_path / "meta.json"
    items = [{"asin": "b1", "title": "Hair Brush"}, {"asin": "b2", "title": "Rose Shampoo"}]
    meta.write_text("\n".join(map(json.dumps, items)))
    data = read_amazon(path, meta)
    found = read_reviews(path, data)
    # Sorted by user and time: u0, then u1's second line before the first.
    assert data.row.tolist() == [2, 1, 0]
    assert found.title == ["ok", "", "smells great !"]
    assert found.text[1] == "bad brush"
    assert found.hint == ["", "brush", "shampoo"]
    assert found.explanation == ["", "bad brush", "the shampoo smells of roses , really ."]
    assert not found.synthetic
    path.write_text("\n".join(map(json.dumps, records[::-1])))
    with pytest.raises(DataError, match="give the file that the interactions were read from"):
        read_reviews(path, data)


def test_the_random_split_parts_all_rows_and_leaves_everyone_a_training_row():
    data = tiny_interactions(users=60, items=30)
    split = random_split(data, 0.2, 0.3, seed=4)
    together = np.concatenate([split.train, split.valid, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(data)))
    assert set(data.user[split.train]) == set(data.user)
    assert set(data.item[split.train]) == set(data.item)
    # So many rows are drawn, less those that users and items need.
    assert 0.26 * len(data) < len(split.test) <= round(0.3 * len(data))
    np.testing.assert_array_equal(random_split(data, 0.2, 0.3, seed=4).test, split.test)
    assert not np.array_equal(random_split(data, 0.2, 0.3, seed=5).test, split.test)
    with pytest.raises(ConfigError, match="must leave rows to train on"):
        random_split(data, 0.5, 0.5)


def test_the_split_of_movielens_is_eighty_ten_ten(real_data):
    data = k_core(load("ml-100k", from_file=real_data("ml-100k")), 5)
    split = random_split(data)
    assert abs(len(split.test) / len(data) - 0.1) < 0.001
    assert abs(len(split.valid) / len(data) - 0.1) < 0.001
    assert set(data.item[split.train]) == set(data.item)
