"""The encoder-decoder: an encoder reads, and a decoder with cross-attention writes (T5)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.models.config import TransformerConfig
from jaxrec.models.embedding import Embedding, LanguageHead
from jaxrec.models.stack import Stack
from jaxrec.models.words import NEUTRAL, WORDS, word_numbers
from jaxrec.nn import (
    Context,
    Dropout,
    KeyValue,
    SelfContext,
    attention_mask,
    positions_of,
    tuned,
    virtual_slots,
)


class EncoderDecoder(nn.Module):
    """An encoder and a decoder that share one embedding table.

    With `config.word_rows`, its variables have a collection `WORDS` besides the parameters.

    Attributes:
      config: shape and flavour.

    Example:
      Shapes, without allocating any parameters (`jax.jit(model.init)` creates them):

      >>> model = EncoderDecoder(TransformerConfig(vocab_size=8, width=4, depth=1))
      >>> read, written = jnp.array([[3, 5, 1]]), jnp.array([[0, 2]])
      >>> inputs = (read, read > 0, written, written >= 0)
      >>> variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
      >>> jax.eval_shape(model.apply, variables, *inputs).shape  # next-token logits
      (1, 2, 8)
    """

    config: TransformerConfig

    def setup(self) -> None:
        """Create the submodules."""
        c = self.config
        self.embedding = Embedding(c)
        self.encoder = Stack(c.encoder, causal=False)
        self.decoder = Stack(c, cross=True)
        self.head = LanguageHead(c)
        self.encoder_dropout = Dropout(c.dropout)
        self.decoder_dropout = Dropout(c.dropout)
        if c.word_rows:
            # A fact of the vocabulary rather than a parameter; `word_kinds` computes it.
            kinds = functools.partial(jnp.full, (c.vocab_size,), NEUTRAL, jnp.int8)
            self.kinds = self.variable(WORDS, "kinds", kinds)

    def encode(
        self,
        tokens: jax.Array,
        valid: jax.Array,
        deterministic: bool = True,
        *,
        segments: jax.Array | None = None,
    ) -> jax.Array:
        """Return the encoder's states, `[B, S, D]`.

        Args:
          tokens: `[B, S]` int32.
          valid: `[B, S]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).
          segments: `[B, S]` int32, number of the packed sequence that a token belongs to; None if
            every row is one sequence.
        """
        positions = positions_of(valid, segments)
        context = SelfContext(attention_mask(valid, False, None, segments))
        words = None
        if self.config.word_rows:
            words = word_numbers(self.kinds.value, tokens, valid, segments)
        x = self.embedding(tokens, positions, None, deterministic, words)
        slots = virtual_slots(tokens, self.config.vocab_size)
        x, _ = self.encoder(x, positions, context, deterministic=deterministic, slots=slots)
        return self.encoder_dropout(x, deterministic)

    def readable(self, tokens: jax.Array, valid: jax.Array) -> jax.Array:
        """Return which of the encoder's states the decoder may see, `[B, S]` bool.

        These are the valid ones. States of virtual tokens count only under prompt tuning, which
        gives such tokens vectors; prefix tuning gives them only keys and values in the encoder.
        """
        if tuned(self.embedding, "prompt") is not None:
            return valid
        return valid & (tokens < self.config.vocab_size)

    def memory(self, states: jax.Array) -> KeyValue:
        """Return keys and values of `[B, S, D]` states for all decoder blocks.

        Returns:
          Two arrays `[depth, B, S, G, H]`.
        """
        return self.decoder.memory(states)

    def hidden(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        context: Context,
        memory: KeyValue,
        memory_valid: jax.Array,
        cache: Any = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, KeyValue]:
        """Return the states of the decoder's last layer, and the keys and values of these tokens.

        Args:
          tokens: `[B, T]` int32.
          positions: `[B, T]` int32.
          context: what the tokens attend to among themselves.
          memory: keys and values from `memory`.
          memory_valid: `[B, S]` bool, or `[B, T, S]` if tokens see different parts of the memory.
          cache: pytree whose leaves have a leading axis of `depth`, passed to the context layer by
            layer; None if the context needs no cache.
          deterministic: False to apply dropout (needs a "dropout" key).

        Returns:
          `[B, T, D]` states, and `[depth, B, T, G, H]` keys and values.
        """
        x = self.embedding(tokens, positions, None, deterministic)
        slots = virtual_slots(tokens, self.config.vocab_size)
        x, key_value = self.decoder(
            x, positions, context, cache, memory, memory_valid, deterministic, slots
        )
        return self.decoder_dropout(x, deterministic), key_value

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
        targets: jax.Array,
        targets_valid: jax.Array,
        deterministic: bool = True,
    ) -> jax.Array:
        """Return the next-token logits of the decoder's tokens.

        Args:
          tokens: `[B, S]` int32, the text that the encoder reads.
          valid: `[B, S]` bool, False for padding.
          targets: `[B, T]` int32, the text that the decoder writes, beginning with the start token.
          targets_valid: `[B, T]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).

        Returns:
          `[B, T, V]` float32.
        """
        memory = self.memory(self.encode(tokens, valid, deterministic))
        valid = self.readable(tokens, valid)
        context = SelfContext(attention_mask(targets_valid), causal=True)
        positions = positions_of(targets_valid)
        hidden, _ = self.hidden(
            targets, positions, context, memory, valid, deterministic=deterministic
        )
        return self.logits(hidden)
