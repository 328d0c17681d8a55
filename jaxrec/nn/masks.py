"""Attention masks, `True` where a query (row) may look at a key (column)."""

import jax
import jax.numpy as jnp


def attention_mask(
    valid: jax.Array,
    causal: bool = True,
    prefix: jax.Array | None = None,
    segments: jax.Array | None = None,
) -> jax.Array:
    """Return the self-attention mask of a padded batch: `[B, T]` bool to `[B, T, T]` bool.

    Causal: a token sees itself and the valid tokens before it. For valid = [0 1 1 1]::

        1 0 0 0     padding sees only itself, so that its softmax is defined
        0 1 0 0
        0 1 1 0
        0 1 1 1

    With a prefix: its tokens see one another in both directions, and all later tokens see them
    (UniLM, Dong et al. 2019, section 2.2). For valid = [1 1 1 1], prefix = [1 1 0 0]::

        1 1 0 0
        1 1 0 0
        1 1 1 0
        1 1 1 1

    With segments: sequences packed into one row do not see one another. For segments = [0 0 1 1]::

        1 0 0 0
        1 1 0 0
        0 0 1 0
        0 0 1 1

    Args:
      valid: `[B, T]` bool, False for padding.
      causal: False for an encoder: all tokens of a row or segment see every valid token of it.
      prefix: `[B, T]` bool, True for tokens of the prefix; in packed rows each segment has its own.
      segments: `[B, T]` int32 number of the sequence that a token belongs to.

    Example:
      >>> attention_mask(jnp.array([[0, 1, 1]], bool))[0].astype(int).tolist()
      [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    """
    length = valid.shape[-1]
    seen = jnp.broadcast_to(valid[:, None, :], (valid.shape[0], length, length))
    if causal:
        lower = jnp.tril(jnp.ones((length, length), bool))[None]
        seen = seen & (lower if prefix is None else lower | prefix[:, None, :])
    if segments is not None:
        seen = seen & (segments[:, :, None] == segments[:, None, :])
    return seen | jnp.eye(length, dtype=bool)[None]
