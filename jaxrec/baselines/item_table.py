"""Item vectors of the neural sequential baselines: a learned table, or texts through a projection.

A history is one token an item, numbered as by `IdVocabulary((I,))`, with a mask token behind:

0    1    2 .. I+1   I+2
PAD  BOS  items      MASK

Shapes: `B` batch, `T` tokens, `I` items, `E` width of text vectors, `D` model width.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.ids import IdVocabulary
from jaxrec.ids.vocabulary import BOS, PAD
from jaxrec.nn import Einsum, fan_in_normal

# Collection of arrays that are part of a model and are not trained.
FIXED = "fixed"
# Tokens before the first item.
FIRST = 2
# What is known of an item of a history: nothing, that it was disliked, that it was liked.
UNKNOWN, DISLIKED, LIKED = 0, 1, 2


def vocabulary(num_items: int) -> IdVocabulary:
    """One token an item."""
    return IdVocabulary((num_items,), FIRST)


def mask_token(num_items: int) -> int:
    """Number of the token that stands for a hidden item."""
    return FIRST + num_items


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
    a learned projection of its text's, so items that were never trained have one too.

    Attributes:
      num_items: I.
      width: D.
      tied: score with the vectors that are read, instead of with a table of its own.
      bias: one a scored item.
      text: whether there are text vectors.
      feedback: whether a vector is added that says if the user liked the item.
    """

    num_items: int
    width: int
    tied: bool = True
    bias: bool = False
    text: bool = False
    feedback: bool = False

    def setup(self) -> None:
        """Create the tables."""
        init = nn.with_partitioning(fan_in_normal(self.width), ("vocab", "embed"))
        if self.text:
            self.special = self.param("special", init, (FIRST + 1, self.width), jnp.float32)
            wide = self.get_variable(FIXED, "text").shape[1]
            # Rows of unit length become as long as those of a learned table.
            self.projection = Einsum(
                "ie,ed->id", (wide, self.width), ("mlp", "embed"), 1, fan_in_normal(self.width)
            )
        else:
            rows = self.num_items + FIRST + 1
            self.table = self.param("table", init, (rows, self.width), jnp.float32)
        if not self.tied:
            self.out = self.param("out", init, (self.num_items, self.width), jnp.float32)
        if self.bias:
            zeros = nn.with_partitioning(nn.initializers.zeros_init(), ("vocab",))
            self.out_bias = self.param("bias", zeros, (self.num_items,), jnp.float32)
        if self.feedback:
            self.liking = self.param("feedback", init, (3, self.width), jnp.float32)

    def rows(self) -> jax.Array:
        """Vectors of all tokens, `[I + 3, D]`."""
        if not self.text:
            return self.table
        items = self.projection(self.get_variable(FIXED, "text"))
        return jnp.concatenate([self.special[:FIRST], items, self.special[FIRST:]])

    def __call__(self, tokens: jax.Array, feedback: jax.Array | None = None) -> jax.Array:
        """Vectors of tokens, zeros for padding: `[B, T]` int32 to `[B, T, D]`.

        Args:
          tokens: numbered as above.
          feedback: `[B, T]` int32 of `UNKNOWN`, `DISLIKED` and `LIKED`; None for nothing known.
        """
        x = jnp.take(self.rows(), tokens, axis=0)
        if self.feedback:
            known = jnp.zeros_like(tokens) if feedback is None else feedback
            x = x + jnp.take(self.liking, known, axis=0)
        return jnp.where((tokens != PAD)[:, :, None], x, 0.0)

    def output(self) -> tuple[jax.Array, jax.Array]:
        """What scores items, by product with a state: table `[I, D]` and biases `[I]`."""
        table = self.rows()[FIRST : FIRST + self.num_items] if self.tied else self.out
        return table, self.out_bias if self.bias else jnp.zeros(self.num_items, jnp.float32)


class SequentialModel(nn.Module):
    """Item vectors, a body that reads them, and scores of what comes next.

    Attributes:
      items: the table.
      body: from vectors `[B, T, D]` and validity `[B, T]` bool, padded on the left, to states
        `[B, T, D]`; dropout unless its third argument is True.
    """

    items: ItemTable
    body: nn.Module

    def states(
        self,
        tokens: jax.Array,
        feedback: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        """States of a padded batch: `[B, T]` tokens to `[B, T, D]`."""
        return self.body(self.items(tokens, feedback), tokens != PAD, deterministic)

    def output(self) -> tuple[jax.Array, jax.Array]:
        """Table `[I, D]` and biases `[I]` that score items."""
        return self.items.output()

    def __call__(
        self,
        tokens: jax.Array,
        feedback: jax.Array | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """States, table and biases: all that a loss or a ranking reads."""
        return self.states(tokens, feedback, deterministic), *self.output()
