"""Prompts: rows of tokens that a model reads before it generates anything.

A prompt is a text, or a user's history written as the tokens of its items.

Shapes: `B` rows, `T` tokens.
"""

import dataclasses

import jax

from jaxrec.core import ConfigError
from jaxrec.peft import prepend


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompts:
    """A batch of token rows and what the model has to know about each token.

    Attributes:
      tokens: `[B, T]` int32, padded on the left or on the right.
      valid: `[B, T]` bool, False for padding; None if token 0 is the padding.
      prefix: `[B, T]` bool, tokens that see one another in both directions (a prefix decoder); None
        for a causal decoder, and for an encoder, which always reads in both directions.
      segments: `[B, T]` int32, which of the sequences packed into a row a token belongs to; None
        for one sequence a row.

    Example:
      >>> import jax.numpy as jnp
      >>> Prompts(tokens=jnp.array([[0, 1, 5]])).mask.tolist()
      [[False, True, True]]
    """

    tokens: jax.Array
    valid: jax.Array | None = None
    prefix: jax.Array | None = None
    segments: jax.Array | None = None

    @property
    def mask(self) -> jax.Array:
        """Which tokens are not padding, `[B, T]` bool."""
        return self.tokens != 0 if self.valid is None else self.valid

    def with_virtual(self, vocab_size: int, count: int, sequences: int = 1) -> "Prompts":
        """Put the virtual tokens of a tuned prefix or prompt in front of every sequence.

        Args:
          vocab_size: V of the model; virtual tokens have the numbers from V on.
          count: number of virtual tokens; 0 for none.
          sequences: most sequences that are packed into a row.
        """
        if not count:
            return dataclasses.replace(self, valid=self.mask)
        read = prepend(self.tokens, self.mask, vocab_size, count, self.segments, sequences)
        return Prompts(
            tokens=read.tokens,
            valid=read.valid,
            prefix=None if self.prefix is None else read.widen(self.prefix),
            segments=None if self.segments is None else read.widen(self.segments),
        )

    def check_shapes(self) -> None:
        """Check that all arrays have the shape of the tokens.

        Raises:
          ConfigError: an array has another shape.
        """
        for name in ("valid", "prefix", "segments"):
            rows = getattr(self, name)
            if self.tokens.ndim != 2 or (rows is not None and rows.shape != self.tokens.shape):
                shape = None if rows is None else rows.shape
                raise ConfigError(
                    f"tokens and {name} must both be [B, T], got {self.tokens.shape} and {shape}"
                )
