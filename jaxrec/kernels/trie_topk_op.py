"""One level of constrained beam search: legal continuations first, then the best of all beams.

Legal codes arrive as a bitmask, 1/32 of a number a code. The masked scores `[B, K, C]` are never
written: one pass reads the logits and leaves the maxima of groups of codes, and only the groups
that win are read again (see `topk` for why that is exact).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError, unpack_bits
from jaxrec.kernels.choose import (
    PLATFORMS,
    Choice,
    Implementation,
    against_triton,
    dispatch,
    this_platform,
)
from jaxrec.kernels.topk import best_groups, flat_top_k, group_size
from jaxrec.kernels.trie_topk_mosaic import GROUP, group_maxima_mosaic
from jaxrec.kernels.trie_topk_triton import group_maxima_triton

# From logits, offset and words to the maxima of groups of some size.
Maxima = Callable[[jax.Array, jax.Array, jax.Array, int], jax.Array]


def trie_topk(
    logits: jax.Array,
    offset: jax.Array,
    words: jax.Array,
    width: int,
    implementation: Implementation = "auto",
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The best continuations of all beams of a user: `jax.lax.top_k` of the masked flat scores.

    Args:
      logits: `[B, K, C]` float32 or bfloat16, finite.
      offset: `[B, K]` float32, added to all codes of a beam: its score less the normalizer of its
        logits; -inf for a dead beam.
      words: `[B, K, ceil(C / 32)]` uint32: bit c % 32 of word c // 32 says whether code c is legal.
      width: W, continuations to keep; at most K C are.
      implementation: see `choose` and `trie_topk_choice`.
      interpret: run a kernel's code step by step on any platform; slow, for tests.

    Returns:
      `best` float32 `[B, W]`, sorted; -inf where there are fewer legal continuations. `chosen`
      int32 `[B, W]`, beam * C + code, the smaller of equal scores first; any in range where `best`
      is -inf.

    Cost a user: one read of K C logits and K C / 8 bytes of mask, 3 K C operations, two selections
    among about sqrt(K C W) numbers.
    """
    _check(logits, offset, words, width)
    width = min(width, logits.shape[1] * logits.shape[2])

    def mosaic(logits: jax.Array, offset: jax.Array, words: jax.Array, size: int) -> jax.Array:
        del size  # a register has one
        return group_maxima_mosaic(logits, offset, words, interpret)

    triton = functools.partial(group_maxima_triton, interpret=interpret)
    return dispatch(
        "trie_topk",
        implementation,
        {
            "xla": functools.partial(_search, _group_maxima_xla, group_size, width),
            "triton": functools.partial(_search, triton, _size_of_kernel, width),
            "mosaic": functools.partial(_search, mosaic, lambda n, k: GROUP, width),
        },
        {"triton": against_triton()},
        {name: trie_topk_choice(name) for name in PLATFORMS.values()},
        logits,
        offset,
        words,
    )


def trie_topk_choice(platform: str | None = None) -> Choice:
    """What `implementation="auto"` runs on a platform, and why.

    Args:
      platform: "cpu", "cuda", "rocm" or "tpu"; None for this process's default backend.
    """
    platform = this_platform() if platform is None else platform
    if platform in PLATFORMS.values():
        return Choice(
            "xla", "XLA fuses the mask into the maxima by itself; no kernel is known to win"
        )
    return Choice("xla", f"there is no kernel for {platform}")


def _check(logits: jax.Array, offset: jax.Array, words: jax.Array, width: int) -> None:
    b, k, c = logits.shape
    expected = (b, k, -(-c // 32))
    if words.shape != expected or words.dtype != jnp.uint32:
        raise ConfigError(
            f"trie_topk needs words uint32 {expected}, one bit for each of {c} codes, got "
            f"{words.dtype} {words.shape}"
        )
    if offset.shape != (b, k):
        raise ConfigError(f"trie_topk needs an offset for each beam {(b, k)}, got {offset.shape}")
    if width < 1:
        raise ConfigError(f"trie_topk must keep at least one continuation, got width={width}")


def _masked(logits: jax.Array, offset: jax.Array, legal: jax.Array) -> jax.Array:
    """Scores of continuations, float32, -inf at illegal ones; `offset` broadcasts to `logits`."""
    return jnp.where(legal, offset + logits.astype(jnp.float32), -jnp.inf)


def _size_of_kernel(size: int, k: int) -> int:
    # A kernel is asked for by name, so it runs, however few the scores are.
    return group_size(size, k) or 16


def _group_maxima_xla(
    logits: jax.Array, offset: jax.Array, words: jax.Array, size: int
) -> jax.Array:
    """Largest score among the legal codes of each group: `[B, K, ceil(C / size)]`."""
    b, k, c = logits.shape
    scores = _masked(logits, offset[:, :, None], unpack_bits(words, c))
    scores = jnp.pad(scores, [(0, 0), (0, 0), (0, -c % size)], constant_values=-jnp.inf)
    return scores.reshape(b, k, -1, size).max(-1)


def _search(
    maxima: Maxima,
    size_of: Callable[[int, int], int | None],
    width: int,
    logits: jax.Array,
    offset: jax.Array,
    words: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Select through groups, or flat where there are too few scores for that."""
    b, k, c = logits.shape
    size = size_of(k * c, width)
    if size is None or k * -(-c // size) < width:
        scores = _masked(logits, offset[:, :, None], unpack_bits(words, c))
        return flat_top_k(scores.reshape(b, k * c), width)
    found = maxima(logits, offset, words, size)
    return _from_groups(logits, offset, words, found, size, width)


def _from_groups(
    logits: jax.Array,
    offset: jax.Array,
    words: jax.Array,
    maxima: jax.Array,
    size: int,
    width: int,
) -> tuple[jax.Array, jax.Array]:
    """From the maxima of all groups `[B, K, J]` to the best elements."""
    b, k, c = logits.shape
    j = maxima.shape[2]
    chosen = best_groups(maxima.reshape(b, k * j), width)
    beam, first = chosen // j, chosen % j * size
    # Codes of the chosen groups [B, W, size]; those past the last stand for an illegal code.
    code = first[:, :, None] + jnp.arange(size, dtype=jnp.int32)[None, None]
    inside = jnp.minimum(code, c - 1)
    flat = beam[:, :, None] * c + inside
    user = jnp.arange(b, dtype=jnp.int32)[:, None, None]
    word = words[user, beam[:, :, None], inside // 32]
    legal = (word >> (inside % 32).astype(jnp.uint32)) & jnp.uint32(1) != 0
    values = jnp.take_along_axis(logits.reshape(b, k * c), flat.reshape(b, -1), axis=1)
    shift = jnp.take_along_axis(offset, beam, axis=1)[:, :, None]
    scores = _masked(values.reshape(flat.shape), shift, legal & (code < c))
    best, place = flat_top_k(scores.reshape(b, -1), width)
    return best, jnp.take_along_axis(flat.reshape(b, -1), place, axis=1)
