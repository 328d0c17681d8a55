"""Attention masks, `True` where a query (row) may look at a key (column)."""

import jax
import jax.numpy as jnp


def attention_mask(
    valid: jax.Array,
    causal: bool = True,
    prefix: jax.Array | None = None,
    segments: jax.Array | None = None,
) -> jax.Array:
    """Mask of a padded batch over itself: `[B, T]` bool to `[B, T, T]` bool.

    Causal: a token sees itself and the valid tokens before it. For valid = [0 1 1 1]::

        1 0 0 0     padding sees itself only, so that its softmax is defined
        0 1 0 0
        0 1 1 0
        0 1 1 1

    With a prefix all of whose tokens see one another (UniLM, Dong et al. 2019, section 2.2), and
    which all later tokens see. For valid = [1 1 1 1], prefix = [1 1 0 0]::

        1 1 0 0
        1 1 0 0
        1 1 1 0
        1 1 1 1

    With sequences packed into one row, which do not see one another. For segments = [0 0 1 1]::

        1 0 0 0
        1 1 0 0
        0 0 1 0
        0 0 1 1

    Args:
      valid: False for padding.
      causal: False for an encoder: every valid token is seen by all of its row or segment.
      prefix: `[B, T]` bool, the tokens of the prefix (of each segment's, when packed).
      segments: `[B, T]` int32 number of the sequence that a token belongs to.
    """
    length = valid.shape[-1]
    seen = jnp.broadcast_to(valid[:, None, :], (valid.shape[0], length, length))
    if causal:
        lower = jnp.tril(jnp.ones((length, length), bool))[None]
        seen = seen & (lower if prefix is None else lower | prefix[:, None, :])
    if segments is not None:
        seen = seen & (segments[:, :, None] == segments[:, None, :])
    return seen | jnp.eye(length, dtype=bool)[None]
