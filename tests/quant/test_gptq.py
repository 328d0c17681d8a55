"""GPTQ against its formulas written column by column in NumPy, OBQ by brute force, and qwix."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError, DataError
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.nn import kernel_specs
from jaxrec.quant import (
    GptqConfig,
    Grid,
    RangeConfig,
    UniformConfig,
    UniformKernel,
    gptq_params,
    quantize_params,
    targets,
)
from jaxrec.quant.gptq import _round, inverse_factor, output_error, quantize

GRIDS = {
    "2 affine": UniformConfig(bits=2, symmetric=False),
    "3 affine": UniformConfig(bits=3, symmetric=False),
    "4 affine": UniformConfig(bits=4, symmetric=False),
    "8 affine": UniformConfig(bits=8, symmetric=False),
    "2 symmetric": UniformConfig(bits=2),
    "3 symmetric": UniformConfig(bits=3),
    "4 symmetric": UniformConfig(bits=4),
    "8 symmetric": UniformConfig(bits=8),
    "3 affine groups": UniformConfig(bits=3, symmetric=False, per="group", group=8),
    "4 symmetric groups": UniformConfig(bits=4, per="group", group=8),
    "4 affine tensor": UniformConfig(bits=4, symmetric=False, per="tensor"),
    "3 affine mse": UniformConfig(bits=3, symmetric=False, range=RangeConfig("mse")),
}


def layer(inner=24, outer=10, rows=200, seed=0):
    """A kernel `[I, O]` and H of inputs that are strongly correlated and of different sizes."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(inner, inner)) * np.geomspace(3.0, 0.1, inner)
    x = rng.normal(size=(rows, inner)) @ mix.T
    return rng.normal(size=(inner, outer)).astype(np.float32), x, 2.0 * x.T @ x / rows


def kernel_of(matrix, hessian, config):
    return quantize(jnp.asarray(matrix), hessian, config, matrix.shape)


class Plain:
    """GPTQ as the paper has it, in float64: W `[O, I]`, one column at a time, H^-1 by inversion."""

    def __init__(self, matrix, hessian, config):
        weights = config.weights
        w, h = matrix.T.astype(np.float64).copy(), hessian.copy()
        inner = len(h)
        size = weights.group if weights.per == "group" else inner
        for j in range(inner):
            if h[j, j] == 0:
                h[j, j] = 1
                w[:, j] = 0
        static = [self.ranges(w[:, at : at + size], weights) for at in range(0, inner, size)]
        order = list(range(inner))
        if config.act_order:
            order.sort(key=lambda j: -h[j, j])
        w, h = w[:, order], h[order][:, order]
        h += config.damping * np.mean(np.diag(h)) * np.eye(inner)
        upper = np.linalg.cholesky(np.linalg.inv(h)).T
        q = np.zeros_like(w)
        for i in range(inner):
            if size < inner and not config.static_groups:
                if i % size == 0:
                    scale, zero = self.ranges(w[:, i : i + size], weights)
            else:
                scale, zero = static[order[i] // size]
            low, high = self.limits(weights)
            q[:, i] = scale * (np.clip(np.round(w[:, i] / scale) + zero, low, high) - zero)
            error = (w[:, i] - q[:, i]) / upper[i, i]
            w[:, i:] -= np.outer(error, upper[i, i:])
        self.dense = np.zeros_like(q)
        self.dense[:, order] = q
        self.dense = self.dense.T

    @staticmethod
    def limits(weights):
        most = 2 ** (weights.bits - 1) - 1
        return (-most if weights.symmetric else -most - 1), most

    def ranges(self, w, weights):
        """Scale and zero point of every row of W; plain absmax and minmax only."""
        low, high = self.limits(weights)
        if weights.per == "tensor":
            w = np.broadcast_to(w.reshape(1, -1), (len(w), w.size))
        if weights.symmetric:
            return np.abs(w).max(1) / high, np.zeros(len(w))
        least, most = np.minimum(w.min(1), 0), np.maximum(w.max(1), 0)
        scale = (most - least) / (high - low)
        return scale, np.clip(np.round(low - least / scale), low, high)


@pytest.mark.parametrize("order", ["plain", "act", "static", "act static"])
@pytest.mark.parametrize("name", [name for name in GRIDS if "mse" not in name])
def test_equals_the_formulas_written_column_by_column(name, order):
    matrix, _, hessian = layer()
    hessian[5] = hessian[:, 5] = 0.0
    config = GptqConfig(
        weights=GRIDS[name], act_order="act" in order, static_groups="static" in order
    )
    found = kernel_of(matrix, hessian, config)
    np.testing.assert_allclose(found.dense(), Plain(matrix, hessian, config).dense, atol=1e-5)


@pytest.mark.parametrize("name", GRIDS)
def test_inputs_without_correlation_give_rounding_to_nearest_exactly(name):
    matrix, *_ = layer()
    for factor in (1.0, 37.3):
        found = kernel_of(matrix, factor * np.eye(len(matrix)), GptqConfig(weights=GRIDS[name]))
        expected = GRIDS[name].quantize(jnp.asarray(matrix), matrix.shape)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("name", ["3 affine", "3 affine groups"])
def test_blocks_of_updates_change_nothing_but_speed(name, act_order):
    matrix, _, hessian = layer(seed=3)
    made = [
        kernel_of(
            matrix, hessian, GptqConfig(weights=GRIDS[name], act_order=act_order, block=block)
        )
        for block in (1, 7, 16, 128)
    ]
    for other in made[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), made[0], other)


