"""What the baselines over pairs of a user and an item share: batches, training and scoring.

A baseline is a Flax module that scores items of users, and its settings, a subclass of
`PairwiseConfig` that builds it. It knows users by their numbers alone, so `batch["user"]` is read,
and a user who was not trained has no scores.

Shapes: `B` batch, `U` users, `I` items, `n` negatives.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.baselines.fitting import Evaluate, shuffled_batches, train_baseline
from jaxrec.baselines.negatives import Unseen
from jaxrec.core import ConfigError
from jaxrec.data import Source, Windows
from jaxrec.objectives import Loss
from jaxrec.train import FitResult, TrainConfig


@dataclasses.dataclass(frozen=True)
class PairwiseConfig(abc.ABC):
    """Settings of all baselines over pairs.

    Attributes:
      negatives: items that the user has not met, drawn for every interaction.
      train: optimizer and schedule; a batch is of interactions.
    """

    title: ClassVar[str]

    negatives: int = 1
    train: TrainConfig = TrainConfig(batch_size=1024, lr=1e-3, weight_decay=0.0)

    def __post_init__(self) -> None:
        """Reject an objective without negatives."""
        if self.negatives < 1:
            raise ConfigError(f"{self.title}.negatives must be at least 1, got {self.negatives}")

    @abc.abstractmethod
    def build(self, num_users: int, num_items: int) -> nn.Module:
        """Module of `(user [B], items [B, n]) -> [B, n]`, with `every(user [B]) -> [B, I]`."""

    @abc.abstractmethod
    def loss(self, module: Any, user: jax.Array, item: jax.Array, negative: jax.Array) -> jax.Array:
        """Objective of each interaction, within `module`: `[B]`, `[B]`, `[B, n]` to `[B]`."""


def fit_pairwise(
    config: PairwiseConfig,
    train_sequences: Source,
    num_items: int,
    evaluate: Evaluate,
    directory: Path,
    metric: str = "ndcg@10",
    *,
    start: Callable[[], Any] | None = None,
) -> FitResult:
    """Train, or resume training, below `directory`: arguments as of `fit_sequential`.

    `start` gives the parameters to begin from.
    """
    windows = Windows.of(train_sequences, length=1, seed=config.train.seed)
    num_users = len(windows.offsets) - 1
    model = config.build(num_users, num_items)

    def loss(params: Any, batch: Mapping[str, jax.Array], key: jax.Array) -> Loss:
        del key
        losses = model.apply(
            params, batch["user"], batch["item"], batch["negative"], method=config.loss
        )
        return Loss(total=losses.sum(), weight=jnp.float32(len(losses)), parts={})

    return train_baseline(
        model,
        (jax.ShapeDtypeStruct((1,), jnp.int32), jax.ShapeDtypeStruct((1, 1), jnp.int32)),
        loss,
        _batches(config, windows, num_items),
        config.train,
        evaluate,
        directory,
        fixed={},
        metric=metric,
        title=config.title,
        start=start,
    )


def _batches(config: PairwiseConfig, windows: Windows, num_items: int) -> Any:
    """Interactions in random order, each with items that its user has not met."""
    items, unseen = windows.items, Unseen(windows, num_items)
    counts = np.diff(windows.offsets)
    user = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def take(chosen: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        negative = unseen.draw(rng, user[chosen], config.negatives)
        return {"user": user[chosen], "item": items[chosen], "negative": negative}

    return shuffled_batches(len(items), config.train.batch_size, config.train.seed, take)


def scores(
    params: Any,
    batch: Mapping[str, jax.Array | np.ndarray],
    *,
    config: PairwiseConfig,
    num_users: int,
    num_items: int,
) -> jax.Array:
    """Scores of all items: batch["user"] `[B]` int, rows of the training users, to `[B, I]`."""
    model = config.build(num_users, num_items)
    return model.apply(params, jnp.asarray(batch["user"]), method="every")


def table(module: nn.Module, name: str, rows: int, width: int, stddev: float = 0.01) -> jax.Array:
    """A table of `rows` vectors as a parameter of a module, `[rows, width]`."""
    init = nn.with_partitioning(nn.initializers.normal(stddev), ("vocab", "embed"))
    return module.param(name, init, (rows, width), jnp.float32)
