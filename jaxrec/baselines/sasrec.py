"""SASRec: causal self-attention over item vectors (Kang and McAuley 2018, arXiv:1808.09781).

By default the blocks are those of the generative model, with one token per item, learned positions
and the paper's ReLU network; `blocks="sasrec"` selects the paper's own blocks. The default
objective is cross-entropy over the whole catalogue; the paper's objective, binary cross-entropy
with one sampled negative, is `objective="bce"`. (Petrov and Macdonald 2023, arXiv:2308.07192, show
how much the objective matters.)
"""

import dataclasses
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from jaxrec.baselines.item_table import FIRST
from jaxrec.baselines.sasrec_body import SasrecBody
from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.baselines.transformer import TransformerBody, transformer_config
from jaxrec.core import ConfigError, Count, Rate, Whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class SasrecConfig(SequentialConfig):
    """Settings of SASRec, in addition to those of all sequential baselines.

    Attributes:
      depth: number of blocks.
      num_heads: attention heads.
      mlp_width: width of the network of a block; 0 means D, as in the paper.
      activation: activation of that network.
      attention_dropout: dropout of attention weights during training.
      blocks: "decoder" reads a token for the beginning before the items; "sasrec" selects SASRec's
        own blocks (see `SasrecBody`), which have no such token and therefore do not learn to
        predict first items.

    Example:
      >>> config = SasrecConfig(width=32, num_heads=4, objective="bce")
      >>> config.max_items, config.train.optimizer
      (50, 'adamw')
    """

    title: ClassVar[str] = "sasrec"

    depth: Count = 2
    num_heads: Count = 2
    dropout: Rate = 0.3
    mlp_width: Whole = 0
    activation: Literal["relu", "gelu"] = "relu"
    attention_dropout: Rate = 0.0
    blocks: Literal["decoder", "sasrec"] = "decoder"

    def __post_init__(self) -> None:
        """Reject blocks that cannot be built."""
        super().__post_init__()
        if self.width % self.num_heads:
            raise ConfigError(
                f"sasrec.width {self.width} is not a multiple of sasrec.num_heads "
                f"{self.num_heads}; change one of them"
            )

    def body(self) -> nn.Module:
        """Causal blocks."""
        mlp_width = self.mlp_width or self.width
        if self.blocks == "sasrec":
            return SasrecBody(
                self.width,
                self.depth,
                self.num_heads,
                self.max_items,
                mlp_width,
                self.activation,
                self.dropout,
                self.attention_dropout,
                self.init_std or 0.02,
            )
        return TransformerBody(
            transformer_config(
                self.width,
                self.depth,
                self.num_heads,
                self.max_items + 1,
                self.dropout,
                mlp_width=mlp_width,
                activation=self.activation,
                attention_dropout=self.attention_dropout,
            )
        )

    def pairs(
        self, tokens: jax.Array, num_items: int, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See `SequentialConfig.pairs`; SASRec's own blocks do not predict first items."""
        read, target, counts = super().pairs(tokens, num_items, key)
        return read, target, counts & (read >= FIRST) if self.blocks == "sasrec" else counts
