"""Tokens to vectors and states to logits: the tables of a vocabulary."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import constrain, gathered, merge_rows, split_rows
from jaxrec.models.config import TransformerConfig
from jaxrec.nn import (
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
    """Token table, with those of positions, token types and words where the config has them."""

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
    ) -> jax.Array:
        """Map tokens, positions and token types (None for type 0), `[B, T]`, to `[B, T, D]`.

        With `words`, `[B, T]` numbers of `models.words`, also what the table of words has for them;
        those beyond its end share its last row.
        """
        c = self.config
        slots = virtual_slots(tokens, c.vocab_size)
        real = jnp.minimum(tokens, c.vocab_size - 1)
        x = constrain(jnp.take(self.table, real, axis=0), "batch", "sequence", "embed")
        if (update := tuned(self, "update")) is not None:
            down, up = update.factors()
            x = x + (jnp.take(down, real, axis=0) @ up).astype(x.dtype)
        x = x * c.embedding_scale
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
    """Scores of the vocabulary's tokens, by the embedding table or by one of its own."""

    config: TransformerConfig

    def setup(self) -> None:
        """Create the table, unless it is the embedding's."""
        c = self.config
        if not c.tie_embeddings:
            init = nn.with_partitioning(fan_in_normal(c.width), ("vocab", "embed"))
            self.table = self.param("table", init, (c.vocab_size, c.width), jnp.float32)

    def __call__(
        self, states: jax.Array, embedding: jax.Array, start: int = 0, size: int | None = None
    ) -> jax.Array:
        """Scores of rows `[start, start + size)` of the vocabulary, in float32.

        Args:
          states: `[..., D]`.
          embedding: `[V, D]`, read when the tables are tied.
          start: first row; decoding one level of an ID needs that level's rows only.
          size: number of rows; None for all.

        Returns:
          `[..., size]`.
        """
        c = self.config
        size = c.vocab_size if size is None else size
        matrix, table = self._operands(states, embedding, start, size)
        # As one product of matrices: see Einsum.
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
        self, states: jax.Array, embedding: jax.Array, targets: jax.Array, weights: jax.Array
    ) -> jax.Array:
        """Sum of -weight log p(target) over all that can be written, without storing the scores.

        Args:
          states: `[..., D]`.
          embedding: `[V, D]`, read when the tables are tied.
          targets: `[...]` int32.
          weights: `[...]` float32.

        Returns:
          float32 scalar; see `nn.linear_cross_entropy`.
        """
        size = self.config.vocab_size - self.config.read_only
        matrix, table = self._operands(states, embedding, 0, size)
        return linear_cross_entropy(
            matrix, table, _rows(targets), _rows(weights), self.config.logit_cap
        )

    def _operands(
        self, states: jax.Array, embedding: jax.Array, start: int, size: int
    ) -> tuple[jax.Array, jax.Array]:
        """States `[M, D]` and rows of the table `[size, D]` whose product the scores are.

        A low-rank update makes both wider instead: (x, x A) (W, B)' = x W' + (x A) B'.
        """
        c = self.config

        def rows(table: jax.Array) -> jax.Array:
            return jax.lax.slice_in_dim(table, start, start + size).astype(states.dtype)

        # A part of the vocabulary has not the size that devices divide.
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
    """What belongs to tokens, in the order of the rows of their states: `[...]` to `[M]`."""
    return merge_rows(x, (), ("vocab",)) if x.ndim == 2 else x.reshape(-1)
