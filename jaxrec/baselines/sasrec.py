"""SASRec: causal self-attention over item vectors (Kang and McAuley 2018, arXiv:1808.09781).

The blocks of the generative model, with one token an item, learned positions and the paper's ReLU
network. The default objective is cross-entropy over the whole catalogue; the paper's own, binary
cross-entropy with one sampled negative, is `objective="bce"`. (Petrov and Macdonald 2023,
arXiv:2308.07192, show how much that changes.)
"""

import dataclasses
from typing import ClassVar, Literal

from flax import linen as nn

from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.baselines.transformer import Origin, TransformerBody, transformer_config


@dataclasses.dataclass(frozen=True)
class SasrecConfig(SequentialConfig):
    """Settings, beside those of all sequential baselines.

    Attributes:
      depth: blocks.
      num_heads: attention heads.
      mlp_width: of the network of a block; 0 for D, as in the paper.
      activation: of that network.
      attention_dropout: while training, of attention weights.
      origin: positions are counted from the oldest item that is read, or from the newest, as in the
        paper's code. The newest one's vector then learns what comes last in histories, which is
        what a recommendation asks for.
    """

    title: ClassVar[str] = "sasrec"

    depth: int = 2
    num_heads: int = 2
    dropout: float = 0.3
    mlp_width: int = 0
    activation: Literal["relu", "gelu"] = "relu"
    attention_dropout: float = 0.0
    origin: Origin = "oldest"

    def body(self) -> nn.Module:
        """Blocks that look back."""
        return TransformerBody(
            transformer_config(
                self.width,
                self.depth,
                self.num_heads,
                self.max_items + 1,
                self.dropout,
                mlp_width=self.mlp_width or self.width,
                activation=self.activation,
                attention_dropout=self.attention_dropout,
            ),
            origin=self.origin,
        )
