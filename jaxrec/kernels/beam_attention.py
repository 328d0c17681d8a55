"""Attention of all beams of a user over one shared history and each beam's own short suffix.

The history's keys and values are stored once a user, not once a beam: reading them is what a
decoding step costs, so K beams cost what one does.
"""

import jax
import jax.numpy as jnp


def beam_attention(
    query: jax.Array,
    history_key: jax.Array,
    history_value: jax.Array,
    history_valid: jax.Array,
    suffix_key: jax.Array,
    suffix_value: jax.Array,
) -> jax.Array:
    """Softmax over history and suffix together, in float32.

    Args:
      query: `[B, K, N, H]`, one token a beam.
      history_key: `[B, S, G, H]`, N a multiple of G.
      history_value: `[B, S, G, H]`.
      history_valid: `[B, S]` bool.
      suffix_key: `[B, K, J, G, H]`, the beam's own tokens, the current one last.
      suffix_value: `[B, K, J, G, H]`.

    Returns:
      `[B, K, N, H]`. Cost: O(B N H (S + J) K) products, O(B S G H) history reads.
    """
    b, k, n, h = query.shape
    g = history_key.shape[2]
    query = query.reshape(b, k, g, n // g, h) * jnp.asarray(h**-0.5, query.dtype)
    f32 = jnp.float32
    # [B, G, N/G, K, S] and [B, G, N/G, K, J]
    past = jnp.einsum("bkgnh,bsgh->bgnks", query, history_key, preferred_element_type=f32)
    past = jnp.where(history_valid[:, None, None, None, :], past, jnp.finfo(f32).min)
    own = jnp.einsum("bkgnh,bkjgh->bgnkj", query, suffix_key, preferred_element_type=f32)
    # The two softmaxes are merged through their common maximum and sum: the wide one is never
    # concatenated with, and so never copied for, the narrow one.
    top = jnp.maximum(past.max(-1, keepdims=True), own.max(-1, keepdims=True))
    past, own = jnp.exp(past - top), jnp.exp(own - top)
    total = past.sum(-1) + own.sum(-1)
    dtype = history_value.dtype
    out = jnp.einsum("bgnks,bsgh->bkgnh", past.astype(dtype), history_value)
    out = out + jnp.einsum("bgnkj,bkjgh->bkgnh", own.astype(dtype), suffix_value)
    out = out / jnp.einsum("bgnk->bkgn", total).astype(dtype)[..., None]
    return out.reshape(b, k, n, h)
