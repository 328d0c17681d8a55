"""What every objective returns."""

import dataclasses

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Loss:
    """What an objective returns: sums, so that micro-batches and devices add up exactly.

    Attributes:
      total: sum of the loss over predictions.
      weight: number of predictions.
      parts: named sums to log beside it.
    """

    total: jax.Array
    weight: jax.Array
    parts: dict[str, jax.Array]
