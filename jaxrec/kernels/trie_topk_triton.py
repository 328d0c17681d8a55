"""Group maxima of the legal continuations on an NVIDIA GPU, through Pallas and Triton."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

# Number of scores of a program: enough to hide the latency of memory, few enough for registers.
TILE = 2048


@functools.partial(jax.jit, static_argnames=("size", "interpret"))
def group_maxima_triton(
    logits: jax.Array, offset: jax.Array, words: jax.Array, size: int, interpret: bool = False
) -> jax.Array:
    """Return the largest score among the legal codes of each group.

    Args:
      logits: `[B, K, C]`.
      offset: `[B, K]` float32.
      words: `[B, K, ceil(C / 32)]` uint32.
      size: number of codes in a group, a power of two.
      interpret: run without a GPU.

    Returns:
      Float32 `[B, K, ceil(C / size)]`.

    Cost: one pass, which reads B K C logits and 1/32 as many words, and writes B K C / size
    numbers.
    """
    # Imported here: only users of a GPU need it, and some versions of JAX lack it.
    from jax.experimental.pallas import triton as plt

    b, k, c = logits.shape
    groups = pl.cdiv(c, size)
    columns = max(min(pl.next_power_of_2(c), TILE), size)
    rows = min(max(TILE // columns, 1), pl.next_power_of_2(b * k))
    maxima = pl.pallas_call(
        functools.partial(
            _kernel, load=plt.load, store=plt.store, rows=rows, columns=columns, size=size
        ),
        # Only the first dimension has no limit.
        grid=(pl.cdiv(b * k, rows), pl.cdiv(c, columns)),
        out_shape=jax.ShapeDtypeStruct((b * k, groups), jnp.float32),
        compiler_params=plt.CompilerParams(num_warps=4),
        interpret=interpret,
        name="trie_group_maxima",
    )(
        logits.reshape(b * k, c),
        offset.reshape(b * k),
        jax.lax.bitcast_convert_type(words, jnp.int32).reshape(b * k, -1),
    )
    return maxima.reshape(b, k, groups)


def _kernel(*refs: Any, load: Any, store: Any, rows: int, columns: int, size: int) -> None:
    """Reduce a tile of beams and codes."""
    logits, offset, words, maxima = refs
    beams, codes = logits.shape
    beam = pl.program_id(0) * rows + jnp.arange(rows, dtype=jnp.int32)
    code = pl.program_id(1) * columns + jnp.arange(columns, dtype=jnp.int32)
    real = beam < beams
    inside = real[:, None] & (code < codes)[None]
    scores = load(logits.at[beam[:, None], code[None]], mask=inside, other=0.0)
    # 32 neighbours load the same word, which costs only one read of memory.
    word = load(words.at[beam[:, None], code[None] // 32], mask=inside, other=0)
    legal = (word >> (code % 32)[None]) & 1 != 0
    scores = jnp.where(legal, scores.astype(jnp.float32), -jnp.inf)
    best = scores.reshape(rows, columns // size, size).max(axis=2)
    best = best + load(offset.at[beam], mask=real, other=0.0)[:, None]
    group = pl.program_id(1) * (columns // size)
    group = group + jnp.arange(columns // size, dtype=jnp.int32)
    mask = real[:, None] & (group < maxima.shape[1])[None]
    store(maxima.at[beam[:, None], group[None]], best, mask=mask)
