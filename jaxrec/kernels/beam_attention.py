"""Attention of all beams of a user over one shared history and each beam's own short suffix.

The history's keys and values are stored once a user, not once a beam: reading them is what a
decoding step costs, so K beams cost what one does.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrec.nn import ScoreTerms


def beam_attention(
    query: jax.Array,
    history_key: jax.Array,
    history_value: jax.Array,
    history_valid: jax.Array,
    suffix_key: jax.Array,
    suffix_value: jax.Array,
    terms: ScoreTerms | None = None,
) -> jax.Array:
    """Softmax over history and suffix together, in float32.

    Args:
      query: `[B, K, N, H]`, one token a beam, scaled already.
      history_key: `[B, S, G, H]`, N a multiple of G.
      history_value: `[B, S, G, H]`.
      history_valid: `[B, S]` bool.
      suffix_key: `[B, K, J, G, H]`, the beam's own tokens, the current one last.
      suffix_value: `[B, K, J, G, H]`.
      terms: bias, cap and further mask over the S + J keys.

    Returns:
      `[B, K, N, H]`. Cost: O(B N H (S + J) K) products, O(B S G H) history reads.
    """
    b, k, n, h = query.shape
    s, g = history_key.shape[1:3]
    terms = ScoreTerms() if terms is None else terms
    query = query.reshape(b, k, g, n // g, h)
    f32 = jnp.float32
    # [B, N, K, S] and [B, N, K, J]
    past = jnp.einsum("bkgnh,bsgh->bgnks", query, history_key, preferred_element_type=f32)
    own = jnp.einsum("bkgnh,bkjgh->bgnkj", query, suffix_key, preferred_element_type=f32)
    past = _of(terms, slice(None, s)).apply(past.reshape(b, n, k, s))
    own = _of(terms, slice(s, None)).apply(own.reshape(b, n, k, -1))
    seen = history_valid[:, None, :]
    if terms.allowed is not None:
        seen = seen & terms.allowed[:, :, :s]
        own = jnp.where(terms.allowed[:, None, :, s:], own, jnp.finfo(f32).min)
    past = jnp.where(seen[:, None], past, jnp.finfo(f32).min)
    # The two softmaxes are merged through their common maximum and sum: the wide one is never
    # concatenated with, and so never copied for, the narrow one.
    top = jnp.maximum(past.max(-1, keepdims=True), own.max(-1, keepdims=True))
    past, own = jnp.exp(past - top), jnp.exp(own - top)
    total = (past.sum(-1) + own.sum(-1)).reshape(b, g, n // g, k)
    dtype = history_value.dtype
    past, own = past.reshape(b, g, n // g, k, s), own.reshape(b, g, n // g, k, -1)
    out = jnp.einsum("bgnks,bsgh->bkgnh", past.astype(dtype), history_value)
    out = out + jnp.einsum("bgnkj,bkjgh->bkgnh", own.astype(dtype), suffix_value)
    out = out / jnp.einsum("bgnk->bkgn", total).astype(dtype)[..., None]
    return out.reshape(b, k, n, h)


def _of(terms: ScoreTerms, keys: slice) -> ScoreTerms:
    """The terms of some of the keys."""
    return dataclasses.replace(terms, bias=None if terms.bias is None else terms.bias[..., keys])
