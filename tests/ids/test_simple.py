import numpy as np
import pytest

from jaxrec.core.errors import ConfigError
from jaxrec.ids import simple


@pytest.mark.parametrize("items, size", [(16, 4), (15, 4), (500, 40), (3000, (2, 3000))])
def test_random_ids_are_distinct_seeded_and_in_range(items, size):
    codes = simple.random(items, 2, size, seed=3)
    assert len(np.unique(codes.codes, axis=0)) == items
    np.testing.assert_array_equal(simple.random(items, 2, size, seed=3).codes, codes.codes)
    assert (simple.random(items, 2, size, seed=4).codes != codes.codes).any()


def test_random_ids_use_all_codes_about_equally():
    assert min(simple.random(4000, 2, 100).metadata["entropy"]) > np.log2(100) - 0.1


def test_independent_ids_are_one_token_an_item():
    codes = simple.independent(7)
    assert codes.codes.tolist() == [[i] for i in range(7)]
    assert codes.sizes == (7,)


def test_too_small_a_grid_is_refused():
    with pytest.raises(ConfigError, match="17 items do not fit into 4 x 4 = 16 IDs"):
        simple.random(17, 2, 4)
    with pytest.raises(ConfigError, match="need 2 codebook sizes"):
        simple.random(3, 2, (4, 4, 4))
