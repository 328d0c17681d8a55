"""Item vectors of the neural sequential baselines: learned, of texts, or of the codes of IDs.

A history is one token an item, numbered as by `IdVocabulary((I,))`, with a mask token behind:

0    1    2 .. I+1   I+2
PAD  BOS  items      MASK

Shapes: `B` batch, `T` tokens, `I` items, `E` width of text vectors, `D` model width.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.baselines.code_table import FIXED, CodeTable
from jaxrec.ids import BOS, PAD, IdVocabulary
from jaxrec.nn import Dropout, Einsum, fan_in_normal
from jaxrec.objectives import semi_synthetic

# Where items' vectors come from: a learned table, a projection of text vectors, or `CodeTable`.
Kind = Literal["table", "text", "codes"]
# Tokens before the first item.
FIRST = 2
# What is known of an item of a history: nothing, that it was disliked, that it was liked.
UNKNOWN, DISLIKED, LIKED = 0, 1, 2


def vocabulary(num_items: int) -> IdVocabulary:
    """One token an item."""
    return IdVocabulary(sizes=(num_items,), num_special=FIRST)


def mask_token(num_items: int) -> int:
    """Number of the token that stands for a hidden item."""
    return FIRST + num_items


def kind_of(fixed: Mapping[str, Any]) -> Kind:
    """The kind of item table that the arrays of a collection "fixed" belong to."""
    found = fixed.get("items", {})
    return "text" if "text" in found else "codes" if "coded" in found else "table"


def history_tokens(history: jax.Array | np.ndarray, max_items: int) -> jax.Array:
    """PAD ..., BOS, items: `[B, H]`, padded with -1, to `[B, 1 + max_items]` int32.

    As `ids.write_histories` writes them: of longer histories the newest items.
    """
    history = jnp.asarray(history)
    width = max_items - history.shape[1]
    history = history[:, -max_items:]
    if width > 0:
        history = jnp.pad(history, ((0, 0), (width, 0)), constant_values=-1)
    items = jnp.where(history >= 0, history + FIRST, PAD)
    items = jnp.pad(items, ((0, 0), (1, 0)))
    following = jnp.pad(items[:, 1:], ((0, 0), (0, 1)), constant_values=1)
    return jnp.where((items == PAD) & (following > 0), BOS, items).astype(jnp.int32)


class ItemTable(nn.Module):
    """Vectors that are read, and the table and biases that score items.

    With text vectors, `[I, E]` under the name "text" in the collection `FIXED`, an item's vector is
    a learned projection of its text's; with codes, whose arrays lie there under "coded", it is the
    mean of its codes' vectors. So items that were never trained have one too.

    Attributes:
      num_items: I.
      width: D.
      tied: score with the vectors that are read, instead of with a table of its own.
      bias: one a scored item.
      kind: where the vectors come from.
      feedback: whether a vector is added that says if the user liked the item.
      assigned: of codes, see `CodeTable`.
      cosine: score with rows of unit length.
      dropout: while training, of all vectors.
      init_std: standard deviation of a learned table at the beginning; 0 for D^-1/2.
    """

    num_items: int
    width: int
    tied: bool = True
    bias: bool = False
    kind: Kind = "table"
    feedback: bool = False
    assigned: bool = False
    cosine: bool = False
    dropout: float = 0.0
    init_std: float = 0.0

    def setup(self) -> None:
        """Create the tables."""
        draw = fan_in_normal(self.width)
        init = nn.with_partitioning(draw, ("vocab", "embed"))
        small = nn.initializers.normal(self.init_std) if self.init_std else draw
        learned = nn.with_partitioning(small, ("vocab", "embed"))
        self.drop = Dropout(self.dropout)
        if self.kind != "table":
            self.special = self.param("special", init, (FIRST + 1, self.width), jnp.float32)
        if self.kind == "codes":
            self.coded = CodeTable(self.width, self.assigned)
        elif self.kind == "text":
            wide = self.get_variable(FIXED, "text").shape[1]
            # Rows of unit length become as long as those of a learned table.
            self.projection = Einsum(
                "ie,ed->id", (wide, self.width), ("mlp", "embed"), 1, fan_in_normal(self.width)
            )
        else:
            rows = self.num_items + FIRST + 1
            self.table = self.param("table", learned, (rows, self.width), jnp.float32)
        if not self.tied:
            self.out = self.param("out", learned, (self.num_items, self.width), jnp.float32)
        if self.bias:
            zeros = nn.with_partitioning(nn.initializers.zeros_init(), ("vocab",))
            self.out_bias = self.param("bias", zeros, (self.num_items,), jnp.float32)
        if self.feedback:
            self.liking = self.param("feedback", init, (3, self.width), jnp.float32)

    def rows(self, deterministic: bool = True) -> jax.Array:
        """Vectors of all tokens, `[I + 3, D]`; with dropout unless deterministic."""
        if self.kind == "table":
            return self.drop(self.table, deterministic)
        coded = self.kind == "codes"
        items = self.coded() if coded else self.projection(self.get_variable(FIXED, "text"))
        rows = jnp.concatenate([self.special[:FIRST], items, self.special[FIRST:]])
        return self.drop(rows, deterministic)

    def __call__(
        self, tokens: jax.Array, feedback: jax.Array | None = None, rows: jax.Array | None = None
    ) -> jax.Array:
        """Vectors of tokens, zeros for padding: `[B, T]` int32 to `[B, T, D]`.

        Args:
          tokens: numbered as above.
          feedback: `[B, T]` int32 of `UNKNOWN`, `DISLIKED` and `LIKED`; None for nothing known.
          rows: what `rows` gave, where it is at hand.
        """
        x = jnp.take(self.rows() if rows is None else rows, tokens, axis=0)
        if self.feedback:
            known = jnp.zeros_like(tokens) if feedback is None else feedback
            x = x + jnp.take(self.liking, known, axis=0)
        return jnp.where((tokens != PAD)[:, :, None], x, 0.0)

    def output(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What scores items, by product with a state: table `[I, D]` and biases `[I]`.

        Args:
          rows: what `rows` gave, which tied items are scored by.
        """
        table = rows[FIRST : FIRST + self.num_items] if self.tied else self.out
        table = unit(table) if self.cosine else table
        return table, self.out_bias if self.bias else jnp.zeros(self.num_items, jnp.float32)


