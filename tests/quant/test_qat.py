import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.nn import kernel_specs
from jaxrec.objectives import language_loss
from jaxrec.quant import UniformConfig, quantize_params
from jaxrec.quant.grid import Grid
from jaxrec.quant.qat import RoundedConfig, RoundedKernel, finish, round_through
from jaxrec.quant.ranges import RangeConfig


@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (4, False), (8, True), (3, False)])
def test_values_and_gradients_equal_torch_fake_quantization(bits, symmetric):
    torch = pytest.importorskip("torch")
    grid = Grid(bits, symmetric)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6)).astype(np.float32)
    # Narrow scales, so that many values are clipped.
    scale = rng.uniform(0.5, 1.0, 6).astype(np.float32) / grid.highest
    zero = None if symmetric else rng.integers(grid.lowest, grid.highest, 6).astype(np.int8)
    weight = rng.normal(size=x.shape).astype(np.float32)

    def loss(x):
        zeros = None if zero is None else jnp.asarray(zero)[None]
        y = round_through(x, jnp.asarray(scale)[None], zeros, grid)
        return jnp.sum(y * weight), y

    (_, ours), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(x))
    there = torch.tensor(x, requires_grad=True)
    y = torch.fake_quantize_per_channel_affine(
        there,
        torch.tensor(scale),
        torch.tensor(np.zeros(6) if zero is None else zero, dtype=torch.int32),
        1,
        grid.lowest,
        grid.highest,
    )
    (y * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(ours, y.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(gradient, there.grad.numpy(), atol=1e-6)
    assert 0 < np.count_nonzero(gradient) < gradient.size


SPEC = ModelSpec("causal", TransformerConfig(vocab_size=12, width=16, depth=5, num_heads=2))


def _batch(seed, rows=16):
    """Sequences that count on in steps of one to three, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    step = rng.integers(1, 4, (rows, 1))
    tokens = (rng.integers(0, 12, (rows, 1)) + step * np.arange(10)[None]) % 12
    ones = jnp.ones(tokens.shape, bool)
    weights = ones.astype(jnp.float32)
    return {"tokens": jnp.asarray(tokens, jnp.int32), "valid": ones, "weights": weights}


def _loss(params, batch):
    found = language_loss(SPEC.build(), {"params": params}, batch, None)
    return found.total / found.weight


def _train(params, steps, lr):
    optimizer = optax.adam(lr)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, batch):
        gradient = jax.grad(_loss)(params, batch)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state)
            return optax.apply_updates(params, updates), state

    for seed in range(steps):
        params, state = step(params, state, _batch(seed))
    return params


def test_training_beats_rounding_and_stores_what_it_trained():
    specs = kernel_specs(SPEC.shapes())
    tokens = _batch(0)
    start = nn.meta.unbox(SPEC.build().init(jax.random.key(0), tokens["tokens"], tokens["valid"]))[
        "params"
    ]
    plain = _train(start, 150, 1e-2)
    scheme = UniformConfig(2, symmetric=False, range=RangeConfig("mse"))
    held_out = _batch(10_000, 64)
    rounded = float(_loss(quantize_params(plain, specs, scheme), held_out))
    wrapped = quantize_params(plain, specs, RoundedConfig(scheme))
    np.testing.assert_allclose(float(_loss(wrapped, held_out)), rounded, rtol=1e-5)
    trained = _train(wrapped, 100, 3e-3)
    stored = finish(trained)
    assert not any(
        isinstance(node, RoundedKernel)
        for node in jax.tree.leaves(stored, is_leaf=lambda n: isinstance(n, RoundedKernel))
    )
    found = float(_loss(stored, held_out))
    np.testing.assert_allclose(found, float(_loss(trained, held_out)), rtol=1e-5)
    assert float(_loss(plain, held_out)) < found < rounded - 0.1


@pytest.mark.parametrize("activations", ["token", "tensor"])
def test_inputs_are_rounded_as_the_stored_kernel_rounds_them(activations):
    scheme = UniformConfig(8, activations=activations)
    rng = np.random.default_rng(1)
    matrix = jnp.asarray(rng.normal(size=(16, 5)), jnp.float32)
    x = jnp.asarray(rng.normal(size=(7, 16)), jnp.float32)
    kernel = RoundedConfig(scheme).quantize(matrix, (16, 5))
    np.testing.assert_allclose(kernel.product(x), kernel.stored().product(x), atol=1e-5)
    gradient = jax.grad(lambda x: kernel.product(x).sum())(x)
    np.testing.assert_allclose(gradient, np.broadcast_to(kernel.dense().sum(1), (7, 16)), rtol=1e-5)
