"""Settings that all neural sequential baselines share, and how they read and predict a batch.

Shapes: `B` batch, `T` tokens, `I` items, `D` model width.
"""

import abc
import dataclasses
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from jaxrec.baselines.item_table import FIRST
from jaxrec.core import ConfigError, Count, NotNegative, Positive, Rate, Share, check_ranges
from jaxrec.train import TrainConfig

Objective = Literal["cross_entropy", "bce", "bpr", "sampled_softmax", "contrastive"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequentialConfig(abc.ABC):
    """Settings of all neural sequential baselines.

    Attributes:
      width: D, width of item vectors and states.
      max_items: number of most recent items that are read.
      buckets: number of lengths to which training histories are padded, one length per batch. 1
        pads all histories to `max_items`. (See `data.buckets`; batches of short histories have more
        rows, so that the number of tokens stays equal.)
      dropout: dropout rate during training.
      table_dropout: dropout rate of the item vectors during training. A dropped element of a vector
        is missing wherever a batch reads the item and wherever it scores the item.
      init_std: initial standard deviation of learned item vectors; 0 means D^-1/2.
      tied: score items with the vectors that are read, instead of with a separate table.
      objective: "cross_entropy" over the whole catalogue; "bce" or "bpr" with unseen items
        of the user; "sampled_softmax" over the target and drawn items; "contrastive", a softmax
        over the target and the targets of the batch's other predictions (InfoNCE, see
        `objectives.info_nce`).
      negatives: number of items drawn, for each prediction ("bce", "bpr") or once for the whole
        batch ("sampled_softmax").
      proposal: how sampled softmax draws items: uniformly, or as often as they occur in training.
      log_q: correct sampled softmax for the probability of a draw.
      history_negatives: count the items that were read among the negatives of sampled softmax, each
        with its exact weight, besides the drawn ones. The model then learns not to repeat items,
        which draws alone teach slowly in a large catalogue.
      repeat_bias: learn one number that is added to the scores of items that were read; it needs
        `history_negatives`. Where nobody comes back to an item it falls until such items are last,
        which a network with residual connections and a tied table hardly learns otherwise; where
        people buy things again it rises.
      temperature: τ of scores that are cosines divided by τ; 0 for plain products.
      synthetic: ρ, for "contrastive" over items with codes: each prediction gets one more negative,
        its target with a share ρ of the codes redrawn; 0 adds none.
      robust: α, weight of the distributionally robust term (see `objectives.dro`); 0 disables it.
      robust_beta: β of that term.
      train: optimizer and schedule.
    """

    title: ClassVar[str]
    item_bias: ClassVar[bool] = False

    width: Count = 64
    max_items: Count = 50
    buckets: Count = 1
    dropout: Rate = 0.2
    table_dropout: Rate = 0.0
    init_std: NotNegative = 0.0
    tied: bool = True
    objective: Objective = "cross_entropy"
    negatives: Count = 1
    proposal: Literal["uniform", "popularity"] = "uniform"
    log_q: bool = True
    history_negatives: bool = False
    repeat_bias: bool = False
    temperature: NotNegative = 0.0
    synthetic: Share = 0.0
    robust: NotNegative = 0.0
    robust_beta: Positive = 1.0
    train: TrainConfig = TrainConfig(lr=1e-3, weight_decay=1e-2)

    def __post_init__(self) -> None:
        """Reject settings that have no meaning."""
        check_ranges(self, f"--{self.title}.")
        if self.history_negatives and self.objective != "sampled_softmax":
            raise ConfigError(
                f"{self.title}.history_negatives adds to the draws of sampled softmax, and "
                f"{self.title}.objective is {self.objective}; set it to sampled_softmax, or "
                "history_negatives to false"
            )
        if self.history_negatives and self.robust:
            raise ConfigError(
                f"{self.title}.history_negatives and {self.title}.robust {self.robust} are two "
                "changes of one loss, which cannot be combined; set one of them to false or 0"
            )
        if self.repeat_bias and not self.history_negatives:
            raise ConfigError(
                f"{self.title}.repeat_bias is learned from the items of the history among the "
                f"negatives; set {self.title}.history_negatives to true, or repeat_bias to false"
            )

    @property
    def reads_times(self) -> bool:
        """Whether the body reads the times of the items, "times" of a batch."""
        return False

    @abc.abstractmethod
    def body(self) -> nn.Module:
        """Build the module from vectors and validity to states, see `SequentialModel.body`."""

    def pairs(
        self, tokens: jax.Array, num_items: int, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the model reads of a batch, what it predicts, and which predictions count.

        Args:
          tokens: `[B, 1 + max_items]` int32, PAD ..., BOS, items.
          num_items: I.
          key: random key, for settings that draw.

        Returns:
          Tokens to read, tokens to predict from the states there, and which predictions count
          (bool): `[B, T]` each.
        """
        del num_items, key
        return tokens[:, :-1], tokens[:, 1:], tokens[:, 1:] >= FIRST

    def query(self, tokens: jax.Array, num_items: int) -> jax.Array:
        """What the model reads so that its last state scores the next item.

        Args:
          tokens: `[B, 1 + max_items]` int32, PAD ..., BOS, items.
          num_items: I.
        """
        del num_items
        return tokens

    def query_times(self, times: jax.Array) -> jax.Array:
        """The times `[B, 1 + max_items]` that belong to the tokens that `query` returns."""
        return times

    def query_feedback(self, feedback: jax.Array) -> jax.Array:
        """The feedback `[B, 1 + max_items]` that belongs to the tokens that `query` returns."""
        return feedback
