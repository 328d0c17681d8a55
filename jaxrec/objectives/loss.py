"""What every objective returns."""

import jax
from flax import struct


@struct.dataclass
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
