"""The decoder-only language model: causal, or with a prefix that is read in both directions.

Three pure methods cover training and decoding: `hidden` maps tokens to states under any context,
`logits` maps states to scores of the vocabulary or a slice of it, and `__call__` does both.
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
    """A decoder-only language model.

    Attributes:
      config: shape and flavour.

    Example:
      Shapes, without allocating any parameters (`jax.jit(model.init)` creates them):

      >>> model = CausalLM(TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> tokens = jax.numpy.array([[0, 3, 5]])
      >>> variables = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens > 0)
      >>> jax.eval_shape(model.apply, variables, tokens, tokens > 0).shape  # next-token logits
      (1, 3, 8)
    """

    config: TransformerConfig

    def setup(self) -> None:
        """Create the submodules."""
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
        scales: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValue]:
        """Return the states of the last layer, and the keys and values of these tokens.

        Args:
          tokens: `[B, T]` int32; numbers from V on are virtual tokens (`jaxrec/nn/kernel.py`).
          positions: `[B, T]` int32.
          context: what the tokens attend to.
          cache: pytree whose leaves have a leading axis of `depth`, passed to the context layer by
            layer; None if the context needs no cache.
          deterministic: False to apply dropout (needs a "dropout" key).
          scales: `[B, T]` float32, what the embeddings are multiplied by; None for 1.

        Returns:
          `[B, T, D]` states after the final norm, and `[depth, B, T, G, H]` keys and values.
        """
        x = self.embedding(tokens, positions, None, deterministic, scales=scales)
        slots = virtual_slots(tokens, self.config.vocab_size)
        return self.decoder(x, positions, context, cache, deterministic=deterministic, slots=slots)

    def logits(self, hidden: jax.Array, start: int = 0, size: int | None = None) -> jax.Array:
        """Score the tokens `start` to `start + size - 1`: `[..., D]` to `[..., size]` float32.

        `size` None scores all tokens from `start` 0.
        """
        return self.head(hidden, self.embedding.table, start, size)

    def loss(
        self,
        hidden: jax.Array,
        targets: jax.Array,
        weights: jax.Array,
        start: int = 0,
        size: int | None = None,
    ) -> jax.Array:
        """Return the weighted sum of the tokens' cross-entropy, without storing all logits.

        Args:
          hidden: `[..., D]` states.
          targets: `[...]` int32, the token that each state should predict.
          weights: `[...]` float32.
          start: first of the tokens that are possible.
          size: number of them; None for all that the model may write, from `start` 0.
        """
        return self.head.loss(hidden, self.embedding.table, targets, weights, start, size)

    def __call__(
        self,
        tokens: jax.Array,
        valid: jax.Array,
        deterministic: bool = True,
        *,
        prefix: jax.Array | None = None,
        segments: jax.Array | None = None,
    ) -> jax.Array:
        """Return the next-token logits of a padded batch, `[B, T, V]` float32.

        Args:
          tokens: `[B, T]` int32.
          valid: `[B, T]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).
          prefix: `[B, T]` bool, tokens that see one another in both directions; None for no prefix.
          segments: `[B, T]` int32, number of the packed sequence that a token belongs to; None if
            every row is one sequence.
        """
        context = SelfContext(attention_mask(valid, True, prefix, segments), causal=prefix is None)
        positions = positions_of(valid, segments)
        hidden, _ = self.hidden(tokens, positions, context, None, deterministic)
        return self.logits(hidden)
