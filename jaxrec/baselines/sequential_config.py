"""Settings that all neural sequential baselines share, and what they read and predict of a batch.

Shapes: `B` batch, `T` tokens, `I` items, `D` model width.
"""

import abc
import dataclasses
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from jaxrec.baselines.item_table import FIRST
from jaxrec.core import ConfigError
from jaxrec.train import TrainConfig

Objective = Literal["cross_entropy", "bce", "bpr", "sampled_softmax", "contrastive"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequentialConfig(abc.ABC):
    """Settings of all neural sequential baselines.

    Attributes:
      width: D, of item vectors and states.
      max_items: most recent items that are read.
      buckets: lengths that training histories are padded to, one a batch: 1 pads all to `max_items`
        (see `data.buckets`; shorter batches have as many more rows as keeps their tokens equal).
      dropout: while training.
      table_dropout: while training, of the items' vectors themselves: what is dropped of one is
        missing wherever a batch reads the item and wherever it scores it.
      init_std: standard deviation of the items' learned vectors at the beginning; 0 for D^-1/2.
      tied: score items with the vectors that are read, instead of with a table of their own.
      objective: full cross-entropy, binary cross-entropy or BPR with items that the user has not
        met, softmax over the target and drawn items, or InfoNCE, softmax over the target and the
        targets of the batch's other predictions (see `objectives.info_nce`).
      negatives: items drawn: for each prediction (bce, bpr), or for all of a batch together.
      proposal: how sampled softmax draws: evenly, or as often as items occur in training.
      log_q: correct sampled softmax for the odds of a draw.
      temperature: τ, for scores that are cosines over τ; 0 for plain products.
      synthetic: ρ, for InfoNCE over items with codes: a further negative of each prediction is its
        target with that share of its codes drawn anew; 0 for none.
      robust: α, weight of the distributionally robust term (see `objectives.dro`); 0 for none.
      robust_beta: β of that term.
      train: optimizer and schedule.
    """

    title: ClassVar[str]
    item_bias: ClassVar[bool] = False

    width: int = 64
    max_items: int = 50
    buckets: int = 1
    dropout: float = 0.2
    table_dropout: float = 0.0
    init_std: float = 0.0
    tied: bool = True
    objective: Objective = "cross_entropy"
    negatives: int = 1
    proposal: Literal["uniform", "popularity"] = "uniform"
    log_q: bool = True
    temperature: float = 0.0
    synthetic: float = 0.0
    robust: float = 0.0
    robust_beta: float = 1.0
    train: TrainConfig = TrainConfig(lr=1e-3, weight_decay=1e-2)

    def __post_init__(self) -> None:
        """Reject settings without meaning."""
        for name in ("width", "max_items", "buckets", "negatives"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{self.title}.{name} must be at least 1, got {getattr(self, name)}"
                )
        for name in ("dropout", "table_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(
                    f"{self.title}.{name} must lie in [0, 1), got {getattr(self, name)}"
                )
        if self.init_std < 0:
            raise ConfigError(f"{self.title}.init_std must not be negative, got {self.init_std}")
        if self.temperature < 0 or not 0.0 <= self.synthetic <= 1.0:
            raise ConfigError(
                f"{self.title}.temperature must not be negative and {self.title}.synthetic must "
                f"lie in [0, 1], got {self.temperature} and {self.synthetic}"
            )
        if self.robust < 0 or self.robust_beta <= 0:
            raise ConfigError(
                f"{self.title}.robust must not be negative and {self.title}.robust_beta must be "
                f"positive, got {self.robust} and {self.robust_beta}"
            )

    @abc.abstractmethod
    def body(self) -> nn.Module:
        """From vectors `[B, T, D]` and validity to states: see `SequentialModel.body`."""

    def pairs(
        self, tokens: jax.Array, num_items: int, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What is read of a batch, what it shall predict, and which predictions count.

        Args:
          tokens: `[B, 1 + max_items]` int32, PAD ..., BOS, items.
          num_items: I.
          key: for what is drawn.

        Returns:
          Tokens that are read, tokens to predict from the states there, and bool: `[B, T]` each.
        """
        del num_items, key
        return tokens[:, :-1], tokens[:, 1:], tokens[:, 1:] >= FIRST

    def query(self, tokens: jax.Array, num_items: int) -> jax.Array:
        """What is read so that the last state scores the next item: of `[B, 1 + max_items]`."""
        del num_items
        return tokens

    def query_feedback(self, feedback: jax.Array) -> jax.Array:
        """What is known of the tokens that `query` gives: of `[B, 1 + max_items]`."""
        return feedback
