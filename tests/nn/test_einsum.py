import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.nn import Einsum, matrix_product
from jaxrec.nn.einsum import joint


@pytest.mark.parametrize("shape", [(7, 3, 5), (7, 5, 3), (1, 4, 4)])
@pytest.mark.parametrize("dtype", [None, jnp.float32])
def test_product_and_gradients_equal_those_of_plain_autodiff(shape, dtype):
    rows, inner, out = shape
    rng = np.random.default_rng(0)
    x, kernel, weight = (
        jnp.asarray(rng.normal(size=size), jnp.float32)
        for size in ((rows, inner), (inner, out), (rows, out))
    )

    def loss(product):
        return lambda x, kernel: (jnp.tanh(product(x, kernel)) * weight).sum()

    found = jax.value_and_grad(loss(lambda a, b: matrix_product(a, b, dtype)), (0, 1))(x, kernel)
    expected = jax.value_and_grad(loss(jnp.matmul), (0, 1))(x, kernel)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
    )


def test_bfloat16_gradients_keep_their_dtypes():
    x, kernel = jnp.ones((4, 3), jnp.bfloat16), jnp.ones((3, 2), jnp.bfloat16)

    def total(x, kernel):
        return matrix_product(x, kernel, jnp.float32).sum()

    assert matrix_product(x, kernel, jnp.float32).dtype == jnp.float32
    gradients = jax.grad(total, (0, 1))(x, kernel)
    assert {g.dtype for g in gradients} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(gradients[1].astype(jnp.float32), np.full((3, 2), 4.0))


class _Pair(nn.Module):
    """Two layers of one input, applied together or one by one."""

    together: bool

    @nn.compact
    def __call__(self, x):
        layers = [
            Einsum("btd,dnh->btnh", (4, 2, 3), ("embed", "heads", "head_size"), 2, name="wide"),
            Einsum("btd,df->btf", (4, 5), ("embed", "mlp"), name="plain"),
        ]
        return joint(layers, x) if self.together else [layer(x) for layer in layers]


@pytest.mark.parametrize("rows", [1, 3])
def test_layers_that_are_joined_equal_themselves_alone(rows):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(rows, 2, 4)), jnp.float32)
    variables = nn.meta.unbox(_Pair(False).init(jax.random.key(0), x))
    drawn = nn.meta.unbox(_Pair(True).init(jax.random.key(0), x))
    jax.tree.map(np.testing.assert_array_equal, drawn, variables)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)

    def loss(together):
        return lambda v, x: sum(jnp.tanh(y).sum() for y in _Pair(together).apply(v, x))

    found, expected = (jax.value_and_grad(loss(t), (0, 1))(variables, x) for t in (True, False))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
    )
    # One product where there are at least as many rows as the input is wide, else one each.
    text = str(jax.make_jaxpr(_Pair(True).apply)(variables, x))
    assert text.count("dot_general") == (1 if rows * 2 >= 4 else 2)
