"""The result type of every objective."""

import dataclasses

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Loss:
    """Result of an objective: sums, so that micro-batches and devices add up exactly.

    Attributes:
      total: sum of the loss over predictions.
      weight: number of predictions, or the sum of their weights.
      parts: further sums to log, by name.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = Loss(total=jnp.float32(6.0), weight=jnp.float32(4.0), parts={})
      >>> float(loss.total / loss.weight)
      1.5
    """

    total: jax.Array
    weight: jax.Array
    parts: dict[str, jax.Array]
