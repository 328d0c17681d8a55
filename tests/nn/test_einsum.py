import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nn import matrix_product


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
