"""Uniform grids against PyTorch's fake quantization, qwix, and hand formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix

from jaxrec.core import ConfigError
from jaxrec.quant import Grid, RangeConfig, UniformConfig, decode, encode, fit, scale_and_zero

BITS = (2, 3, 4, 8)
FULL = RangeConfig()


def _matrix(rows=24, columns=10, seed=0, shift=0.3):
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(size=(1, columns)))
    return jnp.asarray((rng.normal(size=(rows, columns)) + shift) * spread, jnp.float32)


def _rounded(x, grid, per_column=True, groups=1):
    scale, zero = fit(x, grid, per_column, groups, FULL)
    return decode(encode(x, scale, zero, grid), scale, zero), scale, zero


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_scales_and_codes_follow_the_formulas(bits, symmetric):
    x = np.asarray(_matrix())
    grid = Grid(bits, symmetric)
    scale, zero = fit(jnp.asarray(x), grid, True, 1, FULL)
    if symmetric:
        expected = np.abs(x).max(0) / (2 ** (bits - 1) - 1)
        assert zero is None
        offset = np.zeros(x.shape[1])
    else:
        low, high = np.minimum(x.min(0), 0), np.maximum(x.max(0), 0)
        expected = (high - low) / (2**bits - 1)
        offset = -(2 ** (bits - 1)) - np.round(low / expected)
        np.testing.assert_array_equal(zero[0], offset)
    np.testing.assert_allclose(scale[0], expected, rtol=1e-6)
    codes = encode(jnp.asarray(x), scale, zero, grid)
    top = 2 ** (bits - 1) - 1
    hand = np.clip(np.round(x / expected) + offset, -top - (not symmetric), top)
    np.testing.assert_array_equal(codes, hand)
    # The extreme of every column takes an end of the grid, and a symmetric grid has no -2^(b-1).
    assert np.abs(np.asarray(codes, int)).max(0).min() >= top
    assert np.asarray(codes).min() >= -top - (not symmetric)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_values_are_those_of_pytorch(bits, symmetric):
    torch = pytest.importorskip("torch")
    x = _matrix()
    grid = Grid(bits, symmetric)
    found, scale, zero = _rounded(x, grid)
    theirs = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(np.array(x)),
        torch.from_numpy(np.array(scale[0])),
        torch.zeros(10, dtype=torch.int32)
        if zero is None
        else torch.from_numpy(np.array(zero[0], np.int32)),
        1,
        grid.lowest,
        grid.highest,
    )
    np.testing.assert_allclose(found, theirs.numpy(), atol=1e-6)


def test_values_are_those_of_qwix_at_the_same_bound():
    # Its symmetric bound is 127.5, so that codes are compared at its scale; minmax is the same.
    x = _matrix()
    theirs = qwix.quantize(x, jnp.int8, channelwise_axes=(1,))
    scale, _ = fit(x, Grid(8), True, 1, FULL)
    np.testing.assert_allclose(scale * 127.0 / 127.5, theirs.scale, rtol=1e-6)
    codes = encode(x, theirs.scale, None, Grid(8))
    # Half a step more at the ends than a grid without -128 has.
    np.testing.assert_array_equal(codes, np.maximum(np.asarray(theirs.qvalue), -127))
    inside = np.asarray(theirs.qvalue) > -128
    found = np.asarray(decode(codes, theirs.scale, None))
    np.testing.assert_allclose(
        found[inside], np.asarray(qwix.dequantize(theirs))[inside], atol=1e-5
    )

    theirs = qwix.quantize(x, jnp.int8, channelwise_axes=(1,), calibration_method="minmax")
    found, scale, zero = _rounded(x, Grid(8, symmetric=False))
    np.testing.assert_allclose(scale, theirs.scale, rtol=1e-6)
    np.testing.assert_array_equal(zero, theirs.zero_point)
    np.testing.assert_allclose(found, qwix.dequantize(theirs), atol=1e-5)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("per_column", "groups"), [(False, 1), (True, 1), (True, 4), (False, 4)])
def test_errors_are_at_most_half_a_step_and_zero_is_exact(bits, symmetric, per_column, groups):
    x = _matrix().at[3].set(0.0)
    found, scale, _ = _rounded(x, Grid(bits, symmetric), per_column=per_column, groups=groups)
    assert scale.shape == (groups, 10 if per_column else 1)
    step = np.repeat(np.asarray(scale), 24 // groups, axis=0)
    assert (np.abs(found - x) <= step / 2 * (1 + 1e-5)).all()
    assert not np.asarray(found[3]).any()


def test_a_range_without_zero_is_widened_to_it():
    x = jnp.asarray([[3.0], [5.0]])
    found, scale, zero = _rounded(x, Grid(8, symmetric=False))
    np.testing.assert_allclose(scale, [[5.0 / 255]], rtol=1e-6)
    assert int(zero[0, 0]) == -128
    np.testing.assert_allclose(found, x, atol=0.01)


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_and_constants_survive(symmetric):
    for value in (0.0, 1e-42, 2.5, -2.5):
        x = jnp.full((8, 3), value)
        found, scale, _ = _rounded(x, Grid(4, symmetric))
        assert np.isfinite(np.asarray(scale)).all() and (np.asarray(scale) > 0).all()
        np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-41)


def test_finer_granularity_loses_less():
    x = _matrix(rows=96, columns=8)

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def lost(per_column, groups):
        return jnp.mean((_rounded(x, Grid(4), per_column, groups)[0] - x) ** 2)

    errors = [float(lost(*how)) for how in ((False, 1), *((True, n) for n in (1, 3, 6, 12, 24)))]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[1] / 2 < errors[0] / 4


@pytest.mark.parametrize("symmetric", [True, False])
def test_percentiles_are_those_of_numpy(symmetric):
    x = np.asarray(_matrix(rows=400))
    grid = Grid(8, symmetric)
    scale, zero = fit(jnp.asarray(x), grid, True, 1, RangeConfig("percentile", 97.5))
    if symmetric:
        bound = np.percentile(np.abs(x), 97.5, axis=0)
        expected = scale_and_zero(jnp.asarray(-bound), jnp.asarray(bound), grid)[0]
    else:
        low, high = np.percentile(x, [2.5, 97.5], axis=0)
        expected, hand = scale_and_zero(jnp.asarray(low), jnp.asarray(high), grid)
        np.testing.assert_array_equal(zero[0], hand)
    np.testing.assert_allclose(scale[0], expected, rtol=1e-5)
    everything = fit(jnp.asarray(x), grid, True, 1, RangeConfig("percentile", 100.0))[0]
    np.testing.assert_allclose(everything, fit(jnp.asarray(x), grid, True, 1, FULL)[0])


def _gptq_search(row, bits, symmetric):
    """Scale and zero point of one channel as GPTQ's `Quantizer.find_params` finds them."""
    low, high = min(row.min(), 0.0), max(row.max(), 0.0)
    best, kept = np.inf, 1.0
    for step in range(80):
        factor = 1 - step / 100
        if symmetric:
            scale = max(-low, high) * factor / (2 ** (bits - 1) - 1)
            top = 2 ** (bits - 1) - 1
            rounded = scale * np.clip(np.round(row / scale), -top, top)
        else:
            scale = (high - low) * factor / (2**bits - 1)
            zero = np.round(-low * factor / scale)
            rounded = scale * (np.clip(np.round(row / scale) + zero, 0, 2**bits - 1) - zero)
        error = (np.abs(rounded - row) ** 2.4).sum()
        if error < best:
            best, kept = error, factor
    return kept


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [3, 4])
def test_the_search_finds_the_factor_of_gptqs_search(bits, symmetric):
    x = np.asarray(_matrix(rows=32), np.float64)
    found = fit(jnp.asarray(x, jnp.float32), Grid(bits, symmetric), True, 2, RangeConfig("mse"))[0]
    full = fit(jnp.asarray(x, jnp.float32), Grid(bits, symmetric), True, 2, FULL)[0]
    search = functools.partial(_gptq_search, bits=bits, symmetric=symmetric)
    expected = [[search(part[:, o]) for o in range(10)] for part in (x[:16], x[16:])]
    np.testing.assert_allclose(found / full, expected, rtol=1e-5)
    assert np.min(expected) < 0.96


def test_one_scale_of_a_whole_matrix_is_searched_over_all_of_it():
    x = np.asarray(_matrix(rows=32), np.float64)
    found = fit(jnp.asarray(x, jnp.float32), Grid(3), False, 1, RangeConfig("mse"))[0]
    expected = np.abs(x).max() / 3 * _gptq_search(x.reshape(-1), 3, True)
    np.testing.assert_allclose(found, [[expected]], rtol=1e-5)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"bits must be one of \(2, 3, 4, 8\), got 5"):
        Grid(5)
    with pytest.raises(ConfigError, match=r"full, percentile or mse, got 'max'"):
        RangeConfig("max")
    with pytest.raises(ConfigError, match=r"got 50\.0"):
        RangeConfig("percentile", 50.0)
    with pytest.raises(ConfigError, match="got 'row'"):
        UniformConfig(per="row")
    with pytest.raises(ConfigError, match="got 0"):
        UniformConfig(per="group", group=0)
    with pytest.raises(ConfigError, match="calibrate with with_static_activations"):
        UniformConfig(activations="static")
    with pytest.raises(ConfigError, match="groups of 7 rows do not divide the 24 rows"):
        UniformConfig(per="group", group=7).fit(_matrix())
