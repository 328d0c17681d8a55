"""The frozen description of a transformer; families differ by these fields alone."""

import dataclasses
from typing import Literal

from jaxrec.core import ConfigError


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Shape and flavour of a transformer.

    The defaults are Llama's flavour (RMS norm, rotary positions, gated SiLU, no biases).

    Attributes:
      vocab_size: V, rows of the embedding.
      width: D, of the residual stream.
      depth: number of blocks.
      num_heads: N, query heads.
      num_kv_heads: G, key/value heads; None for as many as query heads.
      head_size: H; None for D / N.
      mlp_width: F, hidden width of the MLP; None for 4 D.
      norm: kind of normalization, before each sub-layer and after the last block.
      norm_eps: added to the variance.
      positions: rotary, learned (a table of `max_length` rows) or none.
      rope_theta: base of the rotary wavelengths.
      max_length: most tokens of a learned position table.
      activation: of the MLP.
      gated: whether the MLP has a gate.
      qkv_bias: biases on queries, keys and values.
      out_bias: bias on the attention's output.
      mlp_bias: biases of the MLP.
      tie_embeddings: read the logits with the embedding table.
      dropout: on embeddings and sub-layer outputs while training.
      dtype: of activations; parameters, norms, softmax and logits stay in float32.
      remat: recompute each block in the backward pass, to save memory.
    """

    vocab_size: int = 256
    width: int = 64
    depth: int = 2
    num_heads: int = 2
    num_kv_heads: int | None = None
    head_size: int | None = None
    mlp_width: int | None = None
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-6
    positions: Literal["rope", "learned", "none"] = "rope"
    rope_theta: float = 10_000.0
    max_length: int = 512
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "silu"
    gated: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    tie_embeddings: bool = True
    dropout: float = 0.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        """Reject shapes that cannot be built."""
        for name in ("vocab_size", "width", "depth", "num_heads", "max_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("num_kv_heads", "head_size", "mlp_width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"model.{name} must be at least 1, or None, got {value}")
        if self.norm_eps < 0:
            raise ConfigError(f"model.norm_eps must not be negative, got {self.norm_eps}")
        if self.rope_theta <= 0:
            raise ConfigError(f"model.rope_theta must be positive, got {self.rope_theta}")
        if self.head_size is None and self.width % self.num_heads:
            raise ConfigError(
                f"model.width {self.width} is not a multiple of model.num_heads {self.num_heads}; "
                "change one or set model.head_size"
            )
        if self.num_heads % self.kv_heads:
            raise ConfigError(
                f"model.num_heads {self.num_heads} is not a multiple of "
                f"model.num_kv_heads {self.num_kv_heads}"
            )
        if self.positions == "rope" and self.head_width % 2:
            raise ConfigError(
                f"rotary positions need an even head size, got {self.head_width}; "
                "change model.head_size or model.positions"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"model.dropout must lie in [0, 1), got {self.dropout}")

    @property
    def kv_heads(self) -> int:
        """G, resolved."""
        return self.num_kv_heads or self.num_heads

    @property
    def head_width(self) -> int:
        """H, resolved."""
        return self.head_size or self.width // self.num_heads

    @property
    def mlp_hidden(self) -> int:
        """F, resolved."""
        return self.mlp_width or 4 * self.width
