import numpy as np
import pytest
from scipy import stats

from jaxrec.core.errors import ConfigError
from jaxrec.ids import simple


@pytest.mark.parametrize("items, size", [(16, 4), (15, 4), (500, 40), (3000, (2, 3000))])
def test_random_ids_are_distinct_seeded_and_in_range(items, size):
    codes = simple.random(items, 2, size, seed=3)
    assert len(np.unique(codes.codes, axis=0)) == items
    np.testing.assert_array_equal(simple.random(items, 2, size, seed=3).codes, codes.codes)
    assert (simple.random(items, 2, size, seed=4).codes != codes.codes).any()


@pytest.mark.parametrize(("items", "size"), [(4000, 100), (2000, 50)])
def test_random_ids_use_codes_as_evenly_as_chance_and_no_more(items, size):
    codes = simple.random(items, 2, size)
    total = size**2
    for level in range(2):
        counts = np.bincount(codes.codes[:, level], minlength=size)
        # Each count of a sample without replacement is hypergeometric.
        variance = items / size * (1 - 1 / size) * (total - items) / (total - 1)
        fit = ((counts - items / size) ** 2 / variance).sum() * (1 - 1 / size)
        assert 0.001 < stats.chi2.sf(fit, size - 1) < 0.999
        entropy = stats.entropy(counts, base=2)
        assert codes.metadata["entropy"][level] == pytest.approx(entropy)


def test_independent_ids_are_one_token_an_item():
    codes = simple.independent(7)
    assert codes.codes.tolist() == [[i] for i in range(7)]
    assert codes.sizes == (7,)


def test_too_small_a_grid_is_refused():
    with pytest.raises(ConfigError, match="17 items do not fit into 4 x 4 = 16 IDs"):
        simple.random(17, 2, 4)
    with pytest.raises(ConfigError, match="need 2 codebook sizes"):
        simple.random(3, 2, (4, 4, 4))