def test_steps_are_those_of_obq_in_a_fixed_order():
    # Frantar and Alistarh 2022, eq. 3: delta = -(w - q) / [H^-1]_pp (H^-1)_p on what is left, by
    # inverting the Hessian of what is left anew in each step.
    matrix, _, hessian = layer(inner=6, outer=3)
    config = GptqConfig(weights=UniformConfig(bits=3, symmetric=False), damping=0.0)
    scale, zero = (np.asarray(x, np.float64)[0] for x in config.weights.fit(jnp.asarray(matrix)))
    w = matrix.astype(np.float64)
    for p in range(6):
        inverse = np.linalg.inv(hessian[p:, p:])
        q = scale * (np.clip(np.round(w[p] / scale) + zero, -4, 3) - zero)
        w[p + 1 :] -= np.outer(inverse[0, 1:], w[p] - q) / inverse[0, 0]
        w[p] = q
    np.testing.assert_allclose(kernel_of(matrix, hessian, config).dense(), w, atol=1e-5)


def test_lies_between_the_best_rounding_and_rounding_to_nearest():
    weights = UniformConfig(bits=2, symmetric=False)
    for seed in range(10):
        matrix, x, hessian = layer(inner=5, outer=1, seed=seed)
        scale, zero = (float(a[0, 0]) for a in weights.fit(jnp.asarray(matrix)))
        levels = scale * (np.arange(-2, 2) - zero)
        best = min(
            np.mean((x @ (matrix[:, 0] - np.array(q))) ** 2)
            for q in itertools.product(levels, repeat=5)
        )
        made = kernel_of(matrix, hessian, GptqConfig(weights=weights, act_order=True))
        plain = weights.quantize(jnp.asarray(matrix), matrix.shape)
        error, nearest = (
            np.mean((x @ (matrix - np.asarray(kernel.dense()))) ** 2) for kernel in (made, plain)
        )
        assert best - 1e-9 <= error <= nearest + 1e-9


@pytest.mark.parametrize("name", GRIDS)
def test_error_is_below_that_of_rounding_to_nearest(name):
    for seed in range(3):
        matrix, x, hessian = layer(seed=seed)
        made = kernel_of(matrix, hessian, GptqConfig(weights=GRIDS[name]))
        plain = GRIDS[name].quantize(jnp.asarray(matrix), matrix.shape)
        change = matrix - np.asarray(made.dense(), np.float64)
        error, nearest = (
            np.mean(np.sum((x @ (matrix - np.asarray(kernel.dense(), np.float64))) ** 2, axis=1))
            for kernel in (made, plain)
        )
        assert error < 0.8 * nearest
        np.testing.assert_allclose(output_error(change, hessian), error, rtol=1e-9)


