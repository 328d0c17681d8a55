"""Group maxima of the legal continuations on a TPU, through Pallas and Mosaic.

A TPU has no cheap way to spread 32 bits of a word over 32 lanes, but its matrix unit can copy. The
bytes of the mask times a matrix of zeros and ones put byte c // 8 into lane c. The product is
exact, since bfloat16 holds every integer up to 256. A shift by c % 8 then leaves the bit of code c.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

# Number of codes in a group: the lanes of a register.
GROUP = 128
# Beams and codes of a block. The bytes of 1,024 codes fill one register.
ROWS, COLUMNS = 128, 1024


@functools.partial(jax.jit, static_argnames=("interpret",))
def group_maxima_mosaic(
    logits: jax.Array, offset: jax.Array, words: jax.Array, interpret: bool = False
) -> jax.Array:
    """Return the largest score among the legal codes of each group of 128.

    Args:
      logits: `[B, K, C]`.
      offset: `[B, K]` float32.
      words: `[B, K, ceil(C / 32)]` uint32.
      interpret: run without a TPU.

    Returns:
      Float32 `[B, K, ceil(C / 128)]`.

    Cost: one pass, which reads B K C logits and 1/16 as many bytes of mask, writes B K C / 128
    numbers, and takes 128 B K C operations of the matrix unit.
    """
    b, k, c = logits.shape
    # [B K, C / 8], the lowest byte of each word first.
    mask = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(b * k, -1)
    # Padded codes are illegal. Codebook sizes are usually powers of two, which need no padding.
    whole = COLUMNS if c > COLUMNS else GROUP
    padded = -(-c // whole) * whole
    mask = jnp.pad(mask, [(0, 0), (0, padded // 8 - mask.shape[1])]).astype(jnp.bfloat16)
    scores = jnp.pad(logits.reshape(b * k, c), [(0, 0), (0, padded - c)])
    rows, columns = min(b * k, ROWS), min(padded, COLUMNS)
    blocks = padded // columns
    maxima = pl.pallas_call(
        _kernel,
        grid=(pl.cdiv(b * k, rows), blocks),
        in_specs=[
            pl.BlockSpec((rows, columns), lambda i, j: (i, j)),
            pl.BlockSpec((rows, 1), lambda i, j: (i, 0)),
            pl.BlockSpec((rows, columns // 8), lambda i, j: (i, j)),
        ],
        out_specs=pl.BlockSpec((None, rows, columns // GROUP), lambda i, j: (j, i, 0)),
        out_shape=jax.ShapeDtypeStruct((blocks, b * k, columns // GROUP), jnp.float32),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel")),
        interpret=interpret,
        name="trie_group_maxima",
    )(scores, offset.reshape(b * k, 1), mask)
    maxima = jnp.swapaxes(maxima, 0, 1).reshape(b, k, padded // GROUP)
    return maxima[:, :, : -(-c // GROUP)]


def _kernel(logits: Any, offset: Any, mask: Any, maxima: Any) -> None:
    """Reduce a block of beams and codes."""
    columns = logits.shape[1]
    shape = (columns // 8, columns)
    byte = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    code = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
    spread = (code // 8 == byte).astype(jnp.float32).astype(jnp.bfloat16)
    bits = jax.lax.dot_general(
        mask[...], spread, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32
    )
    lane = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
    legal = (bits.astype(jnp.int32) >> (lane % 8)) & 1 != 0
    scores = jnp.where(legal, logits[...].astype(jnp.float32) + offset[...], -jnp.inf)
    for group in range(columns // GROUP):
        lanes = slice(group * GROUP, (group + 1) * GROUP)
        maxima[:, group : group + 1] = scores[:, lanes].max(axis=1, keepdims=True)
