"""The bidirectional encoder, and pooling of its states into one vector per text."""

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
    """A bidirectional encoder like BERT: every token sees every other.

    Attributes:
      config: shape and flavour.

    Example:
      Shapes, without allocating any parameters (`jax.jit(model.init)` creates them):

      >>> model = Encoder(TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> tokens = jnp.array([[3, 5, 0]])
      >>> variables = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens > 0)
      >>> jax.eval_shape(model.apply, variables, tokens, tokens > 0).shape  # one state per token
      (1, 3, 4)
    """

    config: TransformerConfig

    def setup(self) -> None:
        """Create the submodules."""
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
        """Return the states of the last layer of a padded batch, `[B, T, D]`.

        Args:
          tokens: `[B, T]` int32; numbers from V on are virtual tokens (`jaxrec/nn/kernel.py`).
          valid: `[B, T]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).
          types: `[B, T]` int32 token types; None for type 0.
          segments: `[B, T]` int32, number of the packed sequence that a token belongs to; None if
            every row is one sequence.
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
        """Return BERT's vector of a text, a tanh layer on the first state: `[B, D]`."""
        return jnp.tanh(self.pooler(states[:, 0]))


def pool(states: jax.Array, valid: jax.Array, how: Pooling = "mean") -> jax.Array:
    """Pool each row into one vector: the mean, the first or the last of its valid states.

    Args:
      states: `[B, T, D]`.
      valid: `[B, T]` bool, at least one True per row.
      how: "mean", "first" or "last".

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
