"""SASRec: causal self-attention over item vectors (Kang and McAuley 2018, arXiv:1808.09781).

By default the blocks of the generative model, with one token an item, learned positions and the
paper's ReLU network; `blocks="sasrec"` has the paper's own. The default objective is cross-entropy
over the whole catalogue; the paper's, binary cross-entropy with one sampled negative, is
`objective="bce"`. (Petrov and Macdonald 2023, arXiv:2308.07192, show how much that changes.)
"""

import dataclasses
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from jaxrec.baselines.item_table import FIRST
from jaxrec.baselines.sasrec_body import SasrecBody
from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.baselines.transformer import TransformerBody, transformer_config
from jaxrec.core import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SasrecConfig(SequentialConfig):
    """Settings, beside those of all sequential baselines.

    Attributes:
      depth: blocks.
      num_heads: attention heads.
      mlp_width: of the network of a block; 0 for D, as in the paper.
      activation: of that network.
      attention_dropout: while training, of attention weights.
      blocks: the decoder's, behind a token for the beginning, or SASRec's own, see `SasrecBody`,
        which has no such token and so does not learn to predict first items.
    """

    title: ClassVar[str] = "sasrec"

    depth: int = 2
    num_heads: int = 2
    dropout: float = 0.3
    mlp_width: int = 0
    activation: Literal["relu", "gelu"] = "relu"
    attention_dropout: float = 0.0
    blocks: Literal["decoder", "sasrec"] = "decoder"

    def __post_init__(self) -> None:
        """Reject blocks that cannot be built."""
        super().__post_init__()
        for name in ("depth", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"sasrec.{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.num_heads:
            raise ConfigError(
                f"sasrec.width {self.width} is not a multiple of sasrec.num_heads "
                f"{self.num_heads}; change one of them"
            )
        if not 0.0 <= self.attention_dropout < 1.0:
            raise ConfigError(
                f"sasrec.attention_dropout must lie in [0, 1), got {self.attention_dropout}"
            )

    def body(self) -> nn.Module:
        """Blocks that look back."""
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
        """See `SequentialConfig`."""
        read, target, counts = super().pairs(tokens, num_items, key)
        return read, target, counts & (read >= FIRST) if self.blocks == "sasrec" else counts
