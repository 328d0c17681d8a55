"""Products with kernels that are frozen: the gradient reaches the input and nothing else."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.nn import StoredKernel

Forward = Callable[[Any, jax.Array], jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def frozen_product(forward: Forward, x: jax.Array, kernel: StoredKernel) -> jax.Array:
    """`forward(kernel, x)`, whose gradient is that of x W with W = `kernel.dense()`.

    The backward pass keeps the stored kernel and makes W again, so that no dense matrix lives from
    the forward pass to the backward one. Rounding of x passes the gradient straight through.

    Args:
      forward: the product, `[M, I]` to `[M, O]`.
      x: `[M, I]`.
      kernel: what is stored.
    """
    return forward(kernel, x)


def _forward(
    forward: Forward, x: jax.Array, kernel: StoredKernel
) -> tuple[jax.Array, StoredKernel]:
    return forward(kernel, x), kernel


def _backward(
    forward: Forward, kernel: StoredKernel, gradient: jax.Array
) -> tuple[jax.Array, None]:
    # Without the barrier XLA would recognize the forward pass's dense matrix and keep that.
    kernel, gradient = jax.lax.optimization_barrier((kernel, gradient))
    return dense_product(gradient, kernel.dense(gradient.dtype), transposed=True), None


frozen_product.defvjp(_forward, _backward)


def dense_product(x: jax.Array, matrix: jax.Array, transposed: bool = False) -> jax.Array:
    """`x @ matrix`, or with its transpose, in the dtype of `x`, which is also that of `matrix`."""
    numbers = (((1,), (int(transposed),)), ((), ()))
    return jax.lax.dot_general(x, matrix, numbers, preferred_element_type=x.dtype)


def integer_product(x: jax.Array, codes: jax.Array) -> jax.Array:
    """`[M, I] @ [I, O]` of int8, summed in int32: what tensor cores and matrix units multiply.

    A sum cannot overflow below I = 2^31 / 127^2, some 133,000.
    """
    numbers = (((1,), (0,)), ((), ()))
    return jax.lax.dot_general(x, codes, numbers, preferred_element_type=jnp.int32)
