import itertools
import math

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.eval import Catalogue, list_quality, thirds
from jaxrec.eval.beyond_accuracy import gini

COUNTS = np.array([6, 3, 0, 1])
FEATURES = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
LISTS = np.array([[0, 1, 2], [0, 2, -1], [1, 3, -1]])


def test_qualities_are_those_computed_by_hand():
    histories = [np.array([1, 3]), np.array([0]), np.array([0, 1, 2])]
    found = list_quality(LISTS, Catalogue(COUNTS, FEATURES), histories)
    assert found["coverage"] == 1.0
    # Items are listed 2, 2, 2 and 1 times: sum over pairs |x - y| / (2 I sum) = 6 / (2 * 4 * 7).
    np.testing.assert_allclose(found["gini"], 6 / 56)
    bits = [-math.log2(n / 14) for n in (7, 4, 1, 7, 1, 4, 2)]
    np.testing.assert_allclose(found["novelty"], np.mean(bits))
    np.testing.assert_allclose(found["popularity"], np.mean([0.6, 0.3, 0, 0.6, 0, 0.3, 0.1]))
    lifts = [0.3 / 0.2 - 1, 0.3 / 0.6 - 1, 0.2 / 0.3 - 1]
    np.testing.assert_allclose(found["popularity_lift"], np.mean(lifts))
    # Cosines: 0-1 and 1-2 1/sqrt 2, 0-2 0; item 3 has no feature.
    first = 1 - (2 / math.sqrt(2)) / 3
    np.testing.assert_allclose(found["diversity"], np.mean([first, 1.0, 1.0]))


def test_gini_is_the_mean_difference_over_twice_the_mean():
    counts = np.random.default_rng(0).integers(0, 50, 30)
    pairs = [abs(int(a) - int(b)) for a, b in itertools.product(counts, counts)]
    np.testing.assert_allclose(gini(counts), np.mean(pairs) / (2 * counts.mean()))
    assert gini(np.ones(7)) == 0
    np.testing.assert_allclose(gini(np.eye(10)[0]), 0.9)
    with pytest.raises(DataError, match="undefined"):
        gini(np.zeros(3))


def test_only_what_is_known_is_measured():
    found = list_quality(LISTS, Catalogue(COUNTS))
    assert set(found) == {"coverage", "gini", "novelty", "popularity"}
    with pytest.raises(DataError, match="no list holds an item"):
        list_quality(np.full((2, 3), -1), Catalogue(COUNTS))
    with pytest.raises(ConfigError, match="features of 3 items for a catalogue of 4"):
        Catalogue(COUNTS, FEATURES[:3])


def test_thirds_are_about_equal_and_keep_equal_values_together():
    found = thirds(np.arange(1, 10))
    assert [name for name, _ in found] == ["1-3", "4-6", "7-9"]
    assert [int(mask.sum()) for _, mask in found] == [3, 3, 3]
    crowded = thirds(np.array([1, 1, 1, 1, 2, 5]))
    # Two thirds of the values are 1, so that the middle group is empty.
    assert [(name, mask.tolist()) for name, mask in crowded] == [
        ("1-1", [True] * 4 + [False] * 2),
        ("2-5", [False] * 4 + [True] * 2),
    ]
