"""The decoder: causal, or with a prefix all of whose tokens see one another.

Three pure methods cover training and decoding: `hidden` (tokens to states, under any context),
`logits` (states to scores of all rows or of a slice of them), and `__call__` (both).
"""

from typing import Any

import jax
from flax import linen as nn

from jaxrec.models.config import TransformerConfig
from jaxrec.models.embedding import Embedding, LanguageHead
from jaxrec.models.stack import Stack
from jaxrec.nn import (
    Context,
    KeyValue,
    SelfContext,
    attention_mask,
    positions_of,
    virtual_slots,
)


class CausalLM(nn.Module):
    """A decoder-only language model."""

    config: TransformerConfig

    def setup(self) -> None:
        """Create the parameter-holding parts."""
        self.embedding = Embedding(self.config)
        self.decoder = Stack(self.config)
        self.head = LanguageHead(self.config)

    def hidden(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        context: Context,
        cache: Any = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, KeyValue]:
        """States of the last layer, and the keys and values of these tokens.

        Args:
          tokens: `[B, T]` int32; those of V and above are virtual (see `nn.kernel`).
          positions: `[B, T]` int32.
          context: what the tokens attend to.
          cache: pytree whose leaves have a leading axis of `depth`, handed to the context layer by
            layer; None when the context needs none.
          deterministic: False to apply dropout (needs a "dropout" key).

        Returns:
          `[B, T, D]` states after the final norm, and `[depth, B, T, G, H]` keys and values.
        """
        x = self.embedding(tokens, positions, None, deterministic)
        slots = virtual_slots(tokens, self.config.vocab_size)
        return self.decoder(x, positions, context, cache, deterministic=deterministic, slots=slots)

    def logits(self, hidden: jax.Array, start: int = 0, size: int | None = None) -> jax.Array:
        """Scores `[..., size]` of rows `[start, start + size)` from `[..., D]` states, float32."""
        return self.head(hidden, self.embedding.table, start, size)

    def loss(self, hidden: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
        """Weighted cross-entropy summed over tokens: `[..., D]` states, `[...]` tokens to a scalar.

        The logits of all tokens are never stored; see `LanguageHead.loss`.
        """
        return self.head.loss(hidden, self.embedding.table, targets, weights)

    def __call__(
        self,
        tokens: jax.Array,
        valid: jax.Array,
        deterministic: bool = True,
        *,
        prefix: jax.Array | None = None,
        segments: jax.Array | None = None,
    ) -> jax.Array:
        """Next-token logits of a padded batch: `[B, T]` tokens and validity to `[B, T, V]`.

        Args:
          tokens: `[B, T]` int32.
          valid: `[B, T]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).
          prefix: `[B, T]` bool, tokens that see one another in both directions; None for none.
          segments: `[B, T]` int32, which of the sequences packed into a row; None for one a row.
        """
        context = SelfContext(attention_mask(valid, True, prefix, segments), causal=prefix is None)
        positions = positions_of(valid, segments)
        hidden, _ = self.hidden(tokens, positions, context, None, deterministic)
        return self.logits(hidden)
