"""The tables of a vocabulary: from tokens to vectors, and from states to logits."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import constrain, gathered, merge_rows, split_rows
from jaxrec.models.config import TransformerConfig
from jaxrec.nn import (
    TUNED,
    Dropout,
    Norm,
    fan_in_normal,
    linear_cross_entropy,
    matrix_product,
    put_virtual,
    tuned,
    virtual_slots,
)


class Embedding(nn.Module):
    """The token table, and tables of positions, token types and words if the config has them."""

    config: TransformerConfig

    def setup(self) -> None:
        """Create the tables."""
        c = self.config
        table = nn.with_partitioning(fan_in_normal(c.width), ("vocab", "embed"))
        self.table = self.param("table", table, (c.vocab_size, c.width), jnp.float32)
        rows = nn.with_partitioning(nn.initializers.normal(0.02), ("position", "embed"))
        if c.positions == "learned":
            shape = (c.max_length + c.position_offset, c.width)
            self.position = self.param("position", rows, shape, jnp.float32)
        if c.token_types:
            self.token_type = self.param("token_type", rows, (c.token_types, c.width), jnp.float32)
        if c.word_rows:
            self.word = self.param("word", rows, (c.word_rows, c.width), jnp.float32)
        if c.norm_order == "post":
            self.norm = Norm(c.norm, c.norm_eps)
        self.dropout = Dropout(c.dropout)

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        types: jax.Array | None = None,
        deterministic: bool = True,
        words: jax.Array | None = None,
        scales: jax.Array | None = None,
    ) -> jax.Array:
        """Return the vectors of tokens, `[B, T, D]`.

        Args:
          tokens: `[B, T]` int32. Without tuning, a token beyond the table reads NaN, so that a
            tokenizer of another model shows in every output.
          positions: `[B, T]` int32.
          types: `[B, T]` int32 token types; None for type 0.
          deterministic: False to apply dropout (needs a "dropout" key).
          words: `[B, T]` int32 from `word_numbers`, or None; numbers beyond the end of the table of
            words read its last row.
          scales: `[B, T]` float32, what the vectors of the token table are multiplied by; None for
            1.
        """
        c = self.config
        slots, real = virtual_slots(tokens, c.vocab_size), tokens
        if TUNED in self.scope.root.variables():
            # Virtual tokens have no row; what they read here is replaced.
            real = jnp.minimum(tokens, c.vocab_size - 1)
        x = constrain(jnp.take(self.table, real, axis=0), "batch", "sequence", "embed")
        if (update := tuned(self, "update")) is not None:
            down, up = update.factors()
            x = x + (jnp.take(down, real, axis=0) @ up).astype(x.dtype)
        x = x * c.embedding_scale
        if scales is not None:
            x = x * scales[..., None].astype(x.dtype)
        if (prompt := tuned(self, "prompt")) is not None:
            x = put_virtual(slots, prompt, x)
        if c.positions == "learned":
            x = x + jnp.take(self.position, positions + c.position_offset, axis=0)
        if c.token_types:
            types = jnp.zeros_like(tokens) if types is None else types
            x = x + jnp.take(self.token_type, types, axis=0)
        if words is not None:
            x = x + jnp.take(self.word, jnp.minimum(words, c.word_rows - 1), axis=0)
        if c.norm_order == "post":
            x = self.norm(x)
        return self.dropout(x.astype(jnp.dtype(c.dtype)), deterministic)


class LanguageHead(nn.Module):
    """Scores all tokens of the vocabulary, with the embedding table or a table of its own."""

    config: TransformerConfig

    def setup(self) -> None:
        """Create the table, unless it is tied to the embedding."""
        c = self.config
        if not c.tie_embeddings:
            init = nn.with_partitioning(fan_in_normal(c.width), ("vocab", "embed"))
            self.table = self.param("table", init, (c.vocab_size, c.width), jnp.float32)

    def __call__(
        self, states: jax.Array, embedding: jax.Array, start: int = 0, size: int | None = None
    ) -> jax.Array:
        """Score the tokens `start` to `start + size - 1`, in float32.

        Args:
          states: `[..., D]`.
          embedding: `[V, D]`, read if the tables are tied.
          start: first token; decoding one level of an ID scores only that level's tokens.
          size: number of tokens; None for all, from `start` 0.

        Returns:
          `[..., size]`.
        """
        c = self.config
        size = c.vocab_size if size is None else size
        matrix, table = self._operands(states, embedding, start, size)
        # One product of two matrices has a faster gradient; see `Einsum`.
        scores = matrix_product(matrix, table.T, jnp.float32)
        if c.logit_cap is not None:
            scores = jnp.tanh(scores / c.logit_cap) * c.logit_cap
        if start + size > (written := c.vocab_size - c.read_only):
            known = start + jnp.arange(size) < written
            scores = jnp.where(known[None], scores, jnp.finfo(jnp.float32).min)
        if states.ndim != 3:
            return scores.reshape(*states.shape[:-1], size)
        return split_rows(scores, states.shape[:2], "embed", "vocab")

    def loss(
        self,
        states: jax.Array,
        embedding: jax.Array,
        targets: jax.Array,
        weights: jax.Array,
        start: int = 0,
        size: int | None = None,
    ) -> jax.Array:
        """Return the sum of -weight log p(target), without storing the scores of all states.

        The probabilities p are over the tokens `start` to `start + size - 1`, all of which the
        model may write.

        Args:
          states: `[..., D]`.
          embedding: `[V, D]`, read if the tables are tied.
          targets: `[...]` int32, numbers of tokens.
          weights: `[...]` float32.
          start: first token.
          size: number of tokens; None for all that the model may write, from `start` 0.

        Returns:
          float32 scalar.
        """
        size = self.config.vocab_size - self.config.read_only if size is None else size
        matrix, table = self._operands(states, embedding, start, size)
        return linear_cross_entropy(
            matrix, table, _rows(targets) - start, _rows(weights), self.config.logit_cap
        )

    def _operands(
        self, states: jax.Array, embedding: jax.Array, start: int, size: int
    ) -> tuple[jax.Array, jax.Array]:
        """Return states `[M, D]` and table rows `[size, D]` whose product is the scores.

        A low-rank update is part of that product, as it widens both: (x, x A) (W, B)' = x W' +
        (x A) B'.
        """
        c = self.config

        def rows(table: jax.Array) -> jax.Array:
            return jax.lax.slice_in_dim(table, start, start + size).astype(states.dtype)

        # The number of devices need not divide the size of a part of the vocabulary.
        vocab = "vocab" if size == c.vocab_size else None
        table = gathered(rows(embedding if c.tie_embeddings else self.table), (vocab, "embed"))
        matrix = merge_rows(states, ("embed",), ("vocab",)) if states.ndim == 3 else states
        matrix = matrix.reshape(-1, states.shape[-1]) * jnp.asarray(c.logit_scale, states.dtype)
        if (update := tuned(self, "update")) is not None:
            down, up = update.factors()
            matrix = jnp.concatenate([matrix, matrix @ down.astype(matrix.dtype)], axis=1)
            table = jnp.concatenate([table, rows(up.T)], axis=1)
        return matrix, table


def _rows(x: jax.Array) -> jax.Array:
    """Flatten values of tokens, `[...]` to `[M]`, in the order of the rows of their states."""
    return merge_rows(x, (), ("vocab",)) if x.ndim == 2 else x.reshape(-1)
