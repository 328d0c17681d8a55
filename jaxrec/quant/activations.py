"""Inputs of a product as int8, symmetric: q = round(x / S), S = max|x| / 127."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxrec.quant.grid import Grid, encode, scale_and_zero

# What happens to the input of a kernel: nothing (only weights are quantized), a scale found for
# each row or for all rows while the model runs, or one that calibration found before.
Activations = Literal["none", "token", "tensor", "static"]

GRID = Grid(8, symmetric=True)


def quantize_rows(
    x: jax.Array, how: Activations, static: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Round the rows of a product's left operand.

    Args:
      x: `[M, I]`.
      how: "token" for a scale a row, "tensor" for one of all rows, "static" for the given one.
      static: `[1, 1]` float32.

    Returns:
      `[M, I]` int8, and the scale, `[M, 1]` or `[1, 1]` float32.
    """
    if how == "static":
        assert static is not None
        scale = static
    else:
        most = jnp.max(jnp.abs(x), axis=1 if how == "token" else (0, 1), keepdims=True)
        scale, _ = scale_and_zero(-most, most, GRID)
    # Rows take the place of groups: one row each, or all of them in one.
    return encode(x, scale, None, GRID), scale
