"""Attention of all beams to the shared history on a TPU, through Pallas and Mosaic.

All K N / G rows (beam, query head) that read one head of keys stay in VMEM while the kernel walks
over the history in blocks of tokens, with a running maximum and sum (FlashAttention, Dao et al.
2022, algorithm 1).

Mosaic tiles the last two axes, so the axis of heads comes before them, as in the decoder's cache.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxrec.kernels.beam_attention_xla import MASKED, Part, SharedHistory

# Rows and tokens of a block. A block that does not span its whole axis must be a multiple of the
# tile: (8, 128) for float32, (16, 128) for bfloat16, (32, 128) for int8. With heads of 128 the
# scores of a block take 1 MiB of VMEM, keys and values half of that.
ROWS, COLUMNS = 512, 512


@functools.partial(jax.jit, static_argnames=("softcap", "interpret"))
def history_mosaic(
    query: jax.Array, history: SharedHistory, softcap: float | None, interpret: bool = False
) -> list[Part]:
    """Attend from queries `[B, K, N, H]` to the history.

    Cost: 4 B K N H S operations in products. Reads 2 B S G H numbers of history for each block of
    512 rows.
    """
    key, value, valid, scale = history.key, history.value, history.valid, history.scale
    b, k, n, h = query.shape
    g, s = key.shape[1:3]
    r = n // g
    # [B, G, (K r), H] and, one mask for all rows or one for each, [B, 1 or K r, S]
    query = jnp.einsum("bkgrh->bgkrh", query.reshape(b, k, g, r, h)).reshape(b, g, k * r, h)
    valid = valid.astype(jnp.int8)
    valid = valid[:, None] if valid.ndim == 2 else jnp.repeat(valid, r, axis=1)
    rows, columns = min(k * r, ROWS), min(s, COLUMNS)

    of_rows = pl.BlockSpec((None, None, rows, h), lambda b, g, i, j: (b, g, i, 0))
    of_tokens = pl.BlockSpec((None, None, columns, h), lambda b, g, i, j: (b, g, j, 0))
    if valid.shape[1] == 1:
        of_mask = pl.BlockSpec((None, 1, columns), lambda b, g, i, j: (b, 0, j))
    else:
        of_mask = pl.BlockSpec((None, rows, columns), lambda b, g, i, j: (b, i, j))
    inputs, specs = [query, key, value, valid], [of_rows, of_tokens, of_tokens, of_mask]
    if scale is not None:
        # [B, G, S] -> [B, G, 1, S]
        inputs += [x[:, :, None] for x in scale]
        specs += [pl.BlockSpec((None, None, 1, columns), lambda b, g, i, j: (b, g, 0, j))] * 2
    out, lse = pl.pallas_call(
        functools.partial(_kernel, tokens=s, softcap=softcap),
        grid=(b, g, pl.cdiv(k * r, rows), pl.cdiv(s, columns)),
        in_specs=specs,
        out_specs=[of_rows, pl.BlockSpec((None, None, rows, 1), lambda b, g, i, j: (b, g, i, 0))],
        out_shape=[
            jax.ShapeDtypeStruct((b, g, k * r, h), query.dtype),
            jax.ShapeDtypeStruct((b, g, k * r, 1), jnp.float32),
        ],
        scratch_shapes=[
            pltpu.VMEM((rows, 1), jnp.float32),
            pltpu.VMEM((rows, 1), jnp.float32),
            pltpu.VMEM((rows, h), jnp.float32),
        ],
        # Blocks of tokens run in order: each one continues the sums of the block before.
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
        name="beam_attention",
    )(*inputs)
    out = jnp.einsum("bgkrh->bkgrh", out.reshape(b, g, k, r, h)).reshape(b, k, n, h)
    lse = jnp.einsum("bgkr->bkgr", lse.reshape(b, g, k, r)).reshape(b, k, n)
    return [Part(out, lse)]


def _kernel(*refs: Any, tokens: int, softcap: float | None) -> None:
    """Attend from a block of rows `[rows, H]` to a block of tokens `[columns, H]`."""
    query, key, value, valid, *scales, out, lse, top, total, sums = refs
    step, columns = pl.program_id(3), key.shape[0]

    @pl.when(step == 0)
    def _begin() -> None:
        top[...] = jnp.full_like(top, MASKED)
        total[...] = jnp.zeros_like(total)
        sums[...] = jnp.zeros_like(sums)

    queries = query[...]
    scores = jax.lax.dot_general(
        queries,
        key[...].astype(queries.dtype),
        (((1,), (1,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    if scales:
        scores = scores * scales[0][...]
    if softcap is not None:
        scores = jnp.tanh(scores / softcap) * softcap
    # The last block may reach past the last token, where it may read anything, even NaN.
    there = step * columns + jax.lax.broadcasted_iota(jnp.int32, (1, columns), 1) < tokens
    seen = (valid[...].astype(jnp.int32) != 0) & there
    scores = jnp.where(seen, scores, MASKED)
    highest = jnp.maximum(top[...], scores.max(axis=1, keepdims=True))
    weights = jnp.exp(scores - highest)
    shrink = jnp.exp(top[...] - highest)
    top[...] = highest
    total[...] = total[...] * shrink + weights.sum(axis=1, keepdims=True)
    if scales:
        weights = jnp.where(there, weights * scales[1][...], 0.0)
    values = value[...].astype(queries.dtype)
    if tokens % columns:
        row = step * columns + jax.lax.broadcasted_iota(jnp.int32, values.shape, 0)
        values = jnp.where(row < tokens, values, jnp.zeros_like(values))
    sums[...] = sums[...] * shrink + jax.lax.dot_general(
        weights.astype(queries.dtype),
        values,
        (((1,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )

    @pl.when(step == pl.num_programs(3) - 1)
    def _end() -> None:
        out[...] = (sums[...] / total[...]).astype(out.dtype)
        lse[...] = top[...] + jnp.log(total[...])
