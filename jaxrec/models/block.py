"""One transformer block of any family: self-attention, optional cross-attention, and MLP."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import constrain
from jaxrec.models.config import TransformerConfig
from jaxrec.nn import (
    Attention,
    Context,
    CrossAttention,
    Dropout,
    KeyValue,
    Mlp,
    Norm,
    Rotation,
    ScoreTerms,
    tuned,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Reach:
    """How a block uses positions: the terms of its attention scores, and its rotation if any."""

    terms: ScoreTerms
    angles: Rotation | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Shared:
    """Inputs that are the same for all blocks of a stack.

    Attributes:
      context: what tokens attend to.
      reach: the reach of all blocks or, if only some have a window, of those without one.
      local: the reach of blocks with a window, if only some have one; else None.
      memory_valid: `[B, S]` or `[B, T, S]` bool, which of the encoder's tokens may be seen; None
        without an encoder.
      slots: `[B, T]` int32 slots of virtual tokens; None without virtual tokens.
      distance: `[B or 1, T, S]` int32, query position minus key position, for HSTU's blocks; None
        for others.
    """

    context: Context
    reach: Reach
    local: Reach | None = None
    memory_valid: jax.Array | None = None
    slots: jax.Array | None = None
    distance: jax.Array | None = None

    def reach_of(self, is_local: jax.Array | None) -> Reach:
        """Return the reach of a block.

        Args:
          is_local: bool scalar, whether the block has a window; None if all blocks are alike.
        """
        if self.local is None or is_local is None:
            return self.reach
        return jax.tree.map(lambda a, b: jnp.where(is_local, a, b), self.local, self.reach)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PerLayer:
    """Inputs of one block; in a stack every leaf has a leading axis of `depth`.

    Attributes:
      cache: the block's slice of the cache, passed on to the context.
      memory: keys and values of the encoder's states, each `[B, S, G, H]`.
      local: bool scalar, whether the block has a window; None if all blocks are alike.
    """

    cache: Any = None
    memory: KeyValue | None = None
    local: jax.Array | None = None


class Block(nn.Module):
    """Sub-layers on a residual stream, with norms where the config puts them."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self, x: jax.Array, own: PerLayer, shared: Shared, deterministic: bool
    ) -> tuple[jax.Array, KeyValue]:
        """Map `[B, T, D]` to the same shape; also return keys and values, each `[B, T, G, H]`."""
        c = self.config
        dtype = jnp.dtype(c.dtype)
        # Residual branches start small enough that the stream's variance does not grow with depth
        # (GPT-2, Radford et al. 2019, section 2.3).
        out_scale = 1.0 / (2 * c.depth)
        reach = shared.reach_of(own.local)
        attention = Attention(
            num_heads=c.num_heads,
            num_kv_heads=c.kv_heads,
            head_size=c.head_width,
            scale=c.query_scale,
            qkv_bias=c.qkv_bias,
            out_bias=c.out_bias,
            qk_norm=c.qk_norm,
            norm_eps=c.norm_eps,
            dropout=c.attention_dropout,
            out_scale=out_scale,
            dtype=dtype,
            name="attention",
        )
        x, key_value = self._residual(
            "attention",
            x,
            deterministic,
            lambda y: attention(
                y,
                shared.context,
                reach.terms,
                reach.angles,
                own.cache,
                deterministic,
                shared.slots,
            ),
        )
        if own.memory is not None and shared.memory_valid is not None:
            memory, valid = own.memory, shared.memory_valid
            cross = CrossAttention(
                num_heads=c.num_heads,
                head_size=c.head_width,
                scale=c.query_scale,
                q_bias=c.qkv_bias,
                out_bias=c.out_bias,
                dropout=c.attention_dropout,
                out_scale=out_scale,
                dtype=dtype,
                name="cross",
            )
            x, _ = self._residual(
                "cross", x, deterministic, lambda y: (cross(y, memory, valid, deterministic), None)
            )
        mlp = Mlp(
            mlp_width=c.mlp_hidden,
            activation=c.activation,
            gated=c.gated,
            bias=c.mlp_bias,
            dropout=c.mlp_dropout,
            out_scale=out_scale,
            dtype=dtype,
            name="mlp",
        )
        x, _ = self._residual("mlp", x, deterministic, lambda y: (mlp(y, deterministic), None))
        return x, key_value

    def _residual(
        self, name: str, x: jax.Array, deterministic: bool, layer: Callable[[jax.Array], Any]
    ) -> tuple[jax.Array, Any]:
        """Add the first result of `layer` to the stream and pass on its second."""
        c = self.config
        norm = Norm(c.norm, c.norm_eps, name=f"{name}_norm")
        y, extra = layer(x if c.norm_order == "post" else norm(x))
        if c.norm_order == "both":
            y = Norm(c.norm, c.norm_eps, name=f"{name}_post_norm")(y)
        y = Dropout(c.dropout, name=f"{name}_dropout")(y, deterministic)
        if (adapter := tuned(self, f"{name}_adapter")) is not None:
            # The adapter runs after dropout and before the sum (Houlsby et al. 2019, figure 2).
            y = adapter(y).astype(x.dtype)
        x = constrain(x + y, "batch", "sequence", "embed")
        return (norm(x) if c.norm_order == "post" else x), extra
