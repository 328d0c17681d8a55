"""Products with uniform kernels against integer arithmetic done by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix

from jaxrec.nn import StoredKernel
from jaxrec.quant import UniformConfig, UniformKernel, bits_per_parameter, quantize_rows

I, O = 96, 10


def _matrix(seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(I, O)) + 0.2, jnp.float32)


def _inputs(rows=7, seed=1):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(rows, I)) * np.exp(rng.normal(size=(rows, 1))), jnp.float32)


@functools.cache
def _kernel(**settings):
    config = UniformConfig(**settings)
    return jax.jit(lambda matrix: config.quantize(matrix, (I, O)))(_matrix())


CASES = [
    {"bits": bits, "symmetric": symmetric, "per": per, "group": 24}
    for bits, symmetric, per in [
        (8, True, "tensor"),
        (8, True, "channel"),
        (8, False, "channel"),
        (8, False, "group"),
        (4, False, "tensor"),
        (4, True, "group"),
        (3, False, "group"),
        (2, True, "channel"),
    ]
]


def _by_hand(kernel):
    """S (q - Z) of every weight, in float64."""
    size = I // kernel.scale.shape[0]
    scale = np.repeat(np.asarray(kernel.scale, float), size, axis=0)
    zero = 0 if kernel.zero is None else np.repeat(np.asarray(kernel.zero, float), size, axis=0)
    return scale * (np.asarray(kernel.integers, float) - zero)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_alone_multiply_as_the_matrix_that_they_stand_for(case):
    kernel, x = _kernel(**case), _inputs()
    assert isinstance(kernel, StoredKernel) and kernel.shape == (I, O)
    dense = _by_hand(kernel)
    np.testing.assert_allclose(kernel.dense(), dense, atol=1e-6)
    step = np.repeat(np.asarray(kernel.scale), I // kernel.scale.shape[0], axis=0)
    assert (np.abs(dense - np.asarray(_matrix())) <= step / 2 * (1 + 1e-5)).all()
    np.testing.assert_allclose(kernel.product(x), np.asarray(x) @ dense, rtol=1e-5, atol=1e-4)
    half = kernel.product(x.astype(jnp.bfloat16))
    assert half.dtype == kernel.dense(jnp.bfloat16).dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(float), np.asarray(x) @ dense, rtol=0.05, atol=0.3)


@pytest.mark.parametrize("activations", ["token", "tensor", "static"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_integer_products_are_those_of_whole_numbers(case, activations):
    kernel, x = _kernel(**case), _inputs()
    most = np.abs(np.asarray(x, float)).max(1, keepdims=True)
    if activations == "static":
        # Narrower than the inputs, so that some are clipped.
        kernel, most = kernel.calibrated(jnp.asarray(1.5)), 1.5
    else:
        kernel = dataclasses.replace(kernel, activations=activations)
        most = most if activations == "token" else most.max()
    scale = most / 127
    rows = np.clip(np.round(np.asarray(x, float) / scale), -127, 127)
    expected = scale * (rows @ _by_hand(kernel))
    found = jax.jit(lambda kernel, x: kernel.product(x))(kernel, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_rows_are_rounded_as_qwix_rounds_them_at_the_same_bound():
    x = _inputs()
    theirs = qwix.quantize(x, jnp.int8, channelwise_axes=(0,))
    rows, scale = quantize_rows(x, "static", theirs.scale)
    np.testing.assert_array_equal(rows, np.maximum(np.asarray(theirs.qvalue), -127))
    _, own = quantize_rows(x, "token")
    np.testing.assert_allclose(own * 127.0 / 127.5, theirs.scale, rtol=1e-6)
    assert scale.shape == own.shape == (7, 1)


def test_a_scale_a_token_loses_less_than_one_of_all_where_one_token_is_large():
    x = _inputs().at[2].multiply(50.0)
    exact = np.asarray(x) @ np.asarray(_matrix())

    def lost(activations):
        y = np.asarray(_kernel(activations=activations).product(x))
        return np.abs(np.delete(y - exact, 2, axis=0)).mean()

    assert lost("token") < lost("tensor") / 4


def test_a_row_of_zeros_gives_zeros():
    x = _inputs().at[3].set(0.0)
    for activations in ("token", "tensor"):
        y = np.asarray(_kernel(activations=activations).product(x))
        assert np.isfinite(y).all() and not y[3].any()
        assert not np.asarray(_kernel(activations=activations).product(jnp.zeros_like(x))).any()
    assert not np.asarray(_kernel().calibrated(jnp.asarray(0.0)).product(0 * x)).any()


@pytest.mark.parametrize("case", [CASES[1], CASES[6]], ids=str)
def test_codes_may_lie_in_another_order(case):
    # As activation-ordered GPTQ stores them: groups of rows that are no neighbours.
    plain, x = _kernel(**case), _inputs()
    order = jnp.asarray(np.random.default_rng(3).permutation(I))
    matrix = _matrix()[order]
    shuffled = UniformConfig(**case).quantize(matrix, (I, O))
    kernel = dataclasses.replace(shuffled, order=order)
    expected = np.empty((I, O))
    expected[np.asarray(order)] = _by_hand(shuffled)
    np.testing.assert_allclose(kernel.dense(), expected, atol=1e-6)
    np.testing.assert_allclose(kernel.product(x), np.asarray(x) @ expected, rtol=1e-5, atol=1e-4)
    ordered = dataclasses.replace(kernel, activations="token")
    rows, scale = quantize_rows(x, "token")
    np.testing.assert_allclose(
        ordered.product(x), (np.asarray(rows) * np.asarray(scale)) @ expected, rtol=1e-5, atol=1e-4
    )
    if case["per"] == "channel":
        np.testing.assert_allclose(kernel.dense(), plain.dense(), atol=1e-6)


def _integer_dots(text):
    return [line for line in text.splitlines() if "dot_general" in line]


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("case", [CASES[1], CASES[2], CASES[5]], ids=str)
def test_the_product_is_of_int8_summed_in_int32_on_every_platform(case, platform):
    kernel = dataclasses.replace(_kernel(**case), activations="token")
    product = jax.jit(lambda kernel, x: kernel.product(x))
    text = product.trace(kernel, _inputs()).lower(lowering_platforms=(platform,)).as_text()
    dots = _integer_dots(text)
    assert dots
    for dot in dots:
        operands, result = dot.split(" : ")[1].split(" -> ")
        assert operands.count("xi8>") == 2 and "xi32>" in result
    # Weights alone are multiplied in the dtype of the input.
    plain = product.trace(_kernel(**case), _inputs().astype(jnp.bfloat16))
    text = plain.lower(lowering_platforms=(platform,)).as_text()
    assert [dot.split(" : ")[1].count("xbf16>") for dot in _integer_dots(text)] == [3]


@pytest.mark.parametrize("activations", ["none", "token", "tensor"])
@pytest.mark.parametrize("case", [CASES[1], CASES[6]], ids=str)
def test_the_gradient_is_that_of_the_dense_matrix(case, activations):
    kernel = dataclasses.replace(_kernel(**case), activations=activations)
    x, weights = _inputs(), jnp.asarray(np.random.default_rng(5).normal(size=(7, O)), jnp.float32)
    found = jax.grad(lambda x: jnp.sum(kernel.product(x) * weights))(x)
    expected = np.asarray(weights) @ _by_hand(kernel).T
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_inputs_beyond_a_fixed_range_get_no_gradient():
    kernel, x = _kernel().calibrated(jnp.asarray(1.5)), _inputs()
    found = np.asarray(jax.grad(lambda x: jnp.sum(kernel.product(x)))(x))
    inside = np.abs(np.asarray(x)) <= 1.5
    assert 0.1 < inside.mean() < 0.9
    expected = np.where(inside, _by_hand(kernel).sum(1)[None], 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_a_stack_is_one_node_that_scans_to_its_layers():
    matrices = jnp.stack([_matrix(seed) for seed in range(3)])
    config = UniformConfig(bits=3, symmetric=False, per="group", group=24, activations="token")
    quantize = jax.jit(lambda matrix: config.quantize(matrix, (I, 2, 5)))
    product, dense = jax.jit(lambda node, x: node.product(x)), jax.jit(lambda node: node.dense())
    stack = jax.jit(jax.vmap(quantize))(matrices)
    assert isinstance(stack, UniformKernel) and stack.shape == (3, I, 2, 5)
    x = _inputs()
    scan = jax.jit(
        lambda stack: jax.lax.scan(
            lambda _, own: (None, (own.product(x), own.dense())), None, stack
        )
    )
    _, found = scan(stack)
    np.testing.assert_allclose(found[1], dense(stack), atol=1e-6)
    for layer in range(3):
        alone = quantize(matrices[layer])
        assert alone.shape == (I, 2, 5)
        np.testing.assert_allclose(found[0][layer], product(alone, x), rtol=1e-5, atol=1e-5)


def test_bits_are_those_of_codes_and_scales():
    # Codes of exactly their width, a float32 a group, and a byte of zero point.
    assert bits_per_parameter(_kernel(bits=3, per="group", group=24)) == 3 + 32 / 24
    asymmetric = _kernel(bits=4, symmetric=False, per="group", group=24)
    assert bits_per_parameter(asymmetric) == 4 + 40 / 24
    assert bits_per_parameter(_kernel(bits=8)) == 8 + 32 / I
