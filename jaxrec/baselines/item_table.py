"""Item vectors of the neural sequential baselines: learned, from texts, or from the codes of IDs.

A history has one token per item, numbered as by `IdVocabulary((I,))`, followed by a mask token:

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
from jaxrec.core import check_numbers
from jaxrec.ids import BOS, PAD, IdVocabulary
from jaxrec.nn import Dropout, Einsum, fan_in_normal
from jaxrec.objectives import semi_synthetic

# Source of the item vectors: a learned table, a projection of text vectors, or a `CodeTable`.
Kind = Literal["table", "text", "codes"]
# Number of tokens before the first item.
FIRST = 2
# The user's opinion of an item of a history: nothing is known, disliked, liked.
UNKNOWN, DISLIKED, LIKED = 0, 1, 2


def vocabulary(num_items: int) -> IdVocabulary:
    """The vocabulary with one token per item."""
    return IdVocabulary(sizes=(num_items,), num_special=FIRST)


def mask_token(num_items: int) -> int:
    """Number of the token that replaces a masked item."""
    return FIRST + num_items


def kind_of(fixed: Mapping[str, Any]) -> Kind:
    """The kind of item table that the arrays of a collection "fixed" belong to."""
    arrays = fixed.get("items", {})
    return "text" if "text" in arrays else "codes" if "coded" in arrays else "table"


def history_tokens(
    history: jax.Array | np.ndarray, max_items: int, num_items: int | None = None
) -> jax.Array:
    """PAD ..., BOS, items: `[B, H]`, padded with -1, to `[B, 1 + max_items]` int32.

    The tokens equal those of `ids.write_histories`; a longer history is cut to its newest items.

    Args:
      history: `[B, H]` int.
      max_items: number of items for which a row has room.
      num_items: I; None if the numbers are known to be those of items.

    Raises:
      DataError: an item outside the catalogue.
    """
    if num_items is not None:
        check_numbers(history, num_items, "items of a history")
    history = jnp.asarray(history)
    if num_items is not None:
        history = jnp.where(history < num_items, history, -1)
    width = max_items - history.shape[1]
    history = history[:, -max_items:]
    if width > 0:
        history = jnp.pad(history, ((0, 0), (width, 0)), constant_values=-1)
    items = jnp.where(history >= 0, history + FIRST, PAD)
    items = jnp.pad(items, ((0, 0), (1, 0)))
    following = jnp.pad(items[:, 1:], ((0, 0), (0, 1)), constant_values=1)
    return jnp.where((items == PAD) & (following > 0), BOS, items).astype(jnp.int32)


def history_times(times: jax.Array | np.ndarray, max_items: int) -> jax.Array:
    """The times of `history_tokens`: `[B, H]` to `[B, 1 + max_items]` int32.

    The token before the first item has the time of that item, so that no gap lies between them.

    Args:
      times: `[B, H]` int32, padded on the left with -1; -1 also where no time of a row is known.
      max_items: number of items for which a row has room.
    """
    times = jnp.asarray(times)[:, -max_items:]
    row = jnp.pad(
        times.astype(jnp.int32), ((0, 0), (max_items + 1 - times.shape[1], 0)), constant_values=-1
    )
    following = jnp.pad(row[:, 1:], ((0, 0), (0, 1)), constant_values=-1)
    return jnp.where(row < 0, following, row)


class ItemTable(nn.Module):
    """Vectors for the items that are read, and the table and biases that score items.

    With text vectors, `[I, E]` under the name "text" in the collection `FIXED`, an item's vector is
    a learned projection of its text vector. With codes, whose arrays are under "coded" there, it is
    the mean of the vectors of its codes. Either way, items that were never trained have a vector
    too.

    Attributes:
      num_items: I.
      width: D.
      tied: score with the vectors that are read, instead of with a separate table.
      bias: add a learned bias to the score of each item.
      kind: source of the vectors.
      feedback: add a vector that tells whether the user liked the item.
      assigned: learn an assignment of codes, see `CodeTable`.
      cosine: score with rows of unit length.
      dropout: dropout of all vectors during training.
      init_std: initial standard deviation of a learned table; 0 means D^-1/2.
      repeat: learn a number that `repeat_bias` reads.
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
    repeat: bool = False

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
            # The scale makes projections of unit vectors as long as rows of a learned table.
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
        if self.repeat:
            self.param("repeat", nn.initializers.zeros_init(), (), jnp.float32)
        if self.feedback:
            self.liking = self.param("feedback", init, (3, self.width), jnp.float32)

    def rows(self, deterministic: bool = True) -> jax.Array:
        """Vectors of all tokens, `[I + 3, D]`; with dropout unless `deterministic`."""
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
          tokens: numbered as in the module docstring.
          feedback: `[B, T]` int32 of `UNKNOWN`, `DISLIKED` and `LIKED`; None means that all are
            unknown.
          rows: result of `rows`, if it is available.
        """
        x = jnp.take(self.rows() if rows is None else rows, tokens, axis=0)
        if self.feedback:
            known = jnp.zeros_like(tokens) if feedback is None else feedback
            x = x + jnp.take(self.liking, known, axis=0)
        return jnp.where((tokens != PAD)[:, :, None], x, 0.0)

    def output(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The table `[I, D]` and biases `[I]` that score items, by product with a state.

        Args:
          rows: result of `rows`, which scores items if the table is tied.
        """
        table = rows[FIRST : FIRST + self.num_items] if self.tied else self.out
        table = unit(table) if self.cosine else table
        return table, self.out_bias if self.bias else jnp.zeros(self.num_items, jnp.float32)


def unit(x: jax.Array) -> jax.Array:
    """Scale rows to unit length: `[..., D]`."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


class SequentialModel(nn.Module):
    """Item vectors, a body that reads them, and the scores of the next item.

    Attributes:
      items: the table.
      body: maps vectors `[B, T, D]` and validity `[B, T]` bool, padded on the left, to states
        `[B, T, D]`; it applies dropout unless its third argument is True. A body that reads times
        gets them as its fourth argument.
      temperature: τ of scores that are cosines divided by τ; 0 for plain products.
    """

    items: ItemTable
    body: nn.Module
    temperature: float = 0.0

    def synthetic(self, target: jax.Array, share: float, key: jax.Array) -> jax.Array:
        """Vectors of `semi_synthetic` IDs near those of items: `[M]` int32 to `[M, D]`.

        The item table must be of kind "codes".
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
        times: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Compute what a loss or a ranking needs from a padded batch.

        Args:
          tokens: `[B, T]` int32.
          feedback: see `ItemTable`.
          deterministic: False applies dropout (and needs a "dropout" key).
          times: `[B, T]` int32, for a body that reads them; None if they are not known.

        Returns:
          States `[B, T, D]`, and the table `[I, D]` and biases `[I]` that score items.
        """
        rows = self.items.rows(deterministic)
        more = () if times is None else (times,)
        x = self.items(tokens, feedback, rows)
        states = self.body(x, tokens != PAD, deterministic, *more)
        states = unit(states) / self.temperature if self.temperature else states
        return states, *self.items.output(rows)
