"""NF4 and double quantization against bitsandbytes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.quant import CodebookConfig, UniformConfig, bits_per_parameter
from jaxrec.quant.blocks import compress_scales, expand_scales
from jaxrec.quant.codebooks import dynamic_levels, levels_of, look_up, nearest_code

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("bitsandbytes.functional")

# Dettmers et al. 2023, appendix E.
PRINTED = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip


def _weight(outer, inner, seed=0):
    """A linear layer's weight as PyTorch has it, `[O, I]`, of several magnitudes."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(outer, inner)) * np.exp(rng.normal(size=(outer, 1)))).astype("float32")


def _quantize(weight, **settings):
    config = CodebookConfig(**settings)
    inner, outer = weight.shape[::-1]
    store = jax.jit(lambda matrix: config.quantize(matrix, (inner, outer)))
    return store(jnp.asarray(weight.T))


def test_the_levels_are_the_printed_ones():
    np.testing.assert_allclose(levels_of("nf4"), PRINTED, atol=1e-7, rtol=0)
    for name in ("nf4", "fp4"):
        np.testing.assert_array_equal(
            np.float32(levels_of(name)), theirs.get_4bit_type(name, device="cpu").numpy()
        )


def test_the_dynamic_map_is_that_of_bitsandbytes():
    np.testing.assert_array_equal(dynamic_levels(), theirs.create_dynamic_map().numpy())


@pytest.mark.parametrize("name", ["nf4", "fp4"])
def test_codes_are_those_of_the_nearest_level(name):
    levels = np.array(levels_of(name))
    x = np.linspace(-1, 1, 2001).astype("float32")
    codes = nearest_code(jnp.asarray(x), name)
    found = np.asarray(look_up(jnp.asarray(levels_of(name)), codes))
    np.testing.assert_array_equal(found, np.float32(levels)[np.asarray(codes)])
    nearest = np.abs(x[:, None] - levels[None]).min(1)
    np.testing.assert_allclose(np.abs(found - x), nearest, atol=1e-6)


# Rows of whole blocks; rows that end within one; an odd number of weights.
@pytest.mark.parametrize("shape", [(96, 256), (70, 96), (33, 21)])
@pytest.mark.variants(1)
def test_codes_and_scales_are_those_of_bitsandbytes(shape):
    weight = _weight(*shape)
    kernel = _quantize(weight, double=False)
    # Flat, as its CPU code reads a matrix back wrongly whose rows end within a block.
    packed, state = theirs.quantize_4bit(
        torch.from_numpy(weight).reshape(-1),
        blocksize=64,
        quant_type="nf4",
        compress_statistics=False,
    )
    count = packed.numel()
    codes = np.asarray(kernel.codes).reshape(-1)
    np.testing.assert_array_equal(codes[:count], packed.numpy().reshape(-1))
    # What fills up the last block is zeros: level 7.
    assert (codes[count:] == 0x77).all()
    np.testing.assert_array_equal(kernel.absmax, state.absmax.numpy())
    matrix = theirs.dequantize_4bit(packed, state).numpy().reshape(shape)
    np.testing.assert_allclose(kernel.dense(), matrix.T, rtol=1e-6, atol=0)
    assert kernel.codes.shape[0] == (shape[0] if shape[1] % 64 == 0 else 1)


@pytest.mark.parametrize("block", [32, 64, 128])
def test_double_quantization_is_that_of_bitsandbytes(block):
    weight = _weight(320, 256, seed=1)
    kernel = _quantize(weight, block=block)
    packed, state = theirs.quantize_4bit(
        torch.from_numpy(weight), blocksize=block, quant_type="nf4", compress_statistics=True
    )
    np.testing.assert_array_equal(np.asarray(kernel.codes).reshape(-1), packed.numpy().reshape(-1))
    np.testing.assert_allclose(kernel.absmax_scale, state.state2.absmax.numpy(), rtol=1e-6)
    np.testing.assert_allclose(kernel.absmax_mean, state.offset.numpy(), rtol=1e-6)
    # Its CPU code looks 8-bit levels up coarsely: of a few scales it misses the nearest.
    ours, other = np.asarray(kernel.absmax), state.absmax.numpy()
    assert ours.dtype == other.dtype == np.uint8
    differ = ours != other
    assert differ.mean() < 0.01
    scales = np.repeat(np.asarray(kernel.absmax_scale, float), 256)[: ours.size]
    absmax = np.abs(weight.reshape(-1, block)).max(1)
    value = (absmax - float(kernel.absmax_mean)) / scales
    levels = dynamic_levels().astype(float)
    lost, nearest = np.abs(levels[ours] - value), np.abs(levels[:, None] - value).min(0)
    np.testing.assert_allclose(lost, nearest, atol=1e-7)
    assert (lost < np.abs(levels[other] - value))[differ].all()
    same = ~np.repeat(differ, block).reshape(weight.shape)
    matrix = theirs.dequantize_4bit(packed, state).numpy()
    np.testing.assert_allclose(
        np.asarray(kernel.dense()).T[same], matrix[same], rtol=1e-5, atol=1e-6
    )


