"""Multi-head attention with grouped key/value heads, over a context that the caller supplies.

The layer projects; the context decides *what is attended*. A context is a small pytree with a
method `attend`, so a training batch, a padded prompt and a beam search over a shared history run
through the same parameters and the same code.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn.dot_product import ScoreTerms, dot_product_attention
from jaxrec.nn.einsum import Einsum, fan_in_normal, joint
from jaxrec.nn.kernel import put_virtual, tuned
from jaxrec.nn.norms import Norm
from jaxrec.nn.positions import Rotation, rotate

KeyValue = tuple[jax.Array, jax.Array]


class Context(Protocol):
    """What queries attend to."""

    def distance(self, positions: jax.Array) -> jax.Array:
        """Query position minus key position: `[B, T]` query positions to `[B or 1, T, S]` int32."""
        ...

    def attend(
        self, query: jax.Array, key: jax.Array, value: jax.Array, terms: ScoreTerms, layer: Any
    ) -> jax.Array:
        """Let every query attend to its keys and return the weighted values.

        Args:
          query: `[B, T, N, H]`, already scaled.
          key: `[B, T, G, H]` keys of the same tokens, already rotated.
          value: `[B, T, G, H]`.
          terms: what enters the scores besides query times key.
          layer: this layer's slice of the cache; None without a cache.

        Returns:
          `[B, T, N, H]`.
        """
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SelfContext:
    """Tokens attend to one another under a mask.

    Attributes:
      mask: `[B or 1, T, T]` bool, True where a query (row) may see a key (column).
      ordered: promises that, wherever the mask is True, positions increase by one from token to
        token. Distances are then the same for all rows, so they are computed only once.
      causal: promises that no token sees a later one. Scores of later tokens are then skipped.
    """

    mask: jax.Array
    ordered: bool = dataclasses.field(default=True, metadata={"static": True})
    causal: bool = dataclasses.field(default=False, metadata={"static": True})

    def distance(self, positions: jax.Array) -> jax.Array:
        """Distances between the tokens of a row: `[B or 1, T, T]` int32."""
        if self.ordered:
            positions = jnp.arange(positions.shape[1], dtype=jnp.int32)[None]
        return positions[:, :, None] - positions[:, None, :]

    def attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        terms: ScoreTerms,
        layer: None = None,
    ) -> jax.Array:
        """Dot-product attention of `[B, T, N, H]` queries over `[B, T, G, H]` keys."""
        return dot_product_attention(query, key, value, self.mask, terms, self.causal)


class Attention(nn.Module):
    """Multi-head attention: project to heads, rotate, attend, project back.

    Attributes:
      num_heads: N query heads.
      num_kv_heads: G key/value heads, a divisor of N.
      head_size: H.
      scale: factor of the scores; None for H^-1/2.
      qkv_bias, out_bias: whether the projections have biases.
      qk_norm: RMS-normalize each head's query and key before the rotation (Qwen3).
      norm_eps: epsilon of that normalization.
      dropout: dropout rate of the attention weights.
      out_scale: variance multiplier of the output projection's initializer.
      dtype: dtype of the products; parameters are stored in float32.

    Example:
      Equal scores average the values of all visible tokens:

      >>> zeros, identity = jnp.zeros((2, 1, 2)), jnp.eye(2)
      >>> kernels = {"query": zeros, "key": zeros}
      >>> kernels |= {"value": identity.reshape(2, 1, 2), "out": identity.reshape(1, 2, 2)}
      >>> params = {name: {"kernel": kernel} for name, kernel in kernels.items()}
      >>> layer = Attention(num_heads=1, num_kv_heads=1, head_size=2)
      >>> attend = jax.jit(layer.apply)
      >>> causal = SelfContext(jnp.tril(jnp.ones((1, 2, 2), bool)))
      >>> x = jnp.array([[[4.0, 0.0], [0.0, 2.0]]])
      >>> output, (keys, values) = attend({"params": params}, x, causal)
      >>> output[0].tolist()
      [[4.0, 0.0], [2.0, 1.0]]
    """

    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    norm_eps: float = 1e-6
    dropout: float = 0.0
    out_scale: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        context: Context,
        terms: ScoreTerms | None = None,
        angles: Rotation | None = None,
        layer: Any = None,
        deterministic: bool = True,
        slots: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValue]:
        """Map `[B, T, D]` to the same shape; also return keys and values, each `[B, T, G, H]`.

        Args:
          x: `[B, T, D]`.
          context: what the queries attend to.
          terms: bias, soft cap and additional mask of the scores.
          angles: rotation for the tokens' positions, from `rotation`; None for no rotation.
          layer: this layer's slice of the cache, passed on to the context.
          deterministic: False to apply dropout (needs a "dropout" key).
          slots: `[B, T]` int32 from `virtual_slots`; None without virtual tokens.
        """
        heads = {"query": self.num_heads, "key": self.num_kv_heads, "value": self.num_kv_heads}
        size, bias = self.head_size, self.qkv_bias
        layers = [head_projection(*item, x, size, bias, self.dtype) for item in heads.items()]
        query, key, value = joint(layers, x)
        if self.qk_norm:
            query = Norm("rms", self.norm_eps, axis_name="head_size", name="query_norm")(query)
            key = Norm("rms", self.norm_eps, axis_name="head_size", name="key_norm")(key)
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        if slots is not None and (prefix := tuned(self, "prefix")) is not None:
            # A prefix is stored as it is attended, after the rotation (Li and Liang 2021; PEFT).
            key, value = put_virtual(slots, prefix[0], key), put_virtual(slots, prefix[1], value)
        query = query * scale_of(self.scale, self.head_size, query.dtype)
        terms = ScoreTerms() if terms is None else terms
        if self.dropout and not deterministic:
            seed = jax.random.key_data(self.make_rng("dropout"))[:2]
            terms = dataclasses.replace(terms, dropout=seed, dropout_rate=self.dropout)
        attended = context.attend(query, key, value, terms, layer)
        out = output_projection(
            "out", attended, x.shape[-1], self.out_bias, self.out_scale, self.dtype
        )
        return out, (key, value)


def scale_of(scale: float | None, head_size: int, dtype: Any) -> jax.Array:
    """Return the factor of the scores: `scale`, or H^-1/2 if it is None."""
    return jnp.asarray(head_size**-0.5 if scale is None else scale, dtype)


def head_projection(
    name: str, heads: int, x: jax.Array, head_size: int, bias: bool, dtype: Any
) -> Einsum:
    """Make the projection of `x`, `[B, T, D]`, to `[B, T, heads, H]`; call it in `nn.compact`."""
    return Einsum(
        "btd,dnh->btnh",
        (x.shape[-1], heads, head_size),
        ("embed", "heads" if name == "query" else "kv_heads", "head_size"),
        bias_axes=2 * int(bias),
        init=fan_in_normal(x.shape[-1]),
        dtype=dtype,
        name=name,
    )


def output_projection(
    name: str, x: jax.Array, width: int, bias: bool, scale: float, dtype: Any
) -> jax.Array:
    """Project heads `[B, T, N, H]` back to `[B, T, D]`; call it in an `nn.compact` method."""
    heads, head_size = x.shape[2:]
    return Einsum(
        "btnh,nhd->btd",
        (heads, head_size, width),
        ("heads", "head_size", "embed"),
        bias_axes=int(bias),
        init=fan_in_normal(heads * head_size, scale),
        dtype=dtype,
        name=name,
    )(x)
