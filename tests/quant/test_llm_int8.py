"""LLM.int8() against bitsandbytes' operations and against its own definition."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.quant import LlmInt8Config, UniformConfig

I, O, ROWS = 128, 48, 9
OUTLIERS = (5, 40, 77)


@functools.cache
def _matrix():
    return jnp.asarray(np.random.default_rng(0).normal(size=(I, O)), jnp.float32)


@functools.cache
def _inputs(seed=1):
    """Entries below 4.5, but for three features with some far above 6."""
    rng = np.random.default_rng(seed)
    x = np.clip(rng.normal(size=(ROWS, I)), -4.5, 4.5)
    for feature in OUTLIERS:
        x[rng.choice(ROWS, 4, replace=False), feature] *= 40.0 / np.abs(x[:, feature]).max()
    x[0, OUTLIERS] = 30.0, -25.0, 20.0
    return jnp.asarray(x, jnp.float32)


@functools.cache
def _kernel(**settings):
    return LlmInt8Config(**settings).quantize(_matrix(), (I, O))


def _product(kernel, x):
    return np.asarray(jax.jit(lambda kernel, x: kernel.product(x))(kernel, x))


def test_codes_and_products_are_those_of_bitsandbytes():
    torch = pytest.importorskip("torch")
    pytest.importorskip("bitsandbytes")
    ops = torch.ops.bitsandbytes
    kernel, x = _kernel(), torch.from_numpy(np.array(_inputs()))
    weight, scale, _ = ops.int8_vectorwise_quant(torch.from_numpy(np.array(_matrix().T)), 0.0)
    np.testing.assert_array_equal(kernel.codes, weight.numpy().T)
    np.testing.assert_allclose(kernel.scale[0] * 127, scale.numpy(), rtol=1e-6)
    rows, row_scale, outliers = ops.int8_vectorwise_quant(x, 6.0)
    assert outliers.tolist() == list(OUTLIERS)
    expected = ops.int8_mixed_scaled_mm(x, rows, weight, row_scale, scale, outliers)
    expected = (expected[0] if isinstance(expected, tuple) else expected).numpy()
    found = _product(kernel, _inputs())
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("columns", [None, 3, 8])
@pytest.mark.parametrize("outlier_weights", ["dequantized", "original"])
def test_products_follow_the_definition(outlier_weights, columns):
    kernel = _kernel(outlier_weights=outlier_weights, columns=columns)
    x, matrix = np.asarray(_inputs(), float), np.asarray(_matrix(), float)
    outlier = (np.abs(x) >= 6).any(0)
    assert outlier.sum() == 3
    small = np.where(np.abs(x) >= 6, 0.0, x)
    x_scale = np.abs(small).max(1, keepdims=True) / 127
    rows = np.where(outlier, 0.0, np.round(small / x_scale))
    scale = np.abs(matrix).max(0, keepdims=True) / 127
    codes = np.round(matrix / scale)
    kept = matrix if outlier_weights == "original" else scale * codes
    expected = x_scale * scale * (rows @ codes) + x[:, outlier] @ kept[outlier]
    np.testing.assert_allclose(_product(kernel, _inputs()), expected, rtol=1e-5, atol=1e-3)


def test_more_outliers_than_columns_leave_the_smallest_to_int8():
    x = np.asarray(_inputs(), float)
    most = np.abs(x).max(0)
    least = min(OUTLIERS, key=lambda feature: most[feature])
    found = _product(_kernel(columns=2), _inputs())
    # The one that is left out is like any other feature, and widens its rows' scales.
    rest = np.array(_inputs())
    rest[:, [feature for feature in OUTLIERS if feature != least]] = 0.0
    vectors = _product(_kernel(threshold=np.inf), jnp.asarray(rest))
    kept = np.where(rest == 0, x, 0.0) @ np.asarray(_kernel().dense(), float)
    bound = np.abs(np.where((np.abs(x) >= 6) & (rest == 0), 0.0, x)).max(1)
    same = bound == np.abs(rest).max(1)
    assert same.sum() > ROWS // 2
    np.testing.assert_allclose(found[same], (vectors + kept)[same], rtol=1e-5, atol=1e-3)


def test_without_a_threshold_it_is_vector_wise_int8():
    x = _inputs()
    plain = UniformConfig(activations="token").quantize(_matrix(), (I, O))
    np.testing.assert_array_equal(_product(_kernel(threshold=np.inf), x), _product(plain, x))
    # And with one that nothing reaches.
    for columns in (None, 4):
        found = _product(_kernel(threshold=1e4, columns=columns), x)
        np.testing.assert_array_equal(found, _product(plain, x))


def test_outliers_apart_bring_the_accuracy_back():
    x = _inputs()
    exact = np.asarray(x, float) @ np.asarray(_matrix(), float)

    def lost(kernel):
        return np.sqrt(np.mean((_product(kernel, x) - exact) ** 2))

    vectors = lost(_kernel(threshold=np.inf))
    assert lost(_kernel(outlier_weights="original")) < vectors / 3
    # The weights' own rounding stays where outliers read the codes.
    assert lost(_kernel(outlier_weights="original")) < lost(_kernel()) < vectors


def test_one_row_and_rows_of_zeros():
    kernel = _kernel()
    alone = _product(kernel, _inputs()[:1])
    exact = np.asarray(_inputs()[:1], float) @ np.asarray(kernel.dense(), float)
    np.testing.assert_allclose(alone, exact, atol=0.02 * np.abs(exact).max())
    x = _inputs().at[2].set(0.0)
    assert not _product(kernel, x)[2].any()
    assert not _product(kernel, jnp.zeros_like(x)).any()


@pytest.mark.parametrize("columns", [None, 4])
def test_the_gradient_is_that_of_the_dense_matrix(columns):
    kernel = _kernel(columns=columns)
    weights = jnp.asarray(np.random.default_rng(5).normal(size=(ROWS, O)), jnp.float32)
    found = jax.grad(lambda x: jnp.sum(kernel.product(x) * weights))(_inputs())
    expected = np.asarray(weights) @ np.asarray(kernel.dense()).T
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_the_outliers_are_multiplied_in_the_inputs_dtype():
    x = _inputs().astype(jnp.bfloat16)
    product = jax.jit(lambda kernel, x: kernel.product(x))
    text = product.trace(_kernel(columns=4), x).lower(lowering_platforms=("cuda",)).as_text()
    dots = [line.split(" : ")[1] for line in text.splitlines() if "dot_general" in line]
    assert len(dots) == 2
    assert dots[0].startswith("(tensor<9x128xi8>, tensor<128x48xi8>) -> tensor<9x48xi32>")
    assert dots[1].startswith("(tensor<9x4xbf16>, tensor<4x48xbf16>) -> tensor<9x48xbf16>")
    found = product(_kernel(columns=4), x)
    assert found.dtype == jnp.bfloat16
    exact = np.asarray(x, float) @ np.asarray(_matrix(), float)
    np.testing.assert_allclose(np.asarray(found, float), exact, atol=0.02 * np.abs(exact).max())


@pytest.mark.parametrize("outlier_weights", ["dequantized", "original"])
def test_a_stack_is_one_node_that_scans_to_its_layers(outlier_weights):
    config = LlmInt8Config(outlier_weights=outlier_weights)
    matrices = jnp.stack([_matrix(), 2 * _matrix()[::-1]])
    stack = jax.vmap(lambda matrix: config.quantize(matrix, (I, 6, 8)))(matrices)
    assert stack.shape == (2, I, 6, 8)
    _, found = jax.lax.scan(lambda _, own: (None, own.product(_inputs())), None, stack)
    for layer in range(2):
        alone = config.quantize(matrices[layer], (I, 6, 8))
        np.testing.assert_allclose(found[layer], alone.product(_inputs()), rtol=1e-5, atol=1e-4)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"must be positive, got 0\.0; infinity turns"):
        LlmInt8Config(threshold=0.0)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        LlmInt8Config(columns=0)
    with pytest.raises(ConfigError, match="dequantized or original, got 'none'"):
        LlmInt8Config(outlier_weights="none")
    assert dataclasses.replace(LlmInt8Config(), threshold=np.inf).threshold == np.inf
