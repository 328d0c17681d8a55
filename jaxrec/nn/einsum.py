"""The one layer that reads a weight matrix.

Everything that multiplies by a kernel goes through `Einsum`, so that a quantized kernel or a
low-rank update is a change of one place and of the parameter tree, never a second model.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import constrain, gathered, is_box, is_sharded, merge_rows, split_rows
from jaxrec.nn.kernel import KernelUpdate, StoredKernel, branch_seed, tuned, with_kernel_axes

Initializer = Callable[..., jax.Array]


def fan_in_normal(fan_in: int, scale: float = 1.0) -> Initializer:
    """Normal initializer with variance `scale / fan_in`, for kernels of any rank."""
    return nn.initializers.normal(stddev=(scale / fan_in) ** 0.5)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matrix_product(x: jax.Array, kernel: jax.Array, dtype: Any = None) -> jax.Array:
    """`[M, I] @ [I, O]` of one dtype, with a gradient that a CPU computes fast.

    XLA's product of a transposed matrix runs at half its speed on a CPU when the transposed one is
    the wider. `dtype` is of the result; None for that of `x`.
    """
    return _forward(x, kernel, dtype)[0]


def _forward(x: jax.Array, kernel: jax.Array, dtype: Any) -> tuple[jax.Array, Any]:
    return jnp.matmul(x, kernel, preferred_element_type=dtype or x.dtype), (x, kernel)


def _backward(dtype: Any, residuals: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    gradient = gradient.astype(x.dtype)
    turn = x.shape[1] > gradient.shape[1]
    product = gradient.T @ x if turn else x.T @ gradient
    # The barrier keeps XLA from turning the product around to save a transposition.
    product = jax.lax.optimization_barrier(product)
    return gradient @ kernel.T, product.T if turn else product


matrix_product.defvjp(_forward, _backward)


class Einsum(nn.Module):
    """`einsum(equation, x, kernel) [+ bias]`, run as one matrix product.

    The kernel may be a `StoredKernel`, and a `KernelUpdate` may lie beside it: see `nn.kernel`.

    Attributes:
      equation: einsum string of two operands, the kernel second: batch axes first in `x` and in the
        output, the contracted axes last in `x` and first in the kernel, as in "btd,dnh->btnh".
      shape: shape of the kernel.
      axes: logical name of each kernel axis, for sharding rules.
      bias_axes: how many trailing kernel axes the bias has; 0 means no bias.
      init: kernel initializer.
      dtype: dtype of the product; the kernel is stored in float32.
    """

    equation: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    bias_axes: int = 0
    init: Initializer = nn.initializers.normal(0.02)
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Create the parameters."""
        kernel = self.get_variable("params", "kernel")
        if not isinstance(kernel, StoredKernel):
            init = with_kernel_axes(self.init, self.axes, self._contracted)
            kernel = self.param("kernel", init, self.shape, jnp.float32)
        self._kernel = kernel
        if self.bias_axes:
            axes, shape = self.axes[-self.bias_axes :], self.shape[-self.bias_axes :]
            zeros = nn.with_partitioning(nn.initializers.zeros_init(), axes)
            self._bias = self.param("bias", zeros, shape, jnp.float32)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply to `x`, whose shape the equation gives."""
        x = x.astype(self.dtype)
        y = self.updated(x, self._product(x, self._gathered(self._kernel)))
        if self.bias_axes:
            axes = self.axes[-self.bias_axes :]
            bias = gathered(self._bias, axes).astype(self.dtype)
            y = y + bias.reshape((1,) * (y.ndim - bias.ndim) + bias.shape)
        return y

    def matrix(self) -> tuple[jax.Array, jax.Array] | None:
        """The kernel as a matrix `[I, O]` and the bias `[O]`; None for a `StoredKernel`."""
        if isinstance(self._kernel, StoredKernel):
            return None
        inner = math.prod(self.shape[: self._contracted])
        kernel = self._kernel.astype(self.dtype).reshape(inner, -1)
        if not self.bias_axes:
            return kernel, jnp.zeros(kernel.shape[1], self.dtype)
        bias = jnp.broadcast_to(self._bias.astype(self.dtype), self.shape[self._contracted :])
        return kernel, bias.reshape(-1)

    def updated(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Add to the product `y` of `x` the layer's low-rank update, if it has one.

        Runs once for every input, of products that are joined too: `quant.layers` listens here.
        """
        if (update := tuned(self, "update")) is not None:
            y = y + self._branch(x, update)
        return y

    @property
    def _contracted(self) -> int:
        """Number of contracted axes, from the equation."""
        inputs, out = self.equation.split("->")
        left, right = inputs.split(",")
        contracted = sum(axis in left for axis in right)
        batch = left[: len(left) - contracted]
        if left != batch + right[:contracted] or out != batch + right[contracted:]:
            raise ValueError(f"{self.equation!r} is no product of matrices: see Einsum.equation")
        return contracted

    def _gathered(self, kernel: jax.Array | StoredKernel) -> jax.Array | StoredKernel:
        """The kernel where the product needs it; a plain one in the product's dtype."""
        if not isinstance(kernel, StoredKernel):
            return gathered(kernel.astype(self.dtype), self.axes)
        if not is_sharded():
            return kernel
        boxed = kernel.boxed((self.axes[0], self.axes[self._contracted]))
        return jax.tree.map(lambda box: gathered(box.value, box.names), boxed, is_leaf=is_box)

    def _product(self, x: jax.Array, kernel: jax.Array | StoredKernel) -> jax.Array:
        """Contract as two matrices.

        With several batch axes the gradient of the kernel contracts all of them, which XLA on a CPU
        does at a third of the speed of the same product over one axis.
        """
        contracted = self._contracted
        inner, outer = self.axes[:contracted], self.axes[contracted:]
        rows, size = x.shape[: x.ndim - contracted], math.prod(self.shape[:contracted])
        matrix = (merge_rows(x, inner, outer) if len(rows) == 2 else x).reshape(-1, size)
        if isinstance(kernel, StoredKernel):
            matrix = kernel.product(matrix)
        else:
            matrix = matrix_product(matrix, kernel.reshape(size, -1))
        y = matrix.reshape(-1, *self.shape[contracted:])
        y = split_rows(y, rows, *self.axes) if len(rows) == 2 else y.reshape(*rows, *y.shape[1:])
        names = (*("batch", "sequence")[: len(rows)], *(None for _ in rows[2:]))
        return constrain(y, *names, *outer)

    def _branch(self, x: jax.Array, update: KernelUpdate) -> jax.Array:
        contracted = self._contracted
        rows = x.shape[: x.ndim - contracted]
        branch = update.branch(x.reshape(*rows, -1), branch_seed(self))
        return branch.astype(x.dtype).reshape(*rows, *self.shape[contracted:])


def joint(layers: Sequence[Einsum], x: jax.Array) -> list[jax.Array]:
    """Apply layers of one dtype to one input `[B, T, D]`, by one product where that pays.

    One product reads `x` once, and so does its gradient. Joining the kernels copies them, which
    pays from D rows on; kernels on several devices would have to move.
    """
    x, width = x.astype(layers[0].dtype), x.shape[-1]
    few = is_sharded() or math.prod(x.shape[:-1]) < width
    found = [] if few else [part for layer in layers if (part := layer.matrix()) is not None]
    if len(found) < len(layers):
        return [layer(x) for layer in layers]
    kernels, biases = zip(*found, strict=True)
    product = matrix_product(x.reshape(-1, width), jnp.concatenate(kernels, axis=1))
    if any(layer.bias_axes for layer in layers):
        product = product + jnp.concatenate(biases)[None]
    ends = list(itertools.accumulate(kernel.shape[1] for kernel in kernels))
    parts = jnp.split(product, ends[:-1], axis=1)
    return [
        layer.updated(x, part.reshape(*x.shape[:-1], *layer.shape[1:]))
        for layer, part in zip(layers, parts, strict=True)
    ]
