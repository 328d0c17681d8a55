"""The causal decoder: embeddings, a scan over pre-norm blocks, a final norm, logits.

Three pure methods cover training and decoding: `hidden` (tokens to states, under any context),
`logits` (states to scores of all rows or of a slice of them), and `__call__` (both). Layers are
stacked by `nn.scan`: every block parameter has a leading axis of `depth`, and compile time does not
grow with it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.models.config import TransformerConfig
from jaxrec.nn import (
    Attention,
    Context,
    Dropout,
    Mlp,
    Norm,
    SelfContext,
    causal_mask,
    fan_in_normal,
    positions_of,
)

KeyValue = tuple[jax.Array, jax.Array]


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        layer: Any,
        positions: jax.Array,
        context: Context,
        deterministic: bool,
    ) -> tuple[jax.Array, KeyValue]:
        """Map `[B, T, D]` to `[B, T, D]` and this block's keys and values, each `[B, T, G, H]`."""
        c = self.config
        dtype = jnp.dtype(c.dtype)
        # Residual branches are scaled so that the stream's variance does not grow with depth
        # (GPT-2, Radford et al. 2019, section 2.3).
        out_scale = 1.0 / (2 * c.depth)
        y, key_value = Attention(
            num_heads=c.num_heads,
            num_kv_heads=c.kv_heads,
            head_size=c.head_width,
            rope_theta=c.rope_theta if c.positions == "rope" else None,
            qkv_bias=c.qkv_bias,
            out_bias=c.out_bias,
            out_scale=out_scale,
            dtype=dtype,
            name="attention",
        )(Norm(c.norm, c.norm_eps, name="attention_norm")(x), positions, context, layer)
        x = x + Dropout(c.dropout, name="attention_dropout")(y, deterministic)
        y = Mlp(
            mlp_width=c.mlp_hidden,
            activation=c.activation,
            gated=c.gated,
            bias=c.mlp_bias,
            out_scale=out_scale,
            dtype=dtype,
            name="mlp",
        )(Norm(c.norm, c.norm_eps, name="mlp_norm")(x))
        return x + Dropout(c.dropout, name="mlp_dropout")(y, deterministic), key_value


class CausalLM(nn.Module):
    """A decoder-only language model."""

    config: TransformerConfig

    def setup(self) -> None:
        """Create the parameter-holding parts."""
        c = self.config
        table = nn.with_partitioning(fan_in_normal(c.width), ("vocab", "embed"))
        self.embedding = self.param("embedding", table, (c.vocab_size, c.width), jnp.float32)
        if c.positions == "learned":
            rows = nn.with_partitioning(nn.initializers.normal(0.02), ("position", "embed"))
            self.position = self.param("position", rows, (c.max_length, c.width), jnp.float32)
        block = nn.remat(Block, static_argnums=(5,), prevent_cse=False) if c.remat else Block
        self.blocks = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
            length=c.depth,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )(c)
        self.final_norm = Norm(c.norm, c.norm_eps)
        self.input_dropout = Dropout(c.dropout)
        if not c.tie_embeddings:
            head = nn.with_partitioning(fan_in_normal(c.width), ("vocab", "embed"))
            self.head = self.param("head", head, (c.vocab_size, c.width), jnp.float32)

    def hidden(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        context: Context,
        cache: Any = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, KeyValue]:
        """States of the last layer, and the keys and values of these tokens.

        Args:
          tokens: `[B, T]` int32.
          positions: `[B, T]` int32.
          context: what the tokens attend to.
          cache: pytree whose leaves have a leading axis of `depth`, handed to the context layer by
            layer; None when the context needs none.
          deterministic: False to apply dropout (needs a "dropout" key).

        Returns:
          `[B, T, D]` states after the final norm, and `[depth, B, T, G, H]` keys and values.
        """
        c = self.config
        x = jnp.take(self.embedding, tokens, axis=0)
        if c.positions == "learned":
            x = x + jnp.take(self.position, positions, axis=0)
        x = self.input_dropout(x.astype(jnp.dtype(c.dtype)), deterministic)
        x, key_value = self.blocks(x, cache, positions, context, deterministic)
        return self.final_norm(x), key_value

    def logits(self, hidden: jax.Array, start: int = 0, size: int | None = None) -> jax.Array:
        """Scores of rows `[start, start + size)` of the vocabulary, in float32.

        Args:
          hidden: `[..., D]` states.
          start: first row; decoding one level of an ID needs that level's rows only.
          size: number of rows; None for all.

        Returns:
          `[..., size]`.
        """
        table = self.embedding if self.config.tie_embeddings else self.head
        size = self.config.vocab_size if size is None else size
        rows = jax.lax.slice_in_dim(table, start, start + size).astype(hidden.dtype)
        # As one product of matrices: see Einsum.
        matrix = hidden.reshape(-1, hidden.shape[-1])
        scores = jnp.einsum("md,vd->mv", matrix, rows, preferred_element_type=jnp.float32)
        return scores.reshape(*hidden.shape[:-1], size)

    def __call__(
        self, tokens: jax.Array, valid: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Next-token logits of a padded batch: `[B, T]` tokens and validity to `[B, T, V]`."""
        context = SelfContext(causal_mask(valid))
        hidden, _ = self.hidden(tokens, positions_of(valid), context, None, deterministic)
        return self.logits(hidden)
