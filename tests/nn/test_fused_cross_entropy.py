"""Loss and gradients against PyTorch's cross-entropy over logits that are stored."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nn import linear_cross_entropy
from jaxrec.nn.fused_cross_entropy import ROWS


@pytest.mark.parametrize("count", [7, ROWS, 2 * ROWS + 5])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_loss_and_gradients_equal_torchs(count, cap):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    states, table = rng.normal(size=(count, 6)), rng.normal(size=(19, 6))
    targets, weights = rng.integers(0, 19, count), rng.random(count)
    weights[::3] = 0.0
    x, w = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (states, table))
    logits = x @ w.T
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="none")
    expected = (losses * torch.tensor(weights)).sum()
    (3 * expected).backward()

    def loss(states, table):
        return 3 * linear_cross_entropy(
            states, table, jnp.asarray(targets, jnp.int32), jnp.asarray(weights, jnp.float32), cap
        )

    arguments = jnp.asarray(states, jnp.float32), jnp.asarray(table, jnp.float32)
    found, (d_states, d_table) = jax.jit(jax.value_and_grad(loss, (0, 1)))(*arguments)
    np.testing.assert_allclose(found, 3 * expected.item(), rtol=1e-5)
    np.testing.assert_allclose(loss(*arguments), found, rtol=1e-6)
    np.testing.assert_allclose(d_states, x.grad, atol=1e-5)
    np.testing.assert_allclose(d_table, w.grad, atol=2e-6 * count, rtol=1e-4)


def test_the_logits_of_all_tokens_are_never_stored():
    tokens, vocabulary = 8 * ROWS, 512
    shapes = [
        jax.ShapeDtypeStruct((tokens, 8), jnp.float32),
        jax.ShapeDtypeStruct((vocabulary, 8), jnp.float32),
        jax.ShapeDtypeStruct((tokens,), jnp.int32),
        jax.ShapeDtypeStruct((tokens,), jnp.float32),
    ]
    gradient = jax.jit(jax.grad(functools.partial(linear_cross_entropy, cap=None), (0, 1)))
    used = gradient.lower(*shapes).compile().memory_analysis().temp_size_in_bytes
    assert used < tokens * vocabulary * 4 / 2


def test_bfloat16_gradients_keep_their_dtype():
    rng = np.random.default_rng(1)
    states, table = (jnp.asarray(rng.normal(size=s), jnp.bfloat16) for s in ((9, 4), (11, 4)))
    targets, weights = jnp.arange(9, dtype=jnp.int32), jnp.ones(9, jnp.float32)
    exact = jax.grad(linear_cross_entropy, (0, 1))(
        states.astype(jnp.float32), table.astype(jnp.float32), targets, weights
    )
    found = jax.grad(linear_cross_entropy, (0, 1))(states, table, targets, weights)
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.05)
