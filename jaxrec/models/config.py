"""The frozen description of a transformer; families differ only in these fields."""

import dataclasses
from typing import Literal

from jaxrec.core import ConfigError, Count, NotNegative, Positive, Rate, Whole, check_ranges
from jaxrec.nn import RopeScaling

BlockKind = Literal["transformer", "hstu"]
NormOrder = Literal["pre", "post", "both"]
Remat = Literal["none", "cheap", "full"]
# Settings of the softmax, of its positions and of the MLP, which HSTU's blocks do not have.
# `activation` and `gated` are not among them: they only say how an MLP would look.
_NOT_OF_HSTU = (
    "num_kv_heads",
    "mlp_width",
    "norm_order",
    "rope_theta",
    "rope_scaling",
    "relative_buckets",
    "relative_distance",
    "local_theta",
    "qkv_bias",
    "out_bias",
    "mlp_bias",
    "qk_norm",
    "query_scale",
    "score_cap",
    "attention_dropout",
    "mlp_dropout",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Shape and flavour of a transformer.

    The defaults are Llama's flavour: RMS norm, rotary positions, gated SiLU, no biases.

    Attributes:
      vocab_size: V, number of tokens.
      width: D, width of the residual stream.
      depth: number of blocks; in an encoder-decoder, of the decoder.
      block: "transformer" for attention and an MLP, or "hstu" for the layer of HSTU (Zhai et al.
        2024) in a causal decoder: attention weights silu(q k^T + bias of the distance) /
        `max_length` without a softmax, and a gate instead of the MLP. HSTU's blocks read no
        `activation` and no `gated`, and settings of a softmax or an MLP are refused.
      encoder_depth: number of the encoder's blocks in an encoder-decoder; None for `depth`.
      num_heads: N, query heads.
      num_kv_heads: G, key/value heads; None for as many as query heads.
      head_size: H; None for D / N.
      mlp_width: F, hidden width of the MLP; None for 4 D.
      norm: kind of normalization.
      norm_order: where norms stand: before each sub-layer and after the last block (`pre`), after
        each residual sum and after the embedding (`post`, BERT), or before and after each sub-layer
        and after the last block (`both`, Gemma).
      norm_eps: added to the variance.
      positions: rotary, learned (a table of `max_length` rows), relative (T5's buckets) or none;
        None for what the block needs, which is rotary positions, and none with HSTU's blocks, whose
        attention has a bias for each distance. These can have none or learned ones.
      rope_theta: base of the rotary wavelengths.
      rope_scaling: how the rotary wavelengths are stretched for long contexts.
      max_length: longest sequence that a learned position table can hold; with HSTU's blocks the
        longest that they read, by which they divide their attention.
      position_offset: row of that table that the first token reads.
      relative_buckets, relative_distance: number of buckets, and where the last one begins.
      window: a token sees only the last `window` tokens, including itself; None for all.
      global_every: every `global_every`-th block ignores the window; None if no block does.
      local_theta: rotary base of the blocks with a window; None for `rope_theta`.
      token_types: rows of the token type table (BERT's segments); 0 for no table.
      pooler: whether an encoder has a tanh layer on its first state (BERT).
      word_rows: rows of the whole-word table that the encoder of an encoder-decoder adds to its
        tokens (P5, see `word_numbers`); 0 for no table.
      activation: activation of the MLP; HSTU's blocks have no MLP and do not read this.
      gated: whether the MLP has a gate; not read by HSTU's blocks either.
      qkv_bias: whether queries, keys and values have biases.
      out_bias: whether the attention's output has a bias.
      mlp_bias: whether the MLP has biases.
      qk_norm: whether each head's query and key are RMS-normalized.
      query_scale: factor of the attention scores; None for H^-1/2.
      score_cap, logit_cap: soft caps of attention scores and logits: x becomes
        cap * tanh(x / cap). None for no cap.
      embedding_scale: factor of the token embeddings.
      logit_scale: factor of the states before the logits.
      tie_embeddings: whether the embedding table also computes the logits.
      read_only: number of tokens, the last of the vocabulary, that are read but never written:
        their logits are the lowest float32, and the loss ignores them.
      end_tokens: tokens each of which ends a text, of a published model that names several; () for
        the one that its tokenizer names.
      dropout: rate on embeddings and sub-layer outputs in training; with HSTU's blocks, on
        embeddings and gated values.
      attention_dropout: rate on attention weights.
      mlp_dropout: rate on the hidden layer of the MLP.
      dtype: dtype of activations; parameters, norms, softmax and logits stay in float32.
      remat: what the backward pass recomputes of a block to save memory. "none" recomputes only
        kernels gathered from other devices; "cheap", all but matrix products and attention;
        "full", everything, so that only the stream between blocks is kept.

    Raises:
      ConfigError: a value is out of range, or two values contradict each other.

    Example:
      >>> config = TransformerConfig(width=48, num_heads=4, num_kv_heads=2)
      >>> config.head_width, config.kv_heads, config.mlp_hidden
      (12, 2, 192)
      >>> TransformerConfig(block="hstu", max_length=121).position_kind
      'none'
    """

    vocab_size: Count = 256
    width: Count = 64
    depth: Count = 2
    block: BlockKind = "transformer"
    encoder_depth: Count | None = None
    num_heads: Count = 2
    num_kv_heads: Count | None = None
    head_size: Count | None = None
    mlp_width: Count | None = None
    norm: Literal["rms", "layer"] = "rms"
    norm_order: NormOrder = "pre"
    norm_eps: NotNegative = 1e-6
    positions: Literal["rope", "learned", "relative", "none"] | None = None
    rope_theta: Positive = 10_000.0
    rope_scaling: RopeScaling = RopeScaling()
    max_length: Count = 512
    position_offset: Whole = 0
    relative_buckets: Count = 32
    relative_distance: Count = 128
    window: Count | None = None
    global_every: Count | None = None
    local_theta: Positive | None = None
    token_types: Whole = 0
    pooler: bool = False
    word_rows: Whole = 0
    activation: Literal["gelu", "gelu_tanh", "relu", "relu2", "silu"] = "silu"
    gated: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    query_scale: Positive | None = None
    score_cap: Positive | None = None
    logit_cap: Positive | None = None
    embedding_scale: Positive = 1.0
    logit_scale: Positive = 1.0
    tie_embeddings: bool = True
    read_only: Whole = 0
    end_tokens: tuple[Whole, ...] = ()
    dropout: Rate = 0.0
    attention_dropout: Rate = 0.0
    mlp_dropout: Rate = 0.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Remat = "cheap"

    def __post_init__(self) -> None:
        """Reject shapes that cannot be built."""
        check_ranges(self, "--model.")
        if self.read_only >= self.vocab_size:
            raise ConfigError(
                f"model.read_only must be less than model.vocab_size {self.vocab_size}, "
                f"got {self.read_only}"
            )
        if self.block == "hstu":
            self._check_hstu()
        self._check_heads()
        self._check_positions()

    def _check_hstu(self) -> None:
        if self.positions in ("rope", "relative"):
            raise ConfigError(
                f"model.positions {self.positions} has no meaning with model.block hstu, whose "
                "attention has a bias for each distance; leave it out, or set it to none or learned"
            )
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in _NOT_OF_HSTU:
            value = getattr(self, name)
            if value != defaults[name]:
                raise ConfigError(
                    f"model.{name} {value} has no meaning with model.block hstu, whose blocks have "
                    f"neither a softmax nor an MLP; set it to {defaults[name]}, or set model.block "
                    "transformer"
                )

    def _check_heads(self) -> None:
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

    def _check_positions(self) -> None:
        if self.position_kind == "rope" and self.head_width % 2:
            raise ConfigError(
                f"rotary positions need an even head size, got {self.head_width}; "
                "change model.head_size or model.positions"
            )
        if self.positions == "relative" and (
            self.relative_buckets < 4 or self.relative_distance <= self.relative_buckets // 2
        ):
            raise ConfigError(
                "relative positions need model.relative_buckets of at least 4 and "
                "model.relative_distance above half of them, got "
                f"{self.relative_buckets} and {self.relative_distance}"
            )
        if self.window is None and (self.global_every or self.local_theta):
            raise ConfigError("model.global_every and model.local_theta need model.window")

    def check_length(self, longest: int, what: str, fix: str) -> None:
        """Reject sequences longer than `max_length`, if that is a bound.

        Beyond a learned table of positions a model would give NaN, and HSTU's blocks were trained
        on no greater distance.

        Args:
          longest: number of tokens of the longest sequence, including virtual tokens and those that
            are still to be generated.
          what: what the tokens are, to begin the error message.
          fix: what the user can do, to end the error message.

        Raises:
          ConfigError: the tokens do not fit.
        """
        if self.is_bounded and longest > self.max_length:
            learned = self.positions == "learned"
            raise ConfigError(
                f"{what}: {longest} tokens, but the model's "
                f"{'learned positions' if learned else 'distances'} end at "
                f"model.max_length {self.max_length}; {fix}"
            )

    @property
    def is_bounded(self) -> bool:
        """Whether the model reads at most `max_length` tokens."""
        return self.positions == "learned" or self.block == "hstu"

    @property
    def position_kind(self) -> Literal["rope", "learned", "relative", "none"]:
        """How tokens get their positions, resolved."""
        return self.positions or ("none" if self.block == "hstu" else "rope")

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

    @property
    def encoder(self) -> "TransformerConfig":
        """The encoder of an encoder-decoder: the same flavour at its own depth."""
        return dataclasses.replace(self, depth=self.encoder_depth or self.depth)
