"""One transformer block, of every family: self-attention, perhaps cross-attention, MLP."""

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
    """How far and by which positions a block attends: its rotation and the terms of its scores."""

    terms: ScoreTerms
    turn: Rotation | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Shared:
    """What all blocks of a call read.

    Attributes:
      context: what tokens attend to.
      reach: of blocks that see everything, or of all when they are alike.
      local: of blocks with a window, where only some have one; else None.
      memory_valid: `[B, S]` or `[B, T, S]` bool, the encoder's tokens; None without an encoder.
      slots: `[B, T]` int32, of virtual tokens.
    """

    context: Context
    reach: Reach
    local: Reach | None = None
    memory_valid: jax.Array | None = None
    slots: jax.Array | None = None

    def reach_of(self, is_local: jax.Array | None) -> Reach:
        """Reach of a block, by its flag: a scalar bool, or None where all blocks are alike."""
        if self.local is None or is_local is None:
            return self.reach
        return jax.tree.map(lambda a, b: jnp.where(is_local, a, b), self.local, self.reach)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PerLayer:
    """What one block reads for itself; in a stack every leaf has a leading axis of `depth`.

    Attributes:
      cache: for the context.
      memory: keys and values of the encoder's states, each `[B, S, G, H]`.
      local: bool, whether the block has a window, where only some have one.
    """

    cache: Any = None
    memory: KeyValue | None = None
    local: jax.Array | None = None


class Block(nn.Module):
    """Sub-layers on a residual stream, normalized in the order that the config says."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self, x: jax.Array, own: PerLayer, shared: Shared, deterministic: bool
    ) -> tuple[jax.Array, KeyValue]:
        """Map `[B, T, D]` to `[B, T, D]` and this block's keys and values, each `[B, T, G, H]`."""
        c = self.config
        dtype = jnp.dtype(c.dtype)
        # Residual branches are scaled so that the stream's variance does not grow with depth
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
                y, shared.context, reach.terms, reach.turn, own.cache, deterministic, shared.slots
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
        """Add `layer(x)` to the stream, with norms where the config puts them."""
        c = self.config
        norm = Norm(c.norm, c.norm_eps, name=f"{name}_norm")
        y, extra = layer(x if c.norm_order == "post" else norm(x))
        if c.norm_order == "both":
            y = Norm(c.norm, c.norm_eps, name=f"{name}_post_norm")(y)
        y = Dropout(c.dropout, name=f"{name}_dropout")(y, deterministic)
        if (adapter := tuned(self, f"{name}_adapter")) is not None:
            # After dropout and before the sum, as in Houlsby et al. 2019, figure 2.
            y = adapter(y).astype(x.dtype)
        x = constrain(x + y, "batch", "sequence", "embed")
        return (norm(x) if c.norm_order == "post" else x), extra
