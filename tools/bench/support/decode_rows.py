"""What the decoding benchmark measures: models, batches, beams, and goals."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.decode import Normalize
from jaxrec.ids import IdVocabulary
from jaxrec.models import Kind, ModelSpec, TransformerConfig
from support.catalogues import distinct_codes

# All sides normalize log-probabilities as Hugging Face does, over the vocabulary.
NORMALIZE: Normalize = "vocabulary"
# Standard deviation of the logits of random weights. With a smaller one beams lie so close together
# that rounding alone decides their order; that of trained models is larger.
SPREAD = 2.0

T5 = TransformerConfig(
    width=128,
    depth=4,
    num_heads=6,
    head_size=64,
    mlp_width=1024,
    positions="relative",
    activation="relu",
    gated=False,
    query_scale=1.0,
    logit_scale=128**-0.5,
)
LLAMA = TransformerConfig(
    width=256, depth=6, num_heads=4, mlp_width=768, max_length=8192, tie_embeddings=False
)
LLAMA_36M = dataclasses.replace(
    LLAMA, width=512, depth=10, num_heads=8, mlp_width=1536, dtype="bfloat16"
)
LLAMA_1B = dataclasses.replace(
    LLAMA,
    width=2048,
    depth=16,
    num_heads=32,
    num_kv_heads=8,
    mlp_width=8192,
    rope_theta=500_000.0,
    dtype="bfloat16",
)
QWEN3 = dataclasses.replace(
    LLAMA,
    width=2048,
    depth=28,
    num_heads=16,
    num_kv_heads=8,
    head_size=128,
    mlp_width=6144,
    qk_norm=True,
    rope_theta=1_000_000.0,
    dtype="bfloat16",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A model, a batch and a catalogue: one row of the table.

    Attributes:
      name: name of the row.
      kind: kind of the model.
      config: configuration of the model; its vocabulary is set from the IDs.
      batch: users.
      history: history tokens a user.
      beams: K.
      levels: L.
      size: codes a level.
      items: approximate size of the catalogue.
      goal: least ratio of Hugging Face's constrained time to ours; None if the goal is a time.
      goal_ms: most milliseconds of our side; None if the goal is a ratio.
    """

    name: str
    kind: Kind
    config: TransformerConfig
    batch: int
    history: int
    beams: int
    levels: int = 4
    size: int = 256
    items: int = 10_000
    goal: float | None = None
    goal_ms: float | None = None

    @property
    def vocabulary(self) -> IdVocabulary:
        """The tokens of the IDs."""
        return IdVocabulary(sizes=(self.size,) * self.levels)

    @property
    def spec(self) -> ModelSpec:
        """The model, with an embedding row for each token."""
        config = dataclasses.replace(self.config, vocab_size=self.vocabulary.size)
        return ModelSpec(self.kind, config)

    def codes(self) -> np.ndarray:
        """Draw a random catalogue, int32 `[I, L]`."""
        return distinct_codes(self.items, self.levels, self.size, "uniform")

    def tokens(self, codes: np.ndarray) -> np.ndarray:
        """Draw random histories, int32 `[B, S]`: the last S tokens of random items."""
        rng = np.random.default_rng(1)
        items = rng.integers(0, len(codes), (self.batch, -(-self.history // self.levels)))
        tokens = self.vocabulary.tokens(codes[items]).reshape(self.batch, -1)
        return tokens[:, -self.history :]


def rows_of(preset: str) -> list[Row]:
    """The rows of a preset."""
    if preset == "h100":
        qwen = [
            (1, 1000, 9.0),
            (8, 1000, 62.0),
            (1, 5000, 34.0),
            (8, 5000, 260.0),
        ]
        return [
            Row(
                name="36m-b64-s128-k50",
                kind="causal",
                config=LLAMA_36M,
                batch=64,
                history=128,
                beams=50,
                goal_ms=3.0,
            ),
            Row(
                name="1b-b16-s512-k20",
                kind="causal",
                config=LLAMA_1B,
                batch=16,
                history=512,
                beams=20,
                goal_ms=31.0,
            ),
            Row(
                name="1b-b64-s512-k50",
                kind="causal",
                config=LLAMA_1B,
                batch=64,
                history=512,
                beams=50,
                goal_ms=130.0,
            ),
            *[
                Row(
                    name=f"qwen3-b{batch}-s{history}-k256",
                    kind="causal",
                    config=QWEN3,
                    batch=batch,
                    history=history,
                    beams=256,
                    levels=3,
                    size=8192,
                    items=1_500_000,
                    goal_ms=goal,
                )
                for batch, history, goal in qwen
            ],
        ]
    return [
        Row(
            name="encdec-b32-k10",
            kind="encoder_decoder",
            config=T5,
            batch=32,
            history=80,
            beams=10,
            goal=9.0,
        ),
        Row(
            name="encdec-b32-k50",
            kind="encoder_decoder",
            config=T5,
            batch=32,
            history=80,
            beams=50,
            goal=20.0,
        ),
        Row(
            name="causal-b1-s512-k50",
            kind="causal",
            config=LLAMA,
            batch=1,
            history=512,
            beams=50,
            goal=60.0,
        ),
        Row(
            name="causal-b32-s80-k50",
            kind="causal",
            config=LLAMA,
            batch=32,
            history=80,
            beams=50,
            goal=45.0,
        ),
        Row(name="causal-b8-s512-k50", kind="causal", config=LLAMA, batch=8, history=512, beams=50),
    ]


def random_weights(spec: ModelSpec, seed: int = 0) -> Any:
    """Draw weights whose logits have a deviation near `SPREAD` and depend on the history.

    The usual initializers make branches small and, for T5's unscaled attention, scores so large
    that rounding errors grow from layer to layer. Here the branches are as large as the stream.
    """
    c = spec.config
    inputs = [jnp.zeros((1, 2), jnp.int32), jnp.zeros((1, 2), bool)]
    inputs = [*inputs, *inputs] if spec.kind == "encoder_decoder" else inputs

    @jax.jit
    def make(key: jax.Array) -> Any:
        leaves = flatten_dict(nn.meta.unbox(spec.build().init(key, *inputs)), sep="/")
        scales = {
            "table": SPREAD / c.logit_scale,
            "out/kernel": SPREAD * math.sqrt(2 * c.depth),
            "down/kernel": SPREAD * math.sqrt(2 * c.depth),
            "query/kernel": c.head_width**-0.5 / (c.query_scale or c.head_width**-0.5),
        }
        for path, leaf in leaves.items():
            ends = [scale for end, scale in scales.items() if path.endswith(end)]
            leaves[path] = (leaf * (ends[0] if ends else 1.0)).astype(jnp.dtype(c.dtype))
        return unflatten_dict(leaves, sep="/")

    return make(jax.random.key(seed))
