import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

from jaxrec.nn import Dropout, hash_bits

SIZE = 1 << 18


def _seed(key):
    return jax.random.key_data(key)[:2]


def _step_seeds(count):
    """Seeds as training makes them: one key folded with consecutive step numbers."""
    base = jax.random.key(1)
    return [_seed(jax.random.fold_in(base, step)) for step in range(count)]


def _seeds():
    small = [jnp.array(words, jnp.uint32) for words in ([0, 0], [0, 1], [1, 0], [2**32 - 1, 7])]
    return [*small, *_step_seeds(4)]


def _bits(seed, size=SIZE):
    return np.asarray(hash_bits(seed, (size,)))


def _lowbias32(x):
    """C. Wellons' mixer, in Python's integers."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) % 2**32
    x = ((x ^ (x >> 15)) * 0x846CA68B) % 2**32
    return x ^ (x >> 16)


def test_bits_are_two_rounds_of_lowbias32():
    # Pinned, because other bits would change what every training run with dropout gives.
    one, two = 0xDEADBEEF, 0x12345678
    expected = [_lowbias32(_lowbias32((i + one) % 2**32) ^ two) for i in range(12)]
    found = hash_bits(jnp.array([one, two], jnp.uint32), (3, 4))
    assert np.asarray(found).reshape(-1).tolist() == expected


def _signs(words):
    """All 32 bits of each word as -1 or 1: [32, n]."""
    shifts = np.arange(32, dtype=np.uint32)[:, None]
    return (2.0 * ((words[None] >> shifts) & 1) - 1).astype(np.float32)


@pytest.mark.parametrize("seed", _seeds(), ids=lambda s: "-".join(map(str, s.tolist())))
def test_each_bit_is_set_half_of_the_time(seed):
    # 32 bits of 2^18 words; a fair bit's mean has standard deviation 1/512.
    means = _signs(_bits(seed)).mean(axis=1)
    assert np.abs(means).max() < 5 / SIZE**0.5


@pytest.mark.parametrize("seed", _seeds(), ids=lambda s: "-".join(map(str, s.tolist())))
def test_bytes_are_uniform(seed):
    words = _bits(seed)
    for shift in (0, 8, 16, 24):
        counts = np.bincount((words >> shift) & 255, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-5


@pytest.mark.parametrize("seed", _seeds(), ids=lambda s: "-".join(map(str, s.tolist())))
def test_words_as_fractions_have_mean_and_variance_of_a_uniform(seed):
    fractions = _bits(seed) / 2.0**32
    assert abs(fractions.mean() - 0.5) < 5 * (1 / 12 / SIZE) ** 0.5
    # The variance of (x - 1/2)^2 is 1/180.
    assert abs(((fractions - 0.5) ** 2).mean() - 1 / 12) < 5 * (1 / 180 / SIZE) ** 0.5


def test_places_do_not_predict_other_places():
    # Lags of one, of a row and of a batch of activations, on every pair of bits.
    for seed in _seeds()[:1] + _step_seeds(1):
        signs = _signs(_bits(seed, 1 << 15))
        for lag in (1, 2, 16, 64, 1024):
            count = signs.shape[1] - lag
            correlation = signs[:, lag:] @ signs[:, :-lag].T / count
            # The largest of 1,024 normal deviates passes 5.5 once in 25,000 draws.
            assert np.abs(correlation).max() < 5.5 / count**0.5, lag


def test_masks_of_consecutive_steps_are_unrelated():
    signs = [_signs(_bits(seed, 1 << 16)) for seed in _step_seeds(5)]
    for one, other in itertools.pairwise(signs):
        correlation = one @ other.T / one.shape[1]
        assert np.abs(correlation).max() < 5.5 / one.shape[1] ** 0.5


def test_seeds_that_differ_by_one_bit_give_unrelated_masks():
    count = 1 << 16
    base = np.array([123_456_789, 987_654_321], np.uint32)
    signs = _signs(_bits(jnp.asarray(base), count))
    for word in (0, 1):
        for bit in (0, 5, 31):
            seed = base.copy()
            seed[word] ^= np.uint32(1 << bit)
            other = _signs(_bits(jnp.asarray(seed), count))
            correlation = np.abs(signs @ other.T).max() / count
            assert correlation < 5.5 / count**0.5, (word, bit)


def test_seeds_a_shift_apart_do_not_give_shifted_copies_of_one_mask():
    one = _bits(jnp.array([1000, 5], jnp.uint32), 4096)
    other = _bits(jnp.array([1001, 6], jnp.uint32), 4096)
    for shift in range(8):
        assert (one[shift:] == other[: 4096 - shift]).mean() < 0.01
        assert (other[shift:] == one[: 4096 - shift]).mean() < 0.01


def _apply(rate, shape, key, value=1.0, dtype=jnp.float32):
    x = jnp.full(shape, value, dtype)
    return Dropout(rate).apply({}, x, False, rngs={"dropout": key})


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_the_rate_and_the_mean_stays(rate):
    found = np.asarray(_apply(rate, (512, 512), jax.random.key(3), value=2.0))
    count = found.size
    zeros = (found == 0).mean()
    assert abs(zeros - rate) < 5 * (rate * (1 - rate) / count) ** 0.5
    np.testing.assert_allclose(found[found != 0], 2.0 / (1 - rate), rtol=1e-6)
    assert abs(found.mean() - 2.0) < 5 * 2.0 * (rate / (1 - rate) / count) ** 0.5


def test_deterministic_and_rate_zero_pass_the_input_through_without_a_key():
    x = jnp.arange(6.0)
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, True), x)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, False), x)


def test_gradient_is_the_mask_of_the_forward_pass():
    x, key = jnp.ones((64,)), jax.random.key(0)

    def run(y):
        return Dropout(0.3).apply({}, y, False, rngs={"dropout": key})

    np.testing.assert_allclose(jax.grad(lambda y: run(y).sum())(x), run(x), rtol=1e-6)


def test_one_key_gives_one_mask_and_another_key_another():
    first, again = (_apply(0.5, (64, 64), jax.random.key(0)) for _ in range(2))
    other = _apply(0.5, (64, 64), jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert abs((first == other).mean() - 0.5) < 5 * 0.5 / 64


def test_bfloat16_keeps_its_type():
    found = _apply(0.5, (64,), jax.random.key(0), dtype=jnp.bfloat16)
    assert found.dtype == jnp.bfloat16
    assert set(np.asarray(found, np.float32).tolist()) == {0.0, 2.0}


class _Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        first = Dropout(0.5, name="first")(jnp.ones_like(x), False)
        second = Dropout(0.5, name="second")(jnp.ones_like(x), False)
        return x, (first, second)


def test_layers_of_a_scan_and_parts_of_a_layer_draw_their_own_masks():
    stack = nn.scan(_Layer, variable_axes={"params": 0}, split_rngs={"dropout": True}, length=3)()
    _, masks = stack.apply({}, jnp.zeros((4096,)), None, rngs={"dropout": jax.random.key(0)})
    rows = np.concatenate([np.asarray(mask) for mask in masks])
    assert rows.shape == (6, 4096)
    for i in range(6):
        for j in range(i):
            # Unrelated fair masks agree on half of the places.
            assert abs((rows[i] == rows[j]).mean() - 0.5) < 5 * 0.5 / 64
