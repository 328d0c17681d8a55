"""Rounding of activations to symmetric int8: q = round(x / S), S = max|x| / 127."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxrec.quant.grid import Grid, encode, scale_and_zero

# How the input of a kernel is rounded: not at all (only weights are quantized), by a scale computed
# at run time for each row or for all rows, or by one scale that calibration determined beforehand.
Activations = Literal["none", "token", "tensor", "static"]

GRID = Grid(8, symmetric=True)


def quantize_rows(
    x: jax.Array, how: Activations, static: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Round the left operand of a product to int8.

    Args:
      x: `[M, I]` activations.
      how: "token" for one scale per row, "tensor" for one scale for all rows, "static" for the
        scale in `static`.
      static: `[1, 1]` float32 scale; only read with "static".

    Returns:
      `[M, I]` int8 codes, and the scale, `[M, 1]` or `[1, 1]` float32.

    Example:
      >>> codes, scale = quantize_rows(jnp.array([[127.0, 1.4, -63.6]]), "token")
      >>> codes.tolist(), scale.tolist()
      ([[127, 1, -64]], [[1.0]])
    """
    if how == "static":
        assert static is not None
        scale = static
    else:
        most = jnp.max(jnp.abs(x), axis=1 if how == "token" else (0, 1), keepdims=True)
        scale, _ = scale_and_zero(-most, most, GRID)
    # `encode` shares scales over groups of rows: here one row each, or all rows in one group.
    return encode(x, scale, None, GRID), scale
