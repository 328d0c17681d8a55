"""One level of constrained beam search: legal continuations first, then the best of all beams.

Legal codes arrive as a bitmask, one bit a code. The masked scores `[B, K, C]` are never written:
one pass reads the logits and keeps only the maxima of groups of codes, and only the best groups are
read again (`topk` says why that is exact).

Shapes: `B` users, `K` beams, `C` codes of the level, `W` continuations kept.
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

# From logits, offset, words and the size of a group to the maxima of the groups.
Maxima = Callable[[jax.Array, jax.Array, jax.Array, int], jax.Array]


def trie_topk(
    logits: jax.Array,
    offset: jax.Array,
    words: jax.Array,
    width: int,
    implementation: Implementation = "auto",
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return the best continuations of each user's beams: the `top_k` of all masked scores.

    Args:
      logits: `[B, K, C]` float32 or bfloat16, finite.
      offset: `[B, K]` float32, what is added to all codes of a beam: the beam's score minus the
        normalizer of its logits; -inf for a dead beam.
      words: `[B, K, ceil(C / 32)]` uint32: bit c % 32 of word c // 32 says whether code c is legal.
      width: W, number of continuations to keep; at most K C are kept.
      implementation: see `choose` and `trie_topk_choice`.
      interpret: run a kernel's code step by step on any platform; slow, for tests.

    Returns:
      `best` float32 `[B, W]`, sorted; -inf where there are fewer legal continuations. `chosen`
      int32 `[B, W]`, beam * C + code, the smaller one first where scores are equal; any number in
      range where `best` is -inf.

    Raises:
      ConfigError: arrays of wrong shapes, or an implementation that cannot run them.

    Cost a user: one read of K C logits and K C / 8 bytes of mask, 3 K C operations, two selections
    among about sqrt(K C W) numbers.

    Example:
      Codes 0 and 2 are legal (bits 0b101):

      >>> logits, words = jnp.array([[[1.0, 9.0, 2.0]]]), jnp.array([[[0b101]]], jnp.uint32)
      >>> best, chosen = trie_topk(logits, jnp.zeros((1, 1)), words, 2)
      >>> best.tolist(), chosen.tolist()
      ([[2.0, 1.0]], [[2, 0]])
    """
    _check(logits, offset, words, width)
    width = min(width, logits.shape[1] * logits.shape[2])

    def mosaic(logits: jax.Array, offset: jax.Array, words: jax.Array, size: int) -> jax.Array:
        del size  # The size of a register is fixed.
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
    """Return what `implementation="auto"` runs on a platform, and why.

    Args:
      platform: "cpu", "cuda", "rocm" or "tpu"; None for this process's default backend.

    Example:
      >>> trie_topk_choice("rocm").reason
      'there is no kernel for rocm'
    """
    platform = this_platform() if platform is None else platform
    if platform in PLATFORMS.values():
        return Choice(
            "xla", "XLA fuses the mask into the maxima by itself; no kernel is known to be faster"
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
    """Return the scores of continuations, -inf at illegal ones; `offset` broadcasts to `logits`."""
    return jnp.where(legal, offset + logits.astype(jnp.float32), -jnp.inf)


def _size_of_kernel(size: int, k: int) -> int:
    # A kernel runs if its name is given, however few the scores are.
    return group_size(size, k) or 16


def _group_maxima_xla(
    logits: jax.Array, offset: jax.Array, words: jax.Array, size: int
) -> jax.Array:
    """Return the largest score among each group's legal codes: `[B, K, ceil(C / size)]`."""
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
    """Select through groups, or among all scores if there are too few for groups."""
    b, k, c = logits.shape
    size = size_of(k * c, width)
    if size is None or k * -(-c // size) < width:
        scores = _masked(logits, offset[:, :, None], unpack_bits(words, c))
        return flat_top_k(scores.reshape(b, k * c), width)
    largest = maxima(logits, offset, words, size)
    return _from_groups(logits, offset, words, largest, size, width)


def _from_groups(
    logits: jax.Array,
    offset: jax.Array,
    words: jax.Array,
    maxima: jax.Array,
    size: int,
    width: int,
) -> tuple[jax.Array, jax.Array]:
    """Return the best elements, given the maxima of all groups `[B, K, J]`."""
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