def unit(x: jax.Array) -> jax.Array:
    """Rows of unit length: `[..., D]`."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


class SequentialModel(nn.Module):
    """Item vectors, a body that reads them, and scores of what comes next.

    Attributes:
      items: the table.
      body: from vectors `[B, T, D]` and validity `[B, T]` bool, padded on the left, to states
        `[B, T, D]`; dropout unless its third argument is True.
      temperature: τ, for scores that are cosines over τ; 0 for plain products.
    """

    items: ItemTable
    body: nn.Module
    temperature: float = 0.0

    def synthetic(self, target: jax.Array, share: float, key: jax.Array) -> jax.Array:
        """Vectors of `semi_synthetic` IDs near those of items: `[M]` int32 to `[M, D]`.

        The item table is one of codes.
        """
        coded = self.items.coded
        codes = jnp.take(coded.get_variable(FIXED, "codes"), target, axis=0)
        vectors = coded.vectors(semi_synthetic(codes, coded.sizes(), share, key))
        return unit(vectors) if self.items.cosine else vectors

    def __call__(
        self,
        tokens: jax.Array,
        feedback: jax.Array | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What a loss or a ranking reads of a padded batch.

        Args:
          tokens: `[B, T]` int32.
          feedback: see `ItemTable`.
          deterministic: False to apply dropout (needs a "dropout" key).

        Returns:
          States `[B, T, D]`, and the table `[I, D]` and biases `[I]` that score items.
        """
        rows = self.items.rows(deterministic)
        states = self.body(self.items(tokens, feedback, rows), tokens != PAD, deterministic)
        states = unit(states) / self.temperature if self.temperature else states
        return states, *self.items.output(rows)
