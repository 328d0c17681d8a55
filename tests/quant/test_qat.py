"""Rounding with a gradient, against PyTorch's fake quantization, and kernels that train with it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError
from jaxrec.core.mesh import MeshConfig, ShardingRules, make_mesh, param_shardings
from jaxrec.models import CausalLM, ModelSpec, TransformerConfig
from jaxrec.nn import kernel_specs
from jaxrec.quant import (
    Grid,
    QatConfig,
    RangeConfig,
    UniformConfig,
    UniformKernel,
    box_params,
    fake_quantize,
    finish,
    quantize_params,
)
from jaxrec.quant.qat import fake_rows


def matrices(rows=12, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, columns)).astype(np.float32) for _ in range(2))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_values_and_gradients_equal_torch_per_column(bits):
    torch = pytest.importorskip("torch")
    x, gradient = matrices()
    grid = Grid(bits, symmetric=False)
    # A range of half the values, so that many are clipped on both sides.
    scale = (np.abs(x).max(0) / 2 ** (bits - 1) / 2).astype(np.float32)
    zero = np.array([0, 1, -1, 0, 1], np.int32)
    theirs = torch.tensor(x, requires_grad=True)
    y = torch.fake_quantize_per_channel_affine(
        theirs, torch.tensor(scale), torch.tensor(zero), 1, grid.lowest, grid.highest
    )
    y.backward(torch.tensor(gradient))

    def ours(x):
        return fake_quantize(x, jnp.asarray(scale)[None], jnp.asarray(zero, jnp.int8)[None], grid)

    found, back = jax.vjp(ours, jnp.asarray(x))
    np.testing.assert_allclose(found, y.detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(back(jnp.asarray(gradient))[0], theirs.grad.numpy())
    clipped = np.asarray(back(jnp.ones_like(found))[0]) == 0.0
    assert 0.05 < clipped.mean() < 0.95


@pytest.mark.parametrize("per_column", [True, False])
def test_gradient_of_a_learned_scale_equals_torch(per_column):
    torch = pytest.importorskip("torch")
    x, gradient = matrices()
    grid = Grid(4)
    factor = (x.size // (5 if per_column else 1) * grid.highest) ** -0.5
    size = np.abs(x).max(0) if per_column else np.abs(x).max(keepdims=True).reshape(1)
    scale = (size / 12).astype(np.float32)
    values, scales = torch.tensor(x, requires_grad=True), torch.tensor(scale, requires_grad=True)
    zeros = torch.zeros(len(scale))
    if per_column:
        y = torch._fake_quantize_learnable_per_channel_affine(
            values, scales, zeros, 1, grid.lowest, grid.highest, factor
        )
    else:
        y = torch._fake_quantize_learnable_per_tensor_affine(
            values, scales, zeros, grid.lowest, grid.highest, factor
        )
    y.backward(torch.tensor(gradient))
    config = QatConfig(
        UniformConfig(bits=4, per="channel" if per_column else "tensor"), learn_scale=True
    )
    kernel = config.quantize(jnp.asarray(x), x.shape)
    kernel = dataclasses.replace(kernel, scale=jnp.asarray(scale)[None])
    found, back = jax.vjp(lambda k: k.dense(), kernel)
    (ours,) = back(jnp.asarray(gradient))
    np.testing.assert_allclose(found, y.detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(ours.matrix, values.grad.numpy())
    np.testing.assert_allclose(ours.scale[0], scales.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_gradient_of_a_scale_of_groups_is_the_sum_over_its_group():
    x, gradient = (jnp.asarray(m) for m in matrices(rows=12, columns=3))
    grid = Grid(3)
    scale = jnp.asarray(np.random.default_rng(5).uniform(0.2, 0.6, (4, 3)), jnp.float32)
    back = jax.vjp(lambda s: fake_quantize(x, s, None, grid), scale)[1]
    steps = np.asarray(x) / np.repeat(scale, 3, axis=0)
    codes = np.round(steps)
    inside = np.abs(codes) <= 3
    expected = np.asarray(gradient) * (np.clip(codes, -3, 3) - np.where(inside, steps, 0.0))
    expected = expected.reshape(4, 3, 3).sum(1)
    np.testing.assert_allclose(back(gradient)[0], expected, rtol=1e-4, atol=1e-6)


CONFIGS = {
    "int4": UniformConfig(bits=4),
    "int3 affine groups": UniformConfig(bits=3, symmetric=False, per="group", group=4),
    "int8 tensor, tokens": UniformConfig(bits=8, per="tensor", activations="token"),
    "int4 percentile, tensor": UniformConfig(
        bits=4, range=RangeConfig("percentile", 95.0), activations="tensor"
    ),
    "int2 mse": UniformConfig(bits=2, symmetric=False, range=RangeConfig("mse")),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_kernel_in_training_computes_what_the_stored_one_will(name):
    matrix, x = (jnp.asarray(m) for m in matrices(rows=12, columns=12))
    made = QatConfig(CONFIGS[name]).quantize(matrix, (12, 3, 4))
    stored = made.stored()
    expected = CONFIGS[name].quantize(matrix, (12, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, stored, expected)
    assert jax.tree.structure(stored) == jax.tree.structure(expected)
    np.testing.assert_array_equal(made.dense(), stored.dense())
    np.testing.assert_allclose(made.product(x), stored.product(x), rtol=1e-4, atol=1e-4)
    assert made.shape == stored.shape == (12, 3, 4)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_of_a_product_pass_straight_through_inside_the_range(name):
    matrix, x = (jnp.asarray(m) for m in matrices(rows=12, columns=12))
    config = CONFIGS[name]
    made = QatConfig(config).quantize(matrix, matrix.shape)
    weight = jnp.asarray(np.random.default_rng(3).normal(size=(12, 12)), jnp.float32)
    of_x, of_kernel = jax.grad(lambda x, k: (k.product(x) * weight).sum(), (0, 1))(x, made)
    rounded = x if config.activations == "none" else fake_rows(x, config.activations)
    scale, zero = (None if a is None else np.asarray(a) for a in config.fit(matrix))
    codes = np.round(np.asarray(matrix) / np.repeat(scale, 12 // len(scale), axis=0))
    codes += 0 if zero is None else np.repeat(zero, 12 // len(zero), axis=0)
    inside = (codes >= config.grid.lowest) & (codes <= config.grid.highest)
    assert inside.all() == (config.range.method == "full")
    expected = np.where(inside, rounded.T @ weight, 0.0)
    np.testing.assert_allclose(of_kernel.matrix, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_x, weight @ made.dense().T, rtol=1e-4, atol=1e-5)


def test_rows_are_rounded_by_their_own_scale_or_by_one():
    x = jnp.asarray([[127.0, 1.4, -63.4], [1.27, 0.014, -0.634]])
    expected = [[127.0, 1.0, -63.0], [1.27, 0.01, -0.63]]
    np.testing.assert_allclose(fake_rows(x, "token"), expected, rtol=1e-6)
    expected = [[127.0, 1.0, -63.0], [1.0, 0.0, -1.0]]
    np.testing.assert_allclose(fake_rows(x, "tensor"), expected, rtol=1e-6)


SPEC = ModelSpec(
    "causal", TransformerConfig(vocab_size=12, width=16, depth=2, num_heads=2, mlp_width=32)
)


def counting_batch(rng, rows=16, length=12):
    """Numbers that go on by a step of their row."""
    start, step = rng.integers(0, 12, (rows, 1)), rng.integers(1, 4, (rows, 1))
    return jnp.asarray((start + step * np.arange(length)[None]) % 12, jnp.int32)


@jax.jit
def loss(params, tokens):
    logits = CausalLM(SPEC.config).apply({"params": params}, tokens, tokens >= 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits[:, 1:-1], tokens[:, 2:])
    return losses.mean()


def trained(params, steps, lr, seed):
    optimizer = optax.adam(optax.cosine_decay_schedule(lr, steps))

    @jax.jit
    def step(params, state, tokens):
        gradient = jax.grad(loss)(params, tokens)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
            return optax.apply_updates(params, updates), state

    state, rng = optimizer.init(params), np.random.default_rng(seed)
    for _ in range(steps):
        params, state = step(params, state, counting_batch(rng))
    return params


@pytest.mark.slow
def test_training_with_rounding_beats_rounding_after_training():
    tokens = jnp.ones((1, 2), jnp.int32)
    params = nn.meta.unbox(SPEC.build().init(jax.random.key(0), tokens, tokens == 1))["params"]
    params = trained(params, 150, 1e-2, 0)
    specs = kernel_specs(SPEC.shapes())
    held_out = counting_batch(np.random.default_rng(99), rows=200)
    weights = UniformConfig(bits=2, symmetric=False, activations="token")
    nearest = float(loss(quantize_params(params, specs, weights), held_out))
    fake = quantize_params(params, specs, QatConfig(weights))
    fake = trained(fake, 60, 2e-3, 1)
    made = finish(fake)
    nodes = [leaf for path, leaf in flatten_dict(made, sep="/").items() if "kernel" in path]
    assert all(isinstance(node, UniformKernel) and node.bits == 2 for node in nodes)
    after = float(loss(made, held_out))
    np.testing.assert_allclose(after, loss(fake, held_out), rtol=1e-3)
    assert after < 0.7 * nearest


def test_a_tree_in_training_is_sharded_as_its_kernels():
    boxed = SPEC.shapes()
    params = jax.tree.map(lambda s: jnp.ones(s.shape), nn.meta.unbox(boxed))["params"]
    config = QatConfig(UniformConfig(bits=4), learn_scale=True)
    params = quantize_params(params, kernel_specs(boxed), config)
    mesh = make_mesh(MeshConfig())
    rules = ShardingRules(embed="data", mlp="model")
    found = param_shardings(box_params(params, boxed), mesh, rules)
    up = found["decoder"]["blocks"]["mlp"]["up"]["kernel"]
    assert up.matrix.spec == jax.sharding.PartitionSpec(None, "data", "model")
    assert up.scale.spec == jax.sharding.PartitionSpec(None, None, "model")


def test_mistakes_name_themselves():
    with pytest.raises(ConfigError, match="use a symmetric grid"):
        QatConfig(UniformConfig(bits=4, symmetric=False), learn_scale=True)
    with pytest.raises(ConfigError, match="no kernel was trained with rounding"):
        finish({"up": {"kernel": jnp.ones((2, 2))}})
