"""Products with frozen kernels: gradients flow to the input, never to the kernel."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.nn import StoredKernel

Forward = Callable[[Any, jax.Array], jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def frozen_product(forward: Forward, x: jax.Array, kernel: StoredKernel) -> jax.Array:
    """Compute `forward(kernel, x)` with the gradient of x W, where W = `kernel.dense()`.

    The backward pass keeps the stored kernel and computes W again, so no dense matrix is held
    between the two passes. Rounding of x passes the gradient straight through.

    Args:
      forward: the product, which maps `[M, I]` to `[M, O]`.
      x: `[M, I]`.
      kernel: the stored kernel.
    """
    return forward(kernel, x)


def _forward(
    forward: Forward, x: jax.Array, kernel: StoredKernel
) -> tuple[jax.Array, StoredKernel]:
    return forward(kernel, x), kernel


def _backward(
    forward: Forward, kernel: StoredKernel, gradient: jax.Array
) -> tuple[jax.Array, None]:
    # Without the barrier XLA would reuse, and so keep, the dense matrix of the forward pass.
    kernel, gradient = jax.lax.optimization_barrier((kernel, gradient))
    return dense_product(gradient, kernel.dense(gradient.dtype), transposed=True), None


frozen_product.defvjp(_forward, _backward)


def dense_product(x: jax.Array, matrix: jax.Array, transposed: bool = False) -> jax.Array:
    """Return `x @ matrix`, or `x @ matrix.T`, in the dtype that both share."""
    numbers = (((1,), (int(transposed),)), ((), ()))
    return jax.lax.dot_general(x, matrix, numbers, preferred_element_type=x.dtype)


def integer_product(x: jax.Array, codes: jax.Array) -> jax.Array:
    """Return `[M, I] @ [I, O]` of int8, summed in int32, as matrix units compute it.

    Sums cannot overflow for I below 2^31 / 127^2, about 133,000.
    """
    numbers = (((1,), (0,)), ((), ()))
    return jax.lax.dot_general(x, codes, numbers, preferred_element_type=jnp.int32)