def test_the_factor_is_the_cholesky_factor_of_the_inverse():
    hessian = layer()[2]
    upper = inverse_factor(hessian, 0.01)
    damped = hessian + 0.01 * np.mean(np.diag(hessian)) * np.eye(len(hessian))
    np.testing.assert_allclose(upper, np.linalg.cholesky(np.linalg.inv(damped)).T, rtol=1e-6)
    assert np.all(np.tril(upper, -1) == 0)


def test_too_few_rows_are_damped_and_what_is_no_hessian_is_refused():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 12))
    gram = x.T @ x - 1e-9 * np.eye(12)  # rounding may leave it indefinite
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(gram)
    for damping in (0.0, 1e-12, 0.01):
        assert np.isfinite(inverse_factor(gram, damping)).all()
    with pytest.raises(DataError, match="not finite"):
        inverse_factor(np.full((2, 2), np.nan), 0.01)
    with pytest.raises(DataError, match="with damping 1"):
        inverse_factor(np.array([[1.0, 5.0], [5.0, 1.0]]), 0.01)


def test_dead_inputs_have_no_weights_and_do_not_stretch_the_grid():
    matrix, _, hessian = layer()
    hessian[7] = hessian[:, 7] = 0.0
    matrix[7] = 100.0
    made = kernel_of(matrix, hessian, GptqConfig(weights=UniformConfig(bits=4)))
    assert not np.asarray(made.dense())[7].any()
    rest = np.delete(matrix, 7, axis=0)
    np.testing.assert_allclose(made.scale[0], np.abs(rest).max(0) / 7, rtol=1e-6)


def test_groups_in_the_order_of_rounding_gather_inputs_and_static_ones_do_not():
    matrix, x, hessian = layer()
    for static in (False, True):
        config = GptqConfig(weights=GRIDS["3 affine groups"], act_order=True, static_groups=static)
        made = kernel_of(matrix, hessian, config)
        assert (made.order is None) == static
        rows = jnp.asarray(x[:4], jnp.float32)
        np.testing.assert_allclose(made.product(rows), rows @ made.dense(), rtol=1e-4, atol=1e-4)
        if not static:
            np.testing.assert_array_equal(made.order, np.argsort(-np.diag(hessian)))


@pytest.mark.parametrize(("bits", "qtype"), [(4, "int4"), (8, "int8")])
def test_equals_qwix_on_its_own_grid(bits, qtype):
    gptq_core = pytest.importorskip("qwix.contrib.gptq_core")
    from qwix._src.core import qarray

    matrix, _, hessian = layer(inner=16, outer=32, rows=2000, seed=1)
    how = qarray.HowToQuantize(qtype=qtype, channelwise_axes=(0,))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs, _ = gptq_core.quantize_weight(
            jnp.asarray(matrix.T), jnp.asarray(hessian, jnp.float32), how, blocksize=8
        )
    # Its symmetric grid is absmax / 7.5 with all 16 codes: ours for asymmetric ones, with Z = 0.
    scale = theirs.scale.T
    codes, _, _ = _round(
        jnp.asarray(matrix),
        jnp.asarray(inverse_factor(hessian, 0.01), jnp.float32),
        jnp.zeros(16, jnp.int32),
        scale,
        jnp.zeros(scale.shape, jnp.int8),
        block=8,
        grid=Grid(bits, symmetric=False),
        moving=None,
    )
    np.testing.assert_array_equal(codes, theirs.qvalue.T.astype(jnp.int8))
    nearest = UniformConfig(bits=bits).quantize(jnp.asarray(matrix), matrix.shape).dense()
    made = kernel_of(matrix, hessian, GptqConfig(weights=UniformConfig(bits=bits))).dense()
    error, their_error, nearest_error = (
        output_error(matrix - np.asarray(dense, np.float64), hessian)
        for dense in (made, theirs.qvalue.T.astype(jnp.float32) * scale, nearest)
    )
    assert max(error, their_error) < 0.6 * nearest_error


