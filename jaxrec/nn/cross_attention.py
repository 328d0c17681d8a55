"""Attention of a decoder over an encoder's states.

It is split into two layers because they run at different times: `Memory` projects the states to
keys and values once, and `CrossAttention` reads those at every decoding step.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn.attention import (
    KeyValue,
    head_projection,
    output_projection,
    scale_of,
)
from jaxrec.nn.dot_product import ScoreTerms, dot_product_attention
from jaxrec.nn.einsum import joint


class Memory(nn.Module):
    """Keys and values of the encoder's states, for one decoder block."""

    num_kv_heads: int
    head_size: int
    bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, states: jax.Array) -> KeyValue:
        """Map `[B, S, D]` to keys and values, each `[B, S, G, H]`."""
        heads, size, bias = self.num_kv_heads, self.head_size, self.bias
        names = ("key", "value")
        layers = [head_projection(n, heads, states, size, bias, self.dtype) for n in names]
        key, value = joint(layers, states)
        return key, value


class CrossAttention(nn.Module):
    """Attend to the keys and values that a `Memory` layer made.

    Attributes:
      num_heads: N query heads.
      head_size: H.
      scale: factor of the scores; None for H^-1/2.
      q_bias, out_bias: whether the projections have biases.
      dropout: dropout rate of the attention weights.
      out_scale: variance multiplier of the output projection's initializer.
      dtype: dtype of the products; parameters are stored in float32.
    """

    num_heads: int
    head_size: int
    scale: float | None = None
    q_bias: bool = False
    out_bias: bool = False
    dropout: float = 0.0
    out_scale: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, memory: KeyValue, valid: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Map `[B, T, D]` to the same shape.

        Args:
          x: `[B, T, D]`.
          memory: keys and values, each `[B, S, G, H]`.
          valid: `[B, S]` bool, or `[B, T, S]` if queries see different parts of the memory.
          deterministic: False to apply dropout (needs a "dropout" key).
        """
        size, bias = self.head_size, self.q_bias
        query = head_projection("query", self.num_heads, x, size, bias, self.dtype)(x)
        query = query * scale_of(self.scale, self.head_size, query.dtype)
        terms = ScoreTerms()
        if self.dropout and not deterministic:
            seed = jax.random.key_data(self.make_rng("dropout"))[:2]
            terms = ScoreTerms(dropout=seed, dropout_rate=self.dropout)
        mask = valid if valid.ndim == 3 else valid[:, None, :]
        attended = dot_product_attention(query, *memory, mask, terms)
        return output_projection(
            "out", attended, x.shape[-1], self.out_bias, self.out_scale, self.dtype
        )
