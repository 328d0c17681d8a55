"""An encoder cut in two: lower layers that stay as they are, and upper layers that are tuned.

The states after the lower layers never change, so they are computed once for all epochs. Then a
training step costs only the upper layers.

Shapes: `B` texts, `T` tokens, `D` width.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.models.config import TransformerConfig
from jaxrec.models.convert import Pretrained
from jaxrec.models.embedding import Embedding
from jaxrec.models.stack import Stack
from jaxrec.nn import SelfContext, attention_mask, positions_of


class UpperLayers(nn.Module):
    """The last layers of an encoder.

    Attributes:
      config: of the encoder, with the number of these layers as `depth`.
    """

    config: TransformerConfig

    def setup(self) -> None:
        """Create the layers."""
        self.encoder = Stack(self.config, causal=False)

    def __call__(
        self, states: jax.Array, valid: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Return the states of the last layer.

        Args:
          states: `[B, T, D]` after the layers below.
          valid: `[B, T]` bool, False for padding.
          deterministic: False to apply dropout (needs a "dropout" key).

        Returns:
          `[B, T, D]`.
        """
        context = SelfContext(attention_mask(valid, False, None, None))
        return self.encoder(states, positions_of(valid), context, deterministic=deterministic)[0]


class LowerLayers(nn.Module):
    """The embedding and the first layers of an encoder.

    Attributes:
      config: of the encoder.
      layers: number of layers; with 0 there is the embedding alone.
    """

    config: TransformerConfig
    layers: int

    def setup(self) -> None:
        """Create embedding and layers."""
        self.embedding = Embedding(self.config)
        if self.layers:
            part = dataclasses.replace(self.config, depth=self.layers)
            self.encoder = Stack(part, causal=False)

    def __call__(self, tokens: jax.Array, valid: jax.Array) -> jax.Array:
        """Map `[B, T]` tokens and validity to `[B, T, D]` states, without dropout."""
        positions = positions_of(valid)
        x = self.embedding(tokens, positions)
        if not self.layers:
            return x
        context = SelfContext(attention_mask(valid, False, None, None))
        return self.encoder(x, positions, context)[0]


def cut_encoder(model: Pretrained, upper: int) -> tuple[TransformerConfig, Any]:
    """Return the config and the parameters of the upper layers of an encoder.

    Args:
      model: an encoder whose norms follow the residual sums, such as BERT.
      upper: number of layers, at least 1.

    Returns:
      The config, whose depth is `upper`, and {"encoder": ...} as `UpperLayers` takes it.

    Raises:
      ConfigError: another kind of model, or more layers than it has.
    """
    config = model.spec.config
    _check(model, upper)
    blocks = model.params["params"]["encoder"]["blocks"]
    # [depth, ...] -> [upper, ...]
    tops = jax.tree.map(lambda leaf: leaf[config.depth - upper :], blocks)
    return dataclasses.replace(config, depth=upper, pooler=False), {"encoder": {"blocks": tops}}


def lower_states(model: Pretrained, upper: int, tokens: Any, valid: Any) -> jax.Array:
    """Compute the states below the upper layers.

    Args:
      model: as `cut_encoder` takes it.
      upper: number of layers above; 0 runs the whole encoder.
      tokens: `[B, T]` int32.
      valid: `[B, T]` bool, False for padding.

    Returns:
      `[B, T, D]` float32.

    Raises:
      ConfigError: see `cut_encoder`.
    """
    _check(model, upper)
    return _lower(model.params["params"], tokens, valid, model.spec.config, upper)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _lower(
    params: Any, tokens: jax.Array, valid: jax.Array, config: TransformerConfig, upper: int
) -> jax.Array:
    layers = config.depth - upper
    part = {"embedding": params["embedding"]}
    if layers:
        blocks = jax.tree.map(lambda leaf: leaf[:layers], params["encoder"]["blocks"])
        part["encoder"] = {"blocks": blocks}
    # Accelerators multiply less precisely by default; states should differ only by rounding.
    with jax.default_matmul_precision("highest"):
        states = LowerLayers(config, layers).apply({"params": part}, tokens, valid)
    return jnp.asarray(states, jnp.float32)


def _check(model: Pretrained, upper: int) -> None:
    config = model.spec.config
    if model.spec.kind != "encoder" or config.norm_order != "post":
        raise ConfigError(
            f"a model of kind {model.spec.kind} with norm_order {config.norm_order} cannot be cut "
            "in two; give an encoder such as BERT"
        )
    if not 0 <= upper <= config.depth:
        raise ConfigError(f"an encoder of {config.depth} layers has no upper {upper} layers")