def test_fp4_stands_for_the_values_of_bitsandbytes():
    # Two of its codes mean 0, so that values are compared and not codes.
    weight = _weight(48, 128)
    kernel = _quantize(weight, codebook="fp4", double=False)
    packed, state = theirs.quantize_4bit(
        torch.from_numpy(weight), blocksize=64, quant_type="fp4", compress_statistics=False
    )
    matrix = theirs.dequantize_4bit(packed, state).numpy()
    np.testing.assert_allclose(kernel.dense(), matrix.T, rtol=1e-6, atol=0)


def test_errors_on_normal_weights_are_the_measured_ones():
    # RMSE of weights of variance 1 in blocks of 64: NF4 0.0920, symmetric int4 0.1081.
    weight = np.random.default_rng(0).normal(size=(1024, 1024)).astype("float32")

    def lost(kernel):
        return float(np.sqrt(np.mean((np.asarray(kernel.dense()) - weight.T) ** 2)))

    assert lost(_quantize(weight, double=False)) == pytest.approx(0.0920, abs=5e-4)
    assert lost(_quantize(weight)) == pytest.approx(0.0920, abs=7e-4)
    uniform = UniformConfig(bits=4, per="group", group=64)
    store = jax.jit(lambda matrix: uniform.quantize(matrix, (1024, 1024)))
    assert lost(store(jnp.asarray(weight.T))) == pytest.approx(0.1081, abs=5e-4)


def test_a_weight_costs_4_127_bits():
    weight = _weight(1024, 1024)
    assert bits_per_parameter(_quantize(weight)) == pytest.approx(4.127, abs=1e-3)
    assert bits_per_parameter(_quantize(weight, double=False)) == 4.5


@pytest.mark.parametrize("double", [False, True])
def test_blocks_of_zeros_stay_zeros(double):
    weight = _weight(8, 128)
    weight[2], weight[5, 64:] = 0.0, 1e-42
    kernel = _quantize(weight, double=double)
    dense = np.asarray(kernel.dense()).T
    assert np.isfinite(dense).all()
    assert not dense[2].any()
    np.testing.assert_allclose(dense[5, 64:], 0.0, atol=1e-30)
    nothing = _quantize(np.zeros((8, 128), "float32"), double=double)
    assert not np.asarray(nothing.dense()).any()


def test_scales_come_back_within_a_step_of_the_dynamic_map():
    absmax = jnp.asarray(np.random.default_rng(0).gamma(4.0, size=1000), jnp.float32)
    codes, scale, mean = compress_scales(absmax)
    assert (codes.shape, scale.shape, mean.shape) == ((1000,), (4,), ())
    back = np.asarray(expand_scales(codes, scale, mean))
    spread = np.repeat(np.asarray(scale), 256)[:1000]
    # The widest gap between levels: 0.9 / 64.
    assert (np.abs(back - absmax) <= 0.5 * 0.9 / 64 * spread * (1 + 1e-3)).all()
    pair = jax.tree.map(lambda x: jnp.stack([x, x]), (codes, scale, mean))
    np.testing.assert_allclose(expand_scales(*pair), [back, back], rtol=1e-6)


@pytest.mark.parametrize("shape", [(40, 128), (33, 20)])
def test_products_and_gradients_are_those_of_the_dense_matrix(shape):
    kernel = _quantize(_weight(*shape))
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(5, shape[1])), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(5, shape[0])), jnp.float32)
    dense = np.asarray(kernel.dense(), float)
    np.testing.assert_allclose(kernel.product(x), np.asarray(x) @ dense, rtol=1e-5, atol=1e-4)
    found = jax.grad(lambda x: jnp.sum(kernel.product(x) * weights))(x)
    np.testing.assert_allclose(found, np.asarray(weights) @ dense.T, rtol=1e-5, atol=1e-4)
    # In bfloat16 the matrix is rounded to it, as in the recipe.
    half = kernel.product(x.astype(jnp.bfloat16))
    rounded = np.asarray(kernel.dense(jnp.bfloat16), float)
    np.testing.assert_allclose(rounded, dense, rtol=2**-8)
    expected = np.asarray(x.astype(jnp.bfloat16), float) @ rounded
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(half, float), expected, rtol=2**-7, atol=0.02)


@pytest.mark.parametrize("shape", [(40, 128), (33, 20)])
def test_a_stack_is_one_node_that_scans_to_its_layers(shape):
    weights = [_weight(*shape, seed=seed) for seed in range(3)]
    layers = [_quantize(weight) for weight in weights]
    stack = jax.tree.map(lambda *own: jnp.stack(own), *layers)
    stack = dataclasses.replace(stack, kernel_shape=(shape[1], shape[0], 1))
    assert stack.shape == (3, shape[1], shape[0], 1)
    _, found = jax.lax.scan(lambda _, own: (None, own.dense()), None, stack)
    for layer in range(3):
        np.testing.assert_allclose(found[layer], layers[layer].dense(), rtol=1e-6)
        np.testing.assert_allclose(stack.dense()[layer], layers[layer].dense(), rtol=1e-6)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="nf4 or fp4, got 'nf8'"):
        CodebookConfig("nf8")
    with pytest.raises(ConfigError, match="even number of values, got 33"):
        CodebookConfig(block=33)
