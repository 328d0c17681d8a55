"""SASRec with full cross-entropy: self-attention over item embeddings (Kang and McAuley 2018).

The same decoder and objective as the generative model, with one token an item, learned positions
and the paper's ReLU network; cross-entropy over the whole catalogue replaces its one sampled
negative (Petrov and Macdonald 2023 show how much that changes).
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.core.mesh import batch_sharding
from jaxrec.core.processes import batch_shard
from jaxrec.data import training_sequences
from jaxrec.ids import IdVocabulary, write_histories
from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import id_loss
from jaxrec.train import FitResult, TrainConfig, fit, make_plan


@dataclasses.dataclass(frozen=True)
class SasrecConfig:
    """Settings.

    Attributes:
      width: D.
      depth: blocks.
      num_heads: attention heads.
      max_items: most recent items that are read.
      dropout: while training.
      train: optimizer and schedule.
    """

    width: int = 64
    depth: int = 2
    num_heads: int = 2
    max_items: int = 50
    dropout: float = 0.3
    train: TrainConfig = TrainConfig(lr=1e-3)

    def __post_init__(self) -> None:
        """Reject an empty history."""
        if self.max_items < 1:
            raise ConfigError(f"sasrec.max_items must be at least 1, got {self.max_items}")


def make_model(config: SasrecConfig, num_items: int) -> CausalLM:
    """Build the decoder over PAD, BOS and one token an item."""
    return CausalLM(
        TransformerConfig(
            vocab_size=IdVocabulary((num_items,)).size,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_width=config.width,
            norm="layer",
            positions="learned",
            max_length=config.max_items + 1,
            activation="relu",
            gated=False,
            qkv_bias=True,
            out_bias=True,
            mlp_bias=True,
            dropout=config.dropout,
        )
    )


def fit_sasrec(
    config: SasrecConfig,
    train_sequences: Any,
    num_items: int,
    evaluate: Callable[[Any], dict[str, float]],
    directory: Path,
    metric: str = "ndcg@10",
) -> FitResult:
    """Train, or resume training, below `directory`.

    Args:
      config: settings.
      train_sequences: random-access sequence of item arrays, one a user.
      num_items: I.
      evaluate: parameters to validation metrics.
      directory: gets checkpoints and metrics.
      metric: ranks checkpoints.
    """
    model, vocabulary = make_model(config, num_items), IdVocabulary((num_items,))
    token_of = vocabulary.tokens(np.arange(num_items)[:, None])

    def encode(items: np.ndarray, _: np.random.Generator) -> Mapping[str, np.ndarray]:
        return {"tokens": write_histories([items], token_of, config.max_items)[0]}

    tokens = jax.ShapeDtypeStruct((config.train.batch_size, config.max_items + 1), jnp.int32)
    example = jnp.zeros((1, config.max_items + 1), jnp.int32)
    plan = make_plan(
        lambda key: model.init(key, example, example == 0),
        lambda params, batch, key: id_loss(
            model, params, batch["tokens"], key, vocabulary=vocabulary
        ),
        {"tokens": tokens},
        config.train,
    )
    batches = iter(
        training_sequences(
            train_sequences,
            length=config.max_items,
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            encode=encode,
            shard=batch_shard(batch_sharding(plan.mesh, plan.rules)),
        )
    )
    return fit(plan, batches, evaluate, directory, metric=metric, title="sasrec")


def scores(
    params: Any, batch: Mapping[str, jax.Array], *, config: SasrecConfig, num_items: int
) -> jax.Array:
    """Log-probabilities of all items as the next one.

    Args:
      params: of the model.
      batch: "history" `[B, H]` int32, padded on the left with -1, newest last.
      config: settings (static under `jit`).
      num_items: I.

    Returns:
      `[B, I]` float32.
    """
    model, vocabulary = make_model(config, num_items), IdVocabulary((num_items,))
    tokens = _tokens(jnp.asarray(batch["history"]), config.max_items, vocabulary)
    valid = tokens != 0
    context = SelfContext(attention_mask(valid), causal=True)
    hidden, _ = model.apply(params, tokens, positions_of(valid), context, method="hidden")
    rows = vocabulary.level(0)
    logits = model.apply(params, hidden[:, -1], rows.start, rows.stop - rows.start, method="logits")
    return jax.nn.log_softmax(logits, axis=-1)


def _tokens(history: jax.Array, max_items: int, vocabulary: IdVocabulary) -> jax.Array:
    """PAD ..., BOS, items: `[B, H]` to `[B, 1 + max_items]`, as `write_histories` does."""
    width = max_items - history.shape[1]
    history = history[:, -max_items:]
    if width > 0:
        history = jnp.pad(history, ((0, 0), (width, 0)), constant_values=-1)
    items = jnp.where(history >= 0, history + vocabulary.num_special, 0)
    items = jnp.pad(items, ((0, 0), (1, 0)))
    following = jnp.pad(items[:, 1:], ((0, 0), (0, 1)), constant_values=1)
    return jnp.where((items == 0) & (following > 0), 1, items).astype(jnp.int32)
