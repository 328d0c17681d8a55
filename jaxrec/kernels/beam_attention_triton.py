"""Attention of all beams to the shared history on an NVIDIA GPU, through Pallas and Triton.

One program takes a block of the K N / G rows (beam, query head) that read one head of keys. It
walks over the history in blocks of tokens with a running maximum and sum (FlashAttention, Dao et
al. 2022, algorithm 1), so that scores stay on the chip. Arrays are read where they lie: nothing is
transposed or padded for the kernel. Few users with long histories would leave most of the GPU
idle; their history is cut into pieces, one program each, which are merged by log-sum-exp
(Flash-Decoding).

The kernel uses the Triton form of Pallas, which JAX 0.11 deprecates; JAX warns when it lowers the
kernel. A JAX without that form runs the XLA form of the operation.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxrec.kernels.beam_attention_xla import MASKED, Part, SharedHistory

LOG2_E = 1.4426950408889634
# Programs that fill a large GPU (an H100 has 132 multiprocessors), and the fewest tokens of a piece
# that are worth a program and a merge.
PROGRAMS, PIECE = 132, 128
# Bytes of keys and values in a block of tokens: two or three such blocks fit on the chip at once.
BLOCK_BYTES = 32 * 1024


def pieces_of(programs: int, tokens: int) -> int:
    """Return the number of pieces of a history that fill the GPU with `programs` a piece."""
    return max(1, min(PROGRAMS // programs, tokens // PIECE))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tiling:
    """How the work is cut up.

    Attributes:
      rows: rows of a block, a power of two.
      lanes: components of a head, rounded up to a power of two.
      columns: tokens of a block, a power of two.
      row_blocks: blocks of rows of a user and key head.
      blocks: blocks of tokens of a piece.
    """

    rows: int
    lanes: int
    columns: int
    row_blocks: int
    blocks: int


@functools.partial(jax.jit, static_argnames=("softcap", "interpret"))
def history_triton(
    query: jax.Array, history: SharedHistory, softcap: float | None, interpret: bool = False
) -> list[Part]:
    """Attend from queries `[B, K, N, H]` to the history.

    Cost: 4 B K N H S operations in products. Reads 2 B S G H numbers of history for each block of
    rows (from the second on, from the L2 cache), and writes P B K N (H + 1) numbers for P pieces.
    """
    # Imported here: only users of a GPU need it, and some versions of JAX lack it.
    from jax.experimental.pallas import triton as plt

    key, value, valid, scale = history.key, history.value, history.valid, history.scale
    b, k, n, h = query.shape
    g, s = key.shape[1:3]
    # A block of a product is a power of two, and at least 16, on each side.
    rows = min(max(pl.next_power_of_2(k * n // g), 16), 128)
    lanes = max(pl.next_power_of_2(h), 16)
    columns = BLOCK_BYTES // (2 * lanes * query.dtype.itemsize)
    columns = min(max(columns, 16), 128, max(pl.next_power_of_2(s), 16))
    row_blocks = pl.cdiv(k * n // g, rows)
    pieces = pieces_of(row_blocks * b * g, s)
    tiling = _Tiling(
        rows=rows,
        lanes=lanes,
        columns=columns,
        row_blocks=row_blocks,
        blocks=pl.cdiv(pl.cdiv(s, columns), pieces),
    )
    kernel = functools.partial(
        _kernel, load=plt.load, store=plt.store, tiling=tiling, softcap=softcap
    )
    # A mask of bytes: Triton has no pointers to single bits.
    inputs = [query, key, value, valid.astype(jnp.int8), *(() if scale is None else scale)]
    out, lse = pl.pallas_call(
        kernel,
        # Only the first dimension has no limit. Neighbours run together and read the same keys.
        grid=(b * g * row_blocks, pieces),
        out_shape=[
            jax.ShapeDtypeStruct((pieces, b, k, n, h), query.dtype),
            jax.ShapeDtypeStruct((pieces, b, k, n), jnp.float32),
        ],
        compiler_params=plt.CompilerParams(num_warps=4 if rows <= 64 else 8, num_stages=2),
        interpret=interpret,
        name="beam_attention",
    )(*inputs)
    return [Part(out[i], lse[i]) for i in range(pieces)]


def _kernel(*refs: Any, load: Any, store: Any, tiling: _Tiling, softcap: float | None) -> None:
    """Attend from a block of rows to one piece of the history; `history_triton` has the shapes."""
    query, key, value, valid, *scales, out, lse = refs
    rows, columns, lanes = tiling.rows, tiling.columns, tiling.lanes
    _, beams, heads, size = query.shape
    groups, tokens = key.shape[1:3]
    shared = heads // groups
    pair, piece = pl.program_id(0) // tiling.row_blocks, pl.program_id(1)
    user, group = pair // groups, pair % groups

    # Rows are (beam, query head of the group); those past the last are computed and not stored.
    row = pl.program_id(0) % tiling.row_blocks * rows + jnp.arange(rows, dtype=jnp.int32)
    beam, head = row // shared, group * shared + row % shared
    real = row < beams * shared
    lane = jnp.arange(lanes, dtype=jnp.int32)
    place = (user, beam[:, None], head[:, None], lane[None])
    inside = real[:, None] & (lane < size)[None]
    queries = load(query.at[place], mask=inside, other=0.0)

    def body(block: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        top, total, sums = carry
        token = (piece * tiling.blocks + block) * columns + jnp.arange(columns, dtype=jnp.int32)
        there = token < tokens
        where = (user, group, token[:, None], lane[None])
        mask = there[:, None] & (lane < size)[None]
        keys = load(key.at[where], mask=mask, other=0).astype(queries.dtype)
        scores = jax.lax.dot_general(
            queries, keys, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
        )
        if scales:
            scores *= load(scales[0].at[user, group, token], mask=there, other=0.0)[None]
        if softcap is not None:
            scores = jnp.tanh(scores / softcap) * softcap
        if len(valid.shape) == 2:
            seen = load(valid.at[user, token], mask=there, other=0)[None]
        else:
            seen = load(
                valid.at[user, beam[:, None], token[None]],
                mask=real[:, None] & there[None],
                other=0,
            )
        # The hardware computes powers of two; the log-sum-exp changes the base back.
        scores = jnp.where(seen != 0, scores * LOG2_E, MASKED)
        highest = jnp.maximum(top, scores.max(axis=1))
        weights = jnp.exp2(scores - highest[:, None])
        shrink = jnp.exp2(top - highest)
        total = total * shrink + weights.sum(axis=1)
        if scales:
            weights *= load(scales[1].at[user, group, token], mask=there, other=0.0)[None]
        values = load(value.at[where], mask=mask, other=0).astype(queries.dtype)
        sums = sums * shrink[:, None] + jax.lax.dot_general(
            weights.astype(queries.dtype),
            values,
            (((1,), (0,)), ((), ())),
            preferred_element_type=jnp.float32,
        )
        return highest, total, sums

    start = (
        jnp.full((rows,), MASKED, jnp.float32),
        jnp.zeros((rows,), jnp.float32),
        jnp.zeros((rows, lanes), jnp.float32),
    )
    top, total, sums = jax.lax.fori_loop(0, tiling.blocks, body, start)
    store(out.at[(piece, *place)], (sums / total[:, None]).astype(out.dtype), mask=inside)
    store(lse.at[piece, user, beam, head], (top + jnp.log2(total)) / LOG2_E, mask=real)
