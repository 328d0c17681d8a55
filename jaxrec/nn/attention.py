"""Multi-head attention with grouped key/value heads, over whatever context the caller hands in.

The layer projects; *what is attended* is the context's business. A context is a small pytree with
`attend(query, key, value) -> output`, so a training batch, a padded prompt and a beam search over a
shared history run through the same parameters and the same code.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn.einsum import Einsum, fan_in_normal
from jaxrec.nn.positions import rotate


class Context(Protocol):
    """What queries attend to."""

    def attend(self, query: jax.Array, key: jax.Array, value: jax.Array, layer: Any) -> jax.Array:
        """Attend.

        Args:
          query: `[B, T, N, H]`, not yet scaled.
          key: `[B, T, G, H]` keys of the same tokens, rotated already.
          value: `[B, T, G, H]`.
          layer: this layer's slice of the cache, or None.

        Returns:
          `[B, T, N, H]`.
        """
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SelfContext:
    """Tokens attend to one another under a mask: `mask` is `[B, T, T]` bool."""

    mask: jax.Array

    def attend(
        self, query: jax.Array, key: jax.Array, value: jax.Array, layer: None = None
    ) -> jax.Array:
        """Dot-product attention of `[B, T, N, H]` queries over `[B, T, G, H]` keys."""
        return dot_product_attention(query, key, value, self.mask)


def dot_product_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array
) -> jax.Array:
    """softmax(q k^T / sqrt(H)) v, softmax in float32.

    Args:
      query: `[B, T, N, H]`.
      key: `[B, S, G, H]`, N a multiple of G.
      value: `[B, S, G, H]`.
      mask: `[B, T, S]` bool.

    Returns:
      `[B, T, N, H]`.
    """
    b, t, n, h = query.shape
    g = key.shape[2]
    query = query.reshape(b, t, g, n // g, h) * jnp.asarray(h**-0.5, query.dtype)
    # [B, G, N/G, T, S]
    logits = jnp.einsum("btgnh,bsgh->bgnts", query, key, preferred_element_type=jnp.float32)
    logits = jnp.where(mask[:, None, None], logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return jnp.einsum("bgnts,bsgh->btgnh", weights, value).reshape(b, t, n, h)


class Attention(nn.Module):
    """Project to heads, rotate, attend, project back.

    Attributes:
      num_heads: N query heads.
      num_kv_heads: G key/value heads, a divisor of N.
      head_size: H.
      rope_theta: base of the rotary embedding; None for no rotation.
      qkv_bias, out_bias: biases on the projections.
      out_scale: variance multiplier of the output projection's initializer.
    """

    num_heads: int
    num_kv_heads: int
    head_size: int
    rope_theta: float | None = 10_000.0
    qkv_bias: bool = False
    out_bias: bool = False
    out_scale: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, positions: jax.Array, context: Context, layer: Any = None
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Map `[B, T, D]` to the same shape; also return keys and values, each `[B, T, G, H]`."""
        width = x.shape[-1]
        query = self._project("query", width, self.num_heads)(x)
        key = self._project("key", width, self.num_kv_heads)(x)
        value = self._project("value", width, self.num_kv_heads)(x)
        if self.rope_theta is not None:
            query = rotate(query, positions, self.rope_theta)
            key = rotate(key, positions, self.rope_theta)
        attended = context.attend(query, key, value, layer)
        shape = (self.num_heads, self.head_size, width)
        out = Einsum(
            "btnh,nhd->btd",
            shape,
            ("heads", "head_size", "embed"),
            bias_axes=int(self.out_bias),
            init=fan_in_normal(self.num_heads * self.head_size, self.out_scale),
            dtype=self.dtype,
            name="out",
        )(attended)
        return out, (key, value)

    def _project(self, name: str, width: int, heads: int) -> Einsum:
        return Einsum(
            "btd,dnh->btnh",
            (width, heads, self.head_size),
            ("embed", "heads" if name == "query" else "kv_heads", "head_size"),
            bias_axes=2 * int(self.qkv_bias),
            init=fan_in_normal(width),
            dtype=self.dtype,
            name=name,
        )
