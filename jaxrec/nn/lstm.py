"""Affine maps and one direction of an LSTM as plain pytrees, for small networks beside a model.

Shapes: `P` places of a sequence, `E` width of the state.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dense:
    """An affine map.

    Attributes:
      kernel: `[inputs, outputs]`.
      bias: `[outputs]`.

    Example:
      >>> Dense(jnp.ones((2, 1)), jnp.array([0.5]))(jnp.array([[1.0, 2.0]])).tolist()
      [[3.5]]
    """

    kernel: jax.Array
    bias: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[P, inputs]` to `[P, outputs]`."""
        return x @ self.kernel + self.bias[None]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LstmDirection:
    """One direction of a layer of an LSTM; the gates are input, forget, cell and output.

    Attributes:
      read: `[inputs, 4 E]`.
      state: `[E, 4 E]`.
      bias: `[4 E]`, which PyTorch splits into two.

    Example:
      >>> zeros = LstmDirection(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8))
      >>> zeros(jnp.ones((4, 3)), reverse=False).shape
      (4, 2)
    """

    read: jax.Array
    state: jax.Array
    bias: jax.Array

    def __call__(self, x: jax.Array, reverse: bool, valid: jax.Array | None = None) -> jax.Array:
        """Read `[P, inputs]` from either end: `[P, E]`.

        Args:
          x: the sequence.
          reverse: read from the last place to the first.
          valid: `[P]` bool, False for padding, at which the state stays as it was; None for none.
            So the output at the place that is read last is the state after all valid places.
        """
        size = self.state.shape[0]
        start = jnp.zeros(size, x.dtype), jnp.zeros(size, x.dtype)

        def step(
            carry: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array | None]
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            hidden, cell = carry
            gates, real = inputs
            entry, forget, new, out = jnp.split(gates + hidden @ self.state, 4)
            next_cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(entry) * jnp.tanh(new)
            next_hidden = jax.nn.sigmoid(out) * jnp.tanh(next_cell)
            if real is not None:
                next_cell = jnp.where(real, next_cell, cell)
                next_hidden = jnp.where(real, next_hidden, hidden)
            return (next_hidden, next_cell), next_hidden

        gates = x @ self.read + self.bias[None]
        return jax.lax.scan(step, start, (gates, valid), reverse=reverse)[1]


def init_dense(key: jax.Array, inputs: int, outputs: int) -> Dense:
    """Draw an affine map from U(-b, b) with b = 1/sqrt(inputs), as PyTorch does; boxed.

    Args:
      key: random key.
      inputs: width of the input.
      outputs: width of the output.

    Example:
      >>> nn.meta.unbox(init_dense(jax.random.key(0), 4, 2)).kernel.shape
      (4, 2)
    """
    first, second = jax.random.split(key)
    kernel = _uniform(first, (inputs, outputs), inputs)
    return Dense(kernel, _uniform(second, (outputs,), inputs))


def init_lstm_direction(key: jax.Array, inputs: int, size: int) -> LstmDirection:
    """Draw one direction of a layer from U(-b, b) with b = 1/sqrt(E), as PyTorch does; boxed.

    Args:
      key: random key.
      inputs: width of the input.
      size: E.

    Example:
      >>> nn.meta.unbox(init_lstm_direction(jax.random.key(0), 4, 2)).state.shape
      (2, 8)
    """
    read, state, bias = jax.random.split(key, 3)
    return LstmDirection(
        read=_uniform(read, (inputs, 4 * size), size),
        state=_uniform(state, (size, 4 * size), size),
        bias=_uniform(bias, (4 * size,), size),
    )


def _uniform(key: jax.Array, shape: tuple[int, ...], inputs: int) -> nn.Partitioned:
    """Draw from U(-b, b) with b = 1/sqrt(inputs), in a box that leaves every axis whole."""
    bound = inputs**-0.5
    values = jax.random.uniform(key, shape, minval=-bound, maxval=bound)
    return nn.Partitioned(values, (None,) * len(shape))
