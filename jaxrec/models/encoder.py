"""The bidirectional encoder, and how its states become one vector a text."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.models.config import TransformerConfig
from jaxrec.models.embedding import Embedding
from jaxrec.models.stack import Stack
from jaxrec.nn import (
    Einsum,
    SelfContext,
    attention_mask,
    fan_in_normal,
    positions_of,
    virtual_slots,
)

Pooling = Literal["mean", "first", "last"]


class Encoder(nn.Module):
    """BERT's shape: every token sees every other."""

    config: TransformerConfig

    def setup(self) -> None:
        """Create the parameter-holding parts."""
        self.embedding = Embedding(self.config)
        self.encoder = Stack(self.config, causal=False)
        if self.config.pooler:
            width = self.config.width
            init = fan_in_normal(width)
            self.pooler = Einsum("bd,de->be", (width, width), ("embed", "mlp"), 1, init)

    def __call__(
        self,
        tokens: jax.Array,
        valid: jax.Array,
        deterministic: bool = True,
        *,
        types: jax.Array | None = None,
        segments: jax.Array | None = None,
    ) -> jax.Array:
        """States of the last layer of a padded batch: `[B, T]` to `[B, T, D]`.

        Args:
          tokens: `[B, T]` int32; those of V and above are virtual (see `nn.kernel`).
          valid: `[B, T]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).
          types: `[B, T]` int32 token types; None for type 0.
          segments: `[B, T]` int32, which of the sequences packed into a row; None for one a row.
        """
        positions = positions_of(valid, segments)
        context = SelfContext(attention_mask(valid, False, None, segments))
        x = self.embedding(tokens, positions, types, deterministic)
        slots = virtual_slots(tokens, self.config.vocab_size)
        states = self.encoder(x, positions, context, deterministic=deterministic, slots=slots)[0]
        if self.config.pooler and self.is_initializing():
            self.pooled(states)
        return states

    def pooled(self, states: jax.Array) -> jax.Array:
        """BERT's vector of a text, a tanh layer on its first state: `[B, T, D]` to `[B, D]`."""
        return jnp.tanh(self.pooler(states[:, 0]))


def pool(states: jax.Array, valid: jax.Array, how: Pooling = "mean") -> jax.Array:
    """One vector a row: the mean of its valid tokens, or the first or last of them.

    Args:
      states: `[B, T, D]`.
      valid: `[B, T]` bool, at least one True a row.
      how: which.

    Returns:
      `[B, D]`; the mean is taken in float32.
    """
    if how == "mean":
        weight = valid.astype(jnp.float32)
        total = jnp.einsum("btd,bt->bd", states.astype(jnp.float32), weight)
        return total / jnp.maximum(weight.sum(-1, keepdims=True), 1.0)
    at = jnp.argmax(valid, axis=-1)
    if how == "last":
        at = valid.shape[-1] - 1 - jnp.argmax(valid[:, ::-1], axis=-1)
    return jnp.take_along_axis(states, at[:, None, None], axis=1)[:, 0]
