"""Attention to the shared history and to each beam's own suffix in plain XLA: the reference."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.nn import ScoreTerms

# The value of a masked score: finite, so that a row without any valid key gives no NaN.
MASKED = float(jnp.finfo(jnp.float32).min)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedHistory:
    """Keys and values that all beams of a user attend to.

    Attributes:
      key: `[B, G, S, H]`; int8 if there is a scale.
      value: `[B, G, S, H]`.
      valid: `[B, S]` bool; `[B, K, S]` where beams see different parts of the row.
      scale: float32 `[B, G, S]` for keys and for values of an int8 history: a number x stands for
        x * scale. None for any other type.
    """

    key: jax.Array
    value: jax.Array
    valid: jax.Array
    scale: tuple[jax.Array, jax.Array] | None = None


class Part(NamedTuple):
    """Attention over some of the keys.

    Attributes:
      out: `[B, K, N, H]`, weighted values of these keys alone.
      lse: float32 `[B, K, N]`, logarithm of the sum of exp(score); about `MASKED` where all scores
        are masked. It means nothing without a softmax (`ScoreTerms.pointwise`).
    """

    out: jax.Array
    lse: jax.Array


def history_xla(query: jax.Array, history: SharedHistory, terms: ScoreTerms) -> Part:
    """Attend to the history, in plain XLA; `terms` holds no mask, which is part of the history."""
    key, value, valid, scale = history.key, history.value, history.valid, history.scale
    b, k, n, h = query.shape
    g, s = key.shape[1:3]
    r = n // g
    # All K N / G rows that read one head of keys form one matrix product.
    rows = jnp.einsum("bkgrh->bgrkh", query.reshape(b, k, g, r, h)).reshape(b, g, r * k, h)
    scores = jnp.einsum(
        "bgmh,bgsh->bgms", rows, key.astype(query.dtype), preferred_element_type=jnp.float32
    )
    if scale is not None:
        scores = scores * scale[0][:, :, None]
    scores = terms.apply(scores.reshape(b, n, k, s))
    # [B, 1, 1 or K, S]
    seen = valid[:, None, None] if valid.ndim == 2 else valid[:, None]
    scores = jnp.where(seen, scores, MASKED).reshape(b, g, r * k, s)
    weights, total, top = terms.weigh(scores)
    if scale is not None:
        weights = weights * scale[1][:, :, None]
    out = jnp.einsum(
        "bgms,bgsh->bgmh",
        weights.astype(query.dtype),
        value.astype(query.dtype),
        preferred_element_type=jnp.float32,
    )
    # [B, G, (r K), H] -> [B, K, N, H]
    out = jnp.einsum("bgrkh->bkgrh", (out / total).reshape(b, g, r, k, h)).reshape(b, k, n, h)
    lse = jnp.swapaxes((top + jnp.log(total)).reshape(b, n, k), 1, 2)
    return Part(out, lse)


def suffix_xla(query: jax.Array, key: jax.Array, value: jax.Array, terms: ScoreTerms) -> Part:
    """Attend from each beam to its own keys and values `[B, K, J, G, H]`."""
    b, k, n, h = query.shape
    j, g = key.shape[2:4]
    f32 = jnp.float32
    # [B, K, J, G, H] and [B, K, G, r, H]: with the keys first, a CPU is twice as fast.
    scores = jnp.einsum(
        "bkjgh,bkgrh->bgrkj",
        key,
        query.reshape(b, k, g, n // g, h),
        preferred_element_type=f32,
    )
    scores = terms.apply(scores.reshape(b, n, k, j))
    if terms.allowed is not None:
        scores = jnp.where(terms.allowed[:, None], scores, MASKED)
    weights, total, top = terms.weigh(scores)
    # [B, N, K, J] -> [B, K, J, G, r]
    weights = jnp.einsum("bgrkj->bkjgr", (weights / total).reshape(b, g, n // g, k, j))
    # Term by term: beams share nothing here, so no matrix product would save any work.
    out = sum(
        (weights[:, :, i, ..., None] * value[:, :, i, :, None].astype(f32) for i in range(j)),
        start=f32(0.0),
    )
    lse = jnp.swapaxes((top + jnp.log(total))[..., 0], 1, 2)
    return Part(out.reshape(b, k, n, h), lse)
