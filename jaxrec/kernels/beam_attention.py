"""Attention of all beams of a user over one shared history and each beam's own short suffix.

The history's keys and values are stored once a user, not once a beam: reading them is what a
decoding step costs, so K beams cost what one does.

The two parts are computed apart and *merged by log-sum-exp*: a part is its normalized output and
the logarithm of the sum of its exponentiated scores, and the softmax over several parts weighs
their outputs by exp(lse). So the wide part can come from a kernel, in one piece or in several, and
the narrow one stays plain.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.kernels.choose import Implementation
from jaxrec.nn import ScoreTerms

# What a masked score becomes: finite, so that a row without any valid key gives no NaN.
MASKED = float(jnp.finfo(jnp.float32).min)

Scales = tuple[jax.Array, jax.Array]


class Part(NamedTuple):
    """Attention over some of the keys.

    Attributes:
      out: `[B, K, N, H]`, softmax-weighted values of these keys alone.
      lse: float32 `[B, K, N]`, log of the sum of exp(score); about `MASKED` where all are masked.
    """

    out: jax.Array
    lse: jax.Array


def beam_attention(
    query: jax.Array,
    history_key: jax.Array,
    history_value: jax.Array,
    history_valid: jax.Array,
    suffix_key: jax.Array,
    suffix_value: jax.Array,
    terms: ScoreTerms | None = None,
    *,
    history_scale: Scales | None = None,
    implementation: Implementation = "auto",
) -> jax.Array:
    """Softmax over history and suffix together, in float32.

    Args:
      query: `[B, K, N, H]`, one token a beam, scaled already.
      history_key: `[B, S, G, H]`, N a multiple of G; int8 with `history_scale`.
      history_value: `[B, S, G, H]`, likewise.
      history_valid: bool `[B, S]`, or `[B, K, S]` where beams see different parts of the row.
      suffix_key: `[B, K, J, G, H]`, the beam's own tokens, the current one last.
      suffix_value: `[B, K, J, G, H]`.
      terms: bias, cap and further mask over the S + J keys.
      history_scale: of an int8 history, float32 `[B, S, G]` for keys and for values: what stands
        for x is x * scale.
      implementation: see `choose`.

    Returns:
      `[B, K, N, H]` of the query's dtype.

    Cost: 4 B K N H (S + J) operations in products; reads 2 B S G H numbers of history, once for
    all K beams, and 2 B K J G H of suffixes.
    """
    _check(query, history_key, history_valid, suffix_key, history_scale)
    del implementation
    terms = ScoreTerms() if terms is None else terms
    valid, past, own = _split(terms, history_valid)
    parts = [
        _history_xla(query, history_key, history_value, valid, history_scale, past),
        _suffix(query, suffix_key, suffix_value, own),
    ]
    return merge(parts).astype(query.dtype)


def merge(parts: list[Part]) -> jax.Array:
    """One softmax over the keys of all parts: float32 `[B, K, N, H]`."""
    top = parts[0].lse
    for part in parts[1:]:
        top = jnp.maximum(top, part.lse)
    weights = [jnp.exp(part.lse - top) for part in parts]
    out = sum(
        (
            part.out.astype(jnp.float32) * w[..., None]
            for part, w in zip(parts, weights, strict=True)
        ),
        start=jnp.float32(0.0),
    )
    return out / sum(weights, start=jnp.float32(0.0))[..., None]


def _check(
    query: jax.Array,
    history_key: jax.Array,
    history_valid: jax.Array,
    suffix_key: jax.Array,
    history_scale: Scales | None,
) -> None:
    b, k, n, h = query.shape
    s, g = history_key.shape[1:3]
    if n % g:
        raise ConfigError(f"beam_attention: {n} query heads are no multiple of {g} key heads")
    if history_valid.shape not in ((b, s), (b, k, s)):
        raise ConfigError(
            f"beam_attention needs history_valid {(b, s)} or {(b, k, s)}, got {history_valid.shape}"
        )
    if suffix_key.shape[:2] != (b, k) or suffix_key.shape[3:] != (g, h):
        raise ConfigError(
            f"beam_attention needs suffix_key [{b}, {k}, J, {g}, {h}], got {suffix_key.shape}"
        )
    if (history_key.dtype == jnp.int8) != (history_scale is not None):
        raise ConfigError(
            "beam_attention takes history_scale with an int8 history and with no other, got "
            f"history_key {history_key.dtype} and "
            f"{'no' if history_scale is None else 'a'} history_scale"
        )


def _split(terms: ScoreTerms, history_valid: jax.Array) -> tuple[jax.Array, ScoreTerms, ScoreTerms]:
    """The mask and the terms of the history, and the terms of the suffix."""
    s = history_valid.shape[-1]
    past = own = dataclasses.replace(terms, allowed=None)
    if terms.bias is not None:
        past = dataclasses.replace(past, bias=terms.bias[..., :s])
        own = dataclasses.replace(own, bias=terms.bias[..., s:])
    if terms.allowed is not None:
        # [B or 1, K or 1, S + J]; a mask that is one for all beams stays one.
        narrow = terms.allowed[..., :s]
        if history_valid.ndim == 2 and narrow.shape[1] == 1:
            narrow = narrow[:, 0]
        elif history_valid.ndim == 2:
            history_valid = history_valid[:, None]
        history_valid = history_valid & narrow
        own = dataclasses.replace(own, allowed=terms.allowed[..., s:])
    return history_valid, past, own


def _history_xla(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    valid: jax.Array,
    scale: Scales | None,
    terms: ScoreTerms,
) -> Part:
    """Attention to `[B, S, G, H]` under `valid` `[B, S]` or `[B, K, S]`, in plain XLA."""
    b, k, n, h = query.shape
    s, g = key.shape[1:3]
    r = n // g
    # All K N / G rows that read one head of keys are rows of one product.
    rows = jnp.einsum("bkgrh->bgrkh", query.reshape(b, k, g, r, h)).reshape(b, g, r * k, h)
    scores = jnp.einsum(
        "bgmh,bsgh->bgms", rows, key.astype(query.dtype), preferred_element_type=jnp.float32
    )
    if scale is not None:
        scores = scores * _of_heads(scale[0])
    scores = terms.apply(scores.reshape(b, n, k, s))
    # [B, 1, 1 or K, S]
    seen = valid[:, None, None] if valid.ndim == 2 else valid[:, None]
    scores = jnp.where(seen, scores, MASKED).reshape(b, g, r * k, s)
    top = scores.max(-1, keepdims=True)
    weights = jnp.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    if scale is not None:
        weights = weights * _of_heads(scale[1])
    out = jnp.einsum(
        "bgms,bsgh->bgmh",
        weights.astype(query.dtype),
        value.astype(query.dtype),
        preferred_element_type=jnp.float32,
    )
    # [B, G, (r K), H] -> [B, K, N, H]
    out = jnp.einsum("bgrkh->bkgrh", (out / total).reshape(b, g, r, k, h)).reshape(b, k, n, h)
    lse = jnp.swapaxes((top + jnp.log(total)).reshape(b, n, k), 1, 2)
    return Part(out, lse)


def _of_heads(scale: jax.Array) -> jax.Array:
    """Scales `[B, S, G]` beside scores: `[B, G, 1, S]`."""
    return jnp.swapaxes(scale, 1, 2)[:, :, None]


def _suffix(query: jax.Array, key: jax.Array, value: jax.Array, terms: ScoreTerms) -> Part:
    """Attention of each beam to its own `[B, K, J, G, H]`."""
    b, k, n, h = query.shape
    j, g = key.shape[2:4]
    f32 = jnp.float32
    # [B, K, J, G, H] and [B, K, G, r, H]: the keys first, which a CPU takes in twice as fast.
    scores = jnp.einsum(
        "bkjgh,bkgrh->bgrkj",
        key,
        query.reshape(b, k, g, n // g, h),
        preferred_element_type=f32,
    )
    scores = terms.apply(scores.reshape(b, n, k, j))
    if terms.allowed is not None:
        scores = jnp.where(terms.allowed[:, None], scores, MASKED)
    top = scores.max(-1, keepdims=True)
    weights = jnp.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    # [B, N, K, J] -> [B, K, J, G, r]
    weights = jnp.einsum("bgrkj->bkjgr", (weights / total).reshape(b, g, n // g, k, j))
    # Term by term: nothing is shared here, so that there is no product of matrices to be had.
    out = sum(
        (weights[:, :, i, ..., None] * value[:, :, i, :, None].astype(f32) for i in range(j)),
        start=f32(0.0),
    )
    lse = jnp.swapaxes((top + jnp.log(total))[..., 0], 1, 2)
    return Part(out.reshape(b, k, n, h), lse)
