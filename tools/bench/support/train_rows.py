"""What the benchmark of the training step measures: models, batches, and their operations."""

import dataclasses

import numpy as np

from jaxrec.models import TransformerConfig
from jaxrec.train import TrainConfig
from support.decode_rows import T5

LR, DECAY, BETA2 = 1e-3, 0.1, 0.98
TRAIN = TrainConfig(lr=LR, warmup_steps=0, weight_decay=DECAY, beta2=BETA2, clip_norm=0.0)

LLAMA = TransformerConfig(width=384, depth=10, num_heads=6, mlp_width=1024, norm_eps=1e-6)
GPT2 = TransformerConfig(
    width=384,
    depth=10,
    num_heads=6,
    norm="layer",
    norm_eps=1e-5,
    positions="learned",
    activation="gelu_tanh",
    gated=False,
    qkv_bias=True,
    out_bias=True,
    mlp_bias=True,
)
# 1.0B parameters without the embedding, the shape of Llama 3.2 1B with its own vocabulary.
LLAMA_1B = TransformerConfig(
    vocab_size=32_768,
    width=2048,
    depth=16,
    num_heads=32,
    num_kv_heads=8,
    mlp_width=8192,
    rope_theta=500_000.0,
    dtype="bfloat16",
    remat="full",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A model and the shape of its batch; `decoder` is 0 for a model without a decoder."""

    name: str
    family: str
    config: TransformerConfig
    batch: int
    length: int
    decoder: int = 0

    @property
    def tokens(self) -> int:
        """Tokens a step, those of the encoder and of the decoder together."""
        return self.batch * (self.length + self.decoder)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Random tokens `[batch, length]`, and `[batch, decoder]` if there is a decoder."""
        rng = np.random.default_rng(0)
        lengths = [self.length, self.decoder] if self.decoder else [self.length]
        return tuple(
            rng.integers(2, self.config.vocab_size, (self.batch, n), np.int32) for n in lengths
        )


def rows_of(preset: str, batch: int | None, decoder: int, vocab: int) -> list[Row]:
    """The rows of a preset.

    Args:
      preset: "cpu" or "h100".
      batch: sequences; None for each row's own number.
      decoder: target tokens of T5.
      vocab: vocabulary of T5.
    """
    if preset == "h100":
        return [
            Row(
                name="llama-1b",
                family="llama",
                config=LLAMA_1B,
                batch=batch or 8,
                length=2048,
            )
        ]
    half = dataclasses.replace
    t5 = half(T5, vocab_size=vocab)
    llama, gpt2 = half(LLAMA, vocab_size=8192), half(GPT2, vocab_size=8192, max_length=512)
    dropped = {"dropout": 0.1, "attention_dropout": 0.1}
    pairs = {"batch": batch or 256, "length": 80, "decoder": decoder}
    plain = {"batch": batch or 16, "length": 512}
    return [
        Row(name="t5", family="t5", config=t5, **pairs),
        Row(name="t5-dropout", family="t5", config=half(t5, mlp_dropout=0.1, **dropped), **pairs),
        Row(name="llama", family="llama", config=llama, **plain),
        Row(name="gpt2", family="gpt2", config=gpt2, **plain),
        Row(name="gpt2-dropout", family="gpt2", config=half(gpt2, **dropped), **plain),
    ]


def flops_of(row: Row) -> float:
    """Floating-point operations of a training step: PaLM's count (Chowdhery et al. 2022, app. B).

    Six a weight and token, and 12 N H S T a layer of attention, recomputation not counted.
    """
    c = row.config
    heads, kv = c.num_heads * c.head_width, c.kv_heads * c.head_width
    mlp = (3 if c.gated else 2) * c.width * c.mlp_hidden
    block = 2 * c.width * (heads + kv) + mlp
    targets, sources = row.decoder or row.length, row.length if row.decoder else 0
    weights = targets * (c.depth * block + c.width * c.vocab_size)
    scores = c.depth * targets * (targets + sources)
    if sources:
        depth = c.encoder.depth
        weights += sources * (depth * block + c.depth * 2 * c.width * kv)
        weights += targets * c.depth * 2 * c.width * heads
        scores += depth * sources * sources
    return row.batch * (6.0 * weights + 12.0 * heads * scores)
