"""HSTU: gated attention without a softmax, with positions and times (Zhai et al. 2024).

Source: arXiv:2402.17152. By default the objective is that of the paper's public experiments:
softmax over the next item and 128 random ones, of cosines divided by a temperature of .05. One
thing differs from the published code: the time bias of a prediction is measured from the item
before the predicted one, because the time of the predicted item is not known when one recommends.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.baselines.sequential_config import Objective, SequentialConfig
from jaxrec.core import ConfigError, Count, NotNegative, Rate, Whole
from jaxrec.nn import Dropout, HstuLayer, SelfContext, attention_mask, positions_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class HstuConfig(SequentialConfig):
    """Settings of HSTU, in addition to those of all sequential baselines.

    Attributes:
      depth: number of layers.
      num_heads: attention heads.
      head_size: width of a head's queries, keys and values; 0 for D / heads.
      time_gaps: add a learned bias for the time between items. It needs data with times; data that
        only tell the order are refused.
      gate_dropout: dropout of the gated values of each layer.

    Example:
      >>> config = HstuConfig(width=32, num_heads=4)
      >>> config.objective, config.negatives, config.temperature, config.reads_times
      ('sampled_softmax', 128, 0.05, True)
    """

    title: ClassVar[str] = "hstu"

    width: Count = 50
    depth: Count = 2
    num_heads: Count = 1
    head_size: Whole = 0
    dropout: Rate = 0.2
    gate_dropout: Rate = 0.2
    time_gaps: bool = True
    objective: Objective = "sampled_softmax"
    negatives: Count = 128
    temperature: NotNegative = 0.05

    def __post_init__(self) -> None:
        """Reject layers that cannot be built."""
        super().__post_init__()
        if not self.head_size and self.width % self.num_heads:
            raise ConfigError(
                f"hstu.width {self.width} is not a multiple of hstu.num_heads {self.num_heads}; "
                "change one of them, or set hstu.head_size"
            )

    @property
    def reads_times(self) -> bool:
        """Whether batches need the times of the items."""
        return self.time_gaps

    def body(self) -> nn.Module:
        """The layers."""
        return HstuBody(
            self.width,
            self.depth,
            self.num_heads,
            self.head_size or self.width // self.num_heads,
            # The token for the beginning is one more.
            self.max_items + 1,
            self.time_gaps,
            self.dropout,
            self.gate_dropout,
        )


class HstuBody(nn.Module):
    """Item vectors, scaled by the root of D, with learned positions, and layers over them.

    Attributes:
      width: D.
      depth: number of layers.
      num_heads: attention heads.
      head_size: width of a head.
      longest: the maximal number of tokens.
      time_gaps: see `HstuLayer`.
      dropout: dropout of the vectors that the first layer reads.
      gate_dropout: dropout of the layers.
    """

    width: int
    depth: int
    num_heads: int
    head_size: int
    longest: int
    time_gaps: bool = True
    dropout: float = 0.0
    gate_dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        valid: jax.Array,
        deterministic: bool = True,
        times: jax.Array | None = None,
    ) -> jax.Array:
        """Map `[B, T, D]`, validity `[B, T]` and times `[B, T]` int32 to `[B, T, D]`."""
        init = nn.with_partitioning(nn.initializers.normal(0.02), ("position", "embed"))
        rows = self.param("position", init, (self.longest, self.width), jnp.float32)
        x = x * self.width**0.5 + jnp.take(rows, positions_of(valid), axis=0)
        x = Dropout(self.dropout, name="dropout")(x, deterministic)
        context = SelfContext(attention_mask(valid, causal=True), causal=True)
        distance = context.distance(positions_of(valid))
        for layer in range(self.depth):
            update, _ = HstuLayer(
                self.num_heads,
                self.head_size,
                self.longest,
                self.time_gaps,
                self.gate_dropout,
                name=f"layer_{layer}",
            )(x, context, distance, times, deterministic=deterministic)
            x = x + update
        return jnp.where(valid[:, :, None], x, 0.0)
