"""Heads other than the language model's: a scalar per token, classes of a text, masked tokens.

The masked-token head comes alone, and with the head of BERT's next-sentence prediction.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.models.causal import CausalLM
from jaxrec.models.config import TransformerConfig
from jaxrec.models.encoder import Encoder, Pooling, pool
from jaxrec.nn import (
    ACTIVATIONS,
    Einsum,
    Norm,
    SelfContext,
    attention_mask,
    fan_in_normal,
    positions_of,
)


def _states(backbone: CausalLM | Encoder, tokens: Any, valid: Any, deterministic: bool) -> Any:
    if isinstance(backbone, Encoder):
        return backbone(tokens, valid, deterministic)
    context = SelfContext(attention_mask(valid), causal=True)
    return backbone.hidden(tokens, positions_of(valid), context, None, deterministic)[0]


def _dense(name: str, width: int, out: int, bias: bool, x: jax.Array) -> jax.Array:
    axes = ("embed", "classes") if name == "out" else ("embed", "mlp")
    layer = Einsum("bd,dc->bc", (width, out), axes, int(bias), fan_in_normal(width), name=name)
    return layer(x.reshape(-1, width)).reshape(*x.shape[:-1], out)


class ScalarHead(nn.Module):
    """One number per token: a value or, at the last token, a reward.

    All outputs are zero before training.

    Attributes:
      backbone: the transformer.
      summed: whether the number of a token is the sum of those of all n tokens up to it, divided by
        √n. What a single token tells then reaches the reward at once, and not only through the last
        state.
    """

    backbone: CausalLM | Encoder
    summed: bool = False

    @nn.compact
    def __call__(
        self, tokens: jax.Array, valid: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Map `[B, T]` tokens and validity to `[B, T]` float32 scalars."""
        states = _states(self.backbone, tokens, valid, deterministic).astype(jnp.float32)
        width = states.shape[-1]
        zeros = nn.initializers.zeros_init()
        layer = Einsum("md,dc->mc", (width, 1), ("embed", "classes"), 1, zeros, name="out")
        scalars = layer(states.reshape(-1, width)).reshape(states.shape[:2])
        if not self.summed:
            return scalars
        # The bias is added once, or rewards would depend on the length.
        bias = layer(jnp.zeros((1, width), jnp.float32))[0, 0]
        there = valid.astype(jnp.float32)
        count = jnp.maximum(jnp.cumsum(there, axis=1), 1.0)
        return jnp.cumsum((scalars - bias) * there, axis=1) / jnp.sqrt(count) + bias


class Classifier(nn.Module):
    """Scores of classes for each text.

    Attributes:
      backbone: the transformer.
      classes: C, number of classes.
      pooling: which state represents the text: the first for BERT, the last for a decoder.
      dense: whether a tanh layer precedes the scores, as in BERT and RoBERTa.
      bias: whether the scores have a bias.
    """

    backbone: CausalLM | Encoder
    classes: int
    pooling: Pooling = "last"
    dense: bool = False
    bias: bool = False

    @nn.compact
    def __call__(
        self, tokens: jax.Array, valid: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Map `[B, T]` tokens and validity to `[B, C]` float32 scores."""
        states = _states(self.backbone, tokens, valid, deterministic)
        real = valid & (tokens < self.backbone.config.vocab_size)
        x = pool(states, real, self.pooling).astype(jnp.float32)
        if self.dense:
            x = jnp.tanh(_dense("dense", x.shape[-1], x.shape[-1], True, x))
        return _dense("out", x.shape[-1], self.classes, self.bias, x)


class MaskedHead(nn.Module):
    """BERT's head for masked tokens (Devlin et al. 2019, section 3.1).

    A dense layer, the activation and a norm, then a product with the embedding table and a bias.
    """

    config: TransformerConfig

    @nn.compact
    def __call__(self, states: jax.Array, embedding: jax.Array) -> jax.Array:
        """Map `[..., D]` states and the `[V, D]` table to `[..., V]` float32 logits."""
        c = self.config
        x = ACTIVATIONS[c.activation](_dense("dense", c.width, c.width, True, states))
        x = Norm(c.norm, c.norm_eps, name="norm")(x)
        zeros = nn.with_partitioning(nn.initializers.zeros_init(), ("vocab",))
        bias = self.param("bias", zeros, (c.vocab_size,), jnp.float32)
        matrix = x.reshape(-1, c.width)
        scores = jnp.einsum(
            "md,vd->mv", matrix, embedding.astype(x.dtype), preferred_element_type=jnp.float32
        )
        return (scores + bias[None]).reshape(*states.shape[:-1], c.vocab_size)


class MaskedLM(nn.Module):
    """An encoder with the masked-token head."""

    config: TransformerConfig

    def setup(self) -> None:
        """Create the submodules."""
        self.backbone = Encoder(self.config)
        self.head = MaskedHead(self.config)

    def __call__(
        self,
        tokens: jax.Array,
        valid: jax.Array,
        deterministic: bool = True,
        *,
        types: jax.Array | None = None,
    ) -> jax.Array:
        """Map `[B, T]` tokens, validity and token types to `[B, T, V]` float32 logits."""
        states = self.backbone(tokens, valid, deterministic, types=types)
        return self.head(states, self.backbone.embedding.table)


class MaskedPairLM(nn.Module):
    """BERT in pre-training: the masked-token head, and a head for whether a part follows another.

    Attributes:
      config: of the encoder; it must have a pooler, which the second head reads.
    """

    config: TransformerConfig

    def setup(self) -> None:
        """Create the submodules."""
        c = self.config
        self.backbone = Encoder(c)
        self.head = MaskedHead(c)
        init = fan_in_normal(c.width)
        self.follows = Einsum("bd,dc->bc", (c.width, 2), ("embed", "classes"), 1, init)

    def __call__(
        self,
        tokens: jax.Array,
        valid: jax.Array,
        deterministic: bool = True,
        *,
        types: jax.Array | None = None,
        places: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Score the tokens of some places, and whether the second part follows the first.

        Args:
          tokens: `[B, T]` int32.
          valid: `[B, T]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).
          types: `[B, T]` int32, 1 for the second part; None for one part.
          places: `[B, P]` int32, places of the tokens to predict; None for all.

        Returns:
          `[B, P, V]` and `[B, 2]` float32 scores; the second of the two is that of following.
        """
        states = self.backbone(tokens, valid, deterministic, types=types)
        chosen = states if places is None else jnp.take_along_axis(states, places[..., None], 1)
        follows = self.follows(self.backbone.pooled(states)).astype(jnp.float32)
        return self.head(chosen, self.backbone.embedding.table), follows
