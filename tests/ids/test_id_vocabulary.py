import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core.errors import ConfigError
from jaxrec.ids import IdVocabulary


def test_tokens_are_laid_out_as_drawn():
    vocabulary = IdVocabulary(sizes=(4, 3))
    # PAD BOS | 2 3 4 5 | 6 7 8
    assert vocabulary.offsets.tolist() == [2, 6]
    assert vocabulary.size == 9
    assert [vocabulary.level(l) for l in range(2)] == [slice(2, 6), slice(6, 9)]
    assert vocabulary.tokens(np.array([[0, 0], [3, 2]])).tolist() == [[2, 6], [5, 8]]
    assert IdVocabulary(sizes=(4, 3), num_special=5).offsets.tolist() == [5, 9]


def test_levels_of_text_share_their_tokens():
    vocabulary = IdVocabulary(sizes=(9, 9, 9), num_special=0, shared=True, end=1)
    assert vocabulary.size == 9
    assert [vocabulary.level(l) for l in range(3)] == [slice(0, 9)] * 3
    codes = np.array([[0, 8, 3], [5, 5, 1]])
    np.testing.assert_array_equal(vocabulary.tokens(codes), codes)
    np.testing.assert_array_equal(vocabulary.codes(codes), codes)


@pytest.mark.parametrize("module", [np, jnp])
def test_tokens_and_codes_round_trip_at_any_rank(module):
    vocabulary = IdVocabulary(sizes=(4, 3, 5))
    for shape in [(3,), (2, 3), (2, 7, 3)]:
        codes = module.asarray(np.random.default_rng(0).integers(0, (4, 3, 5), shape), module.int32)
        tokens = vocabulary.tokens(codes)
        assert tokens.dtype == np.int32 and isinstance(tokens, type(codes))
        np.testing.assert_array_equal(vocabulary.codes(tokens), codes)


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="positive"):
        IdVocabulary(sizes=(4, 0))
    with pytest.raises(ConfigError, match="PAD and BOS"):
        IdVocabulary(sizes=(4,), num_special=1)
    with pytest.raises(ConfigError, match="needs a shared vocabulary"):
        IdVocabulary(sizes=(4,), end=1)
    with pytest.raises(ConfigError, match="3 levels"):
        IdVocabulary(sizes=(4, 3, 5)).tokens(np.zeros((2, 2), np.int32))