SPEC = ModelSpec(
    "causal",
    TransformerConfig(vocab_size=40, width=32, depth=2, num_heads=2, mlp_width=48, max_length=32),
)
T5 = ModelSpec(
    "encoder_decoder",
    TransformerConfig(
        vocab_size=40, width=16, depth=1, num_heads=2, mlp_width=24, positions="relative"
    ),
)


def model_and_batches(spec, rows=16, length=24):
    shapes = nn.meta.unbox(spec.shapes())
    rng = np.random.default_rng(0)

    def draw(path, s):
        if path[-1].key == "scale":
            return jnp.asarray(1 + 0.3 * rng.normal(size=s.shape), s.dtype)
        return jnp.asarray(rng.normal(size=s.shape) / s.shape[1] ** 0.5, s.dtype)

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    batches = []
    for _ in range(2):
        valid = jnp.asarray(np.arange(length)[None] < rng.integers(4, length + 1, (rows, 1)))
        tokens = jnp.asarray(rng.integers(0, 40, (rows, length)), jnp.int32)
        batch = {"tokens": tokens, "valid": valid}
        if spec.kind == "encoder_decoder":
            batch |= {"targets": tokens[:, ::-1], "targets_valid": valid}
        batches.append(batch)
    return variables, batches


MODELS = {
    "llama": (SPEC, False, ("all",)),
    "t5": (T5, True, ("memory_projection/cross/key", "blocks/cross/out", "mlp/down")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models_lose_less_than_by_rounding_to_nearest(name):
    spec, true_sequential, names = MODELS[name]
    variables, batches = model_and_batches(spec)
    weights = UniformConfig(bits=3, symmetric=False)
    config = GptqConfig(weights=weights, true_sequential=true_sequential)
    params, errors = gptq_params(spec, variables, batches, config, names)
    specs = kernel_specs(spec.shapes())
    nearest = quantize_params(variables["params"], specs, weights, names)
    assert set(errors) == set(targets(specs, names))
    assert all(found.shape == (specs[path].layers,) for path, found in errors.items())
    leaves, plain = flatten_dict(params, sep="/"), flatten_dict(nearest, sep="/")
    for path, leaf in flatten_dict(variables["params"], sep="/").items():
        if path.removesuffix("/kernel") in errors:
            assert isinstance(leaves[path], UniformKernel)
            assert leaves[path].shape == plain[path].shape
        else:
            np.testing.assert_array_equal(leaves[path], leaf)
    run = jax.jit(lambda params: spec.build().apply({"params": params}, **batches[0]))
    exact = run(variables["params"])
    loss = [float(jnp.mean((run(p) - exact) ** 2)) for p in (params, nearest)]
    assert loss[0] < 0.7 * loss[1]


def test_mistakes_name_themselves():
    variables, batches = model_and_batches(SPEC)
    groups = GptqConfig(weights=UniformConfig(bits=4, per="group", group=20))
    with pytest.raises(ConfigError, match=r"decoder/blocks/attention/key: groups of 20 rows"):
        gptq_params(SPEC, variables, batches, groups)
    with pytest.raises(ConfigError, match="block of GPTQ must be at least 1 input, got 0"):
        GptqConfig(block=0)
    with pytest.raises(ConfigError, match="damping of GPTQ must lie in"):
        GptqConfig(damping=-0.1)
    broken = dataclasses.replace(SPEC)
    variables["params"]["embedding"]["table"] = variables["params"]["embedding"]["table"] * jnp.nan
    with pytest.raises(DataError, match="decoder/blocks/attention/query, layer 0: the calibration"):
        gptq_params(broken, variables, batches, GptqConfig())
