"""The body of SASRec and BERT4Rec: learned positions and the transformer blocks of `models`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.models import Stack, TransformerConfig
from jaxrec.nn import (
    ACTIVATIONS,
    Dropout,
    Einsum,
    Norm,
    SelfContext,
    attention_mask,
    fan_in_normal,
    positions_of,
)


def transformer_config(
    width: int, depth: int, num_heads: int, max_length: int, dropout: float, **more: Any
) -> TransformerConfig:
    """The settings that both share: layer norms, learned positions, biases, no gates."""
    return TransformerConfig(
        width=width,
        depth=depth,
        num_heads=num_heads,
        norm="layer",
        positions="learned",
        max_length=max_length,
        gated=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        dropout=dropout,
        **more,
    )


class TransformerBody(nn.Module):
    """Item vectors to states.

    Attributes:
      config: settings of the blocks; its vocabulary is not used.
      causal: whether an item attends only to itself and the items before it.
      transform: add a dense layer, the activation and a norm after the blocks, as BERT's head does.
      input_dropout: dropout of item vectors with their positions; None for that of the config.
    """

    config: TransformerConfig
    causal: bool = True
    transform: bool = False
    input_dropout: float | None = None

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, deterministic: bool = True) -> jax.Array:
        """Map `[B, T, D]` and validity `[B, T]` to `[B, T, D]`."""
        c = self.config
        positions = positions_of(valid)
        init = nn.with_partitioning(nn.initializers.normal(0.02), ("position", "embed"))
        rows = self.param("position", init, (c.max_length, c.width), jnp.float32)
        x = x + jnp.take(rows, positions, axis=0)
        if c.norm_order == "post":
            x = Norm(c.norm, c.norm_eps, name="norm")(x)
        rate = c.dropout if self.input_dropout is None else self.input_dropout
        x = Dropout(rate, name="dropout")(x, deterministic)
        context = SelfContext(attention_mask(valid, self.causal), causal=self.causal)
        stack = Stack(c, causal=self.causal, name="blocks")
        x, _ = stack(x, positions, context, deterministic=deterministic)
        if self.transform:
            x = Einsum(
                "btd,de->bte",
                (c.width, c.width),
                ("embed", "mlp"),
                1,
                fan_in_normal(c.width),
                name="dense",
            )(x)
            x = Norm(c.norm, c.norm_eps, name="dense_norm")(ACTIVATIONS[c.activation](x))
        return x
