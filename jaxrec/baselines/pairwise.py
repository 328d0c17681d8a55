"""Batches, training and scoring that all baselines over pairs of a user and an item share.

A baseline consists of a Flax module that scores items for users, and its settings, a subclass of
`PairwiseConfig` that builds the module. Users are known only by their numbers: `batch["user"]` is
read, and a user who was not trained has no scores.

Shapes: `B` batch, `U` users, `I` items, `n` negatives.
"""

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.baselines.fitting import Problem, load_baseline, shuffled_batches, train_baseline
from jaxrec.baselines.negatives import Unseen
from jaxrec.core import Count, check_numbers, check_ranges
from jaxrec.data import Source, Windows
from jaxrec.objectives import Loss
from jaxrec.train import FitResult, Start, TrainConfig, Validation

# Shapes of a user and an item, from which those of the parameters follow.
_EXAMPLE = (jax.ShapeDtypeStruct((1,), jnp.int32), jax.ShapeDtypeStruct((1, 1), jnp.int32))


@dataclasses.dataclass(frozen=True)
class PairwiseConfig(abc.ABC):
    """Settings of all baselines over pairs.

    Attributes:
      negatives: number of unseen items of the user drawn for every interaction.
      train: optimizer and schedule; a batch consists of interactions.
    """

    title: ClassVar[str]

    negatives: Count = 1
    train: TrainConfig = TrainConfig(batch_size=1024, lr=1e-3, weight_decay=0.0)

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, f"--{self.title}.")

    @abc.abstractmethod
    def build(self, num_users: int, num_items: int) -> nn.Module:
        """Build a module: `(user [B], items [B, n]) -> [B, n]` and `every(user [B]) -> [B, I]`."""

    @abc.abstractmethod
    def loss(self, module: Any, user: jax.Array, item: jax.Array, negative: jax.Array) -> jax.Array:
        """Loss of each interaction, called inside `module`: `[B]`, `[B]` and `[B, n]` to `[B]`."""


def fit_pairwise(
    config: PairwiseConfig,
    train_sequences: Source,
    num_items: int,
    validation: Validation,
    directory: Path,
    *,
    start: Start | None = None,
) -> FitResult:
    """Train a baseline in `directory`, or resume its training there.

    Args:
      config: settings of the baseline.
      train_sequences: random-access sequence with one item array per user.
      num_items: I.
      validation: how checkpoints are measured and ranked.
      directory: receives checkpoints and metrics.
      start: initial and frozen parameters, see `train_baseline`.

    Raises:
      DataError: there are no users, a user has no items, or a user has met every item.
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

    problem = Problem(
        title=config.title,
        model=model,
        example=_EXAMPLE,
        loss=loss,
        batches=_batches(config, windows, num_items),
    )
    return train_baseline(problem, config.train, validation, directory, start)


def load_pairwise(
    config: PairwiseConfig,
    num_users: int,
    num_items: int,
    directory: Path,
    *,
    start: Start | None = None,
) -> Any:
    """Read the variables that `fit_pairwise` trained, as `scores` takes them, without any data.

    Args:
      config: settings of the baseline.
      num_users: U.
      num_items: I.
      directory: where it was trained.
      start: hashes that the checkpoint must have.

    Raises:
      DataError: not trained yet, damaged, or of another model.
    """
    model = config.build(num_users, num_items)
    return load_baseline(model, _EXAMPLE, {}, config.train, directory, start)


def _batches(config: PairwiseConfig, windows: Windows, num_items: int) -> Any:
    """Interactions in random order, each with unseen items of its user."""
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
    """Scores of all items: batch["user"] `[B]` int, numbers of training users, to `[B, I]`.

    Args:
      params: variables returned by `fit_pairwise`.
      batch: "user" `[B]` int.
      config: settings (static under `jit`).
      num_users: U.
      num_items: I.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrec.baselines import BprConfig, pairwise
      >>> factors = {"users": jnp.eye(2), "items": jnp.eye(2), "bias": jnp.array([0.0, 0.5])}
      >>> batch, config = {"user": jnp.array([0, 1])}, BprConfig(width=2)
      >>> scores = pairwise.scores(
      ...     {"params": factors}, batch, config=config, num_users=2, num_items=2
      ... )
      >>> scores.tolist()
      [[1.0, 0.5], [0.0, 1.5]]
    """
    check_numbers(batch["user"], num_users, "users", missing=False)
    model = config.build(num_users, num_items)
    return model.apply(params, jnp.asarray(batch["user"]), method="every")


def table(module: nn.Module, name: str, rows: int, width: int, stddev: float = 0.01) -> jax.Array:
    """A table of `rows` vectors as a parameter of `module`, `[rows, width]`."""
    init = nn.with_partitioning(nn.initializers.normal(stddev), ("vocab", "embed"))
    return module.param(name, init, (rows, width), jnp.float32)
