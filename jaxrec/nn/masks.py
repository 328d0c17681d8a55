"""Attention masks, `True` where a query (row) may look at a key (column)."""

import jax
import jax.numpy as jnp


def causal_mask(valid: jax.Array) -> jax.Array:
    """Causal mask over a padded batch: `[B, T]` bool to `[B, T, T]` bool.

    A token sees itself and the valid tokens before it. For valid = [0 1 1 1]::

        1 0 0 0     padding sees itself only, so that its softmax is defined
        0 1 0 0
        0 1 1 0
        0 1 1 1
    """
    length = valid.shape[-1]
    lower = jnp.tril(jnp.ones((length, length), bool))[None]
    self_only = jnp.eye(length, dtype=bool)[None]
    return (lower & valid[:, None, :]) | self_only
