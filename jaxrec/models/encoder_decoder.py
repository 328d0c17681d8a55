"""The encoder-decoder: an encoder reads, a decoder with cross-attention writes (T5)."""

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
    """Two stacks over one embedding table.

    With `config.word_rows` its variables have a collection `WORDS` beside the parameters.
    """

    config: TransformerConfig

    def setup(self) -> None:
        """Create the parameter-holding parts."""
        c = self.config
        self.embedding = Embedding(c)
        self.encoder = Stack(c.encoder, causal=False)
        self.decoder = Stack(c, cross=True)
        self.head = LanguageHead(c)
        self.encoder_dropout = Dropout(c.dropout)
        self.decoder_dropout = Dropout(c.dropout)
        if c.word_rows:
            # No parameter: what the vocabulary's tokens do, as `models.words.word_kinds` says.
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
        """States of the encoder: `[B, S]` tokens and validity to `[B, S, D]`."""
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
        """Which of the encoder's states the decoder may see: `[B, S]` tokens, to `valid` or less.

        Those of virtual tokens only where a prompt gives them vectors: a prefix gives them keys and
        values for the encoder's own attention, and no states.
        """
        if tuned(self.embedding, "prompt") is not None:
            return valid
        return valid & (tokens < self.config.vocab_size)

    def memory(self, states: jax.Array) -> KeyValue:
        """Keys and values of the encoder's states for all decoder blocks, `[depth, B, S, G, H]`."""
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
        """States of the decoder's last layer, and the keys and values of these tokens.

        Args:
          tokens: `[B, T]` int32.
          positions: `[B, T]` int32.
          context: what the tokens attend to among themselves.
          memory: of `memory`.
          memory_valid: `[B, S]` bool, or `[B, T, S]` where tokens see different parts.
          cache: as in `CausalLM.hidden`.
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
        targets: jax.Array,
        targets_valid: jax.Array,
        deterministic: bool = True,
    ) -> jax.Array:
        """Next-token logits of the decoder's tokens.

        Args:
          tokens: `[B, S]` int32, what is read.
          valid: `[B, S]` bool.
          targets: `[B, T]` int32, what is written, from the start token on.
          targets_valid: `[B, T]` bool.
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
