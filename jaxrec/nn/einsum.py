"""The one layer that reads a weight matrix.

Every multiplication by a kernel goes through `Einsum`. A quantized kernel or a low-rank update
therefore changes this layer and the parameter tree, and never needs a second model.
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
    """Return a normal initializer with variance `scale / fan_in`, for kernels of any rank."""
    return nn.initializers.normal(stddev=(scale / fan_in) ** 0.5)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matrix_product(x: jax.Array, kernel: jax.Array, dtype: Any = None) -> jax.Array:
    """Multiply `[M, I]` by `[I, O]` of the same dtype, with a gradient that is fast on a CPU.

    On a CPU, XLA multiplies by a transposed matrix at half speed if that matrix is the wider one.
    The backward pass therefore chooses which operand to transpose.

    Args:
      x: `[M, I]`.
      kernel: `[I, O]`.
      dtype: dtype of the result; None for that of `x`.
    """
    return _forward(x, kernel, dtype)[0]


def _forward(x: jax.Array, kernel: jax.Array, dtype: Any) -> tuple[jax.Array, Any]:
    return jnp.matmul(x, kernel, preferred_element_type=dtype or x.dtype), (x, kernel)


def _backward(dtype: Any, residuals: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    gradient = gradient.astype(x.dtype)
    swapped = x.shape[1] > gradient.shape[1]
    product = gradient.T @ x if swapped else x.T @ gradient
    # The barrier keeps XLA from swapping the operands back to save a transposition.
    product = jax.lax.optimization_barrier(product)
    return gradient @ kernel.T, product.T if swapped else product


matrix_product.defvjp(_forward, _backward)


class Einsum(nn.Module):
    """A linear layer, `einsum(equation, x, kernel) [+ bias]`, run as one matrix product.

    The kernel may be a `StoredKernel` (a quantized one, say), and a `KernelUpdate` such as LoRA may
    be stored beside it; `jaxrec/nn/kernel.py` describes both.

    Attributes:
      equation: einsum string of two operands, the kernel second: batch axes first in `x` and in the
        output, the contracted axes last in `x` and first in the kernel, as in "btd,dnh->btnh".
      shape: shape of the kernel.
      axes: logical name of each kernel axis, for sharding rules.
      bias_axes: how many trailing kernel axes the bias has; 0 for no bias.
      init: kernel initializer.
      dtype: dtype of the product; the kernel is stored in float32.

    Example:
      >>> layer = Einsum("bd,df->bf", (2, 3), ("embed", "mlp"), bias_axes=1)
      >>> kernel = jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]])
      >>> params = {"kernel": kernel, "bias": jnp.array([0.0, 0.0, 5.0])}
      >>> layer.apply({"params": params}, jnp.array([[3.0, 4.0]])).tolist()
      [[3.0, 4.0, 19.0]]
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
        """Apply the layer to `x`, whose axes are those of the equation's first operand."""
        x = x.astype(self.dtype)
        y = self.updated(x, self._product(x, self._gathered(self._kernel)))
        if self.bias_axes:
            axes = self.axes[-self.bias_axes :]
            bias = gathered(self._bias, axes).astype(self.dtype)
            y = y + bias.reshape((1,) * (y.ndim - bias.ndim) + bias.shape)
        return y

    def matrix(self) -> tuple[jax.Array, jax.Array] | None:
        """Return the kernel as `[I, O]` and the bias as `[O]`; None for a `StoredKernel`."""
        if isinstance(self._kernel, StoredKernel):
            return None
        inner = math.prod(self.shape[: self._contracted])
        kernel = self._kernel.astype(self.dtype).reshape(inner, -1)
        if not self.bias_axes:
            return kernel, jnp.zeros(kernel.shape[1], self.dtype)
        bias = jnp.broadcast_to(self._bias.astype(self.dtype), self.shape[self._contracted :])
        return kernel, bias.reshape(-1)

    def updated(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Add the layer's low-rank update for `x`, if it has one, to the product `y`.

        This method runs exactly once per input, also when products are joined, so that
        `quant.layers` can intercept it to see every layer's input.
        """
        if (update := tuned(self, "update")) is not None:
            y = y + self._branch(x, update)
        return y

    @property
    def _contracted(self) -> int:
        """Number of contracted axes in the equation."""
        inputs, out = self.equation.split("->")
        left, right = inputs.split(",")
        contracted = sum(axis in left for axis in right)
        batch = left[: len(left) - contracted]
        if left != batch + right[:contracted] or out != batch + right[contracted:]:
            raise ValueError(
                f"the equation {self.equation!r} is not a matrix product; expected two operands "
                "whose contracted axes come last in the first and first in the second, as in "
                "'btd,dnh->btnh'"
            )
        return contracted

    def _gathered(self, kernel: jax.Array | StoredKernel) -> jax.Array | StoredKernel:
        """Return the kernel on the devices that need it, a plain one in the product's dtype."""
        if not isinstance(kernel, StoredKernel):
            return gathered(kernel.astype(self.dtype), self.axes)
        if not is_sharded():
            return kernel
        boxed = kernel.boxed((self.axes[0], self.axes[self._contracted]))
        return jax.tree.map(lambda box: gathered(box.value, box.names), boxed, is_leaf=is_box)

    def _product(self, x: jax.Array, kernel: jax.Array | StoredKernel) -> jax.Array:
        """Contract as a product of two matrices.

        With several batch axes the kernel's gradient contracts all of them. XLA does that on a CPU
        at a third of the speed of the same product over one axis.
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
    """Apply layers of the same dtype to one input `[B, T, D]`, in one product where that is faster.

    A joint product and its gradient read `x` only once. Joining copies the kernels, which pays off
    from D rows on. Sharded kernels are not joined, because they would have to move.
    """
    x, width = x.astype(layers[0].dtype), x.shape[-1]
    few = is_sharded() or math.prod(x.shape[:-1]) < width
    matrices = [] if few else [part for layer in layers if (part := layer.matrix()) is not None]
    if len(matrices) < len(layers):
        return [layer(x) for layer in layers]
    kernels, biases = zip(*matrices, strict=True)
    product = matrix_product(x.reshape(-1, width), jnp.concatenate(kernels, axis=1))
    if any(layer.bias_axes for layer in layers):
        product = product + jnp.concatenate(biases)[None]
    ends = list(itertools.accumulate(kernel.shape[1] for kernel in kernels))
    parts = jnp.split(product, ends[:-1], axis=1)
    return [
        layer.updated(x, part.reshape(*x.shape[:-1], *layer.shape[1:]))
        for layer, part in zip(layers, parts, strict=True)
    ]
