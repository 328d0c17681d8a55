"""Settings of a training run."""

import dataclasses
from typing import Literal

from jaxrec.core import (
    ConfigError,
    Count,
    LearningRate,
    NotNegative,
    Positive,
    Rate,
    Seed,
    Share,
    Whole,
    check_ranges,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run: length, optimizer, validation and checkpoints.

    Attributes:
      steps: optimizer steps.
      batch_size: sequences per step, over all micro-batches and devices.
      accumulate: micro-batches per step; their gradients add up to the gradient of the whole batch.
      optimizer: AdamW, or Adafactor without parameter scaling (which prompt tuning uses with a
        constant learning rate of .3).
      lr: peak learning rate, reached after the warm-up.
      warmup_steps: steps of linear warm-up.
      schedule: learning rate after the warm-up: cosine decay, linear decay, or constant.
      final_fraction: learning rate at the end of the decay, as a fraction of the peak.
      weight_decay: decoupled weight decay, multiplied by the learning rate; only matrices decay.
      beta2: decay of AdamW's second moment.
      eps: what AdamW adds to the root of the second moment.
      adam: where AdamW adds `eps`. "optax" corrects the bias of the second moment first, as PyTorch
        does; "tensorflow" corrects it afterwards, as TensorFlow 1 did, so early steps are shorter.
      clip_norm: largest global norm of the gradient; 0 disables clipping.
      ema_decay: decay of the exponential moving average of the parameters, which is then validated
        and returned; 0 uses the parameters themselves.
      eval_every: steps between validations; each validation saves a checkpoint.
      patience: early stopping after this many validations without improvement; 0 never stops early.
      log_every: steps between lines of metrics.
      keep: number of newest checkpoints to keep, in addition to the best one. With 2, a damaged
        checkpoint costs only the steps since the one before it.
      max_loss_ratio: stops the run if a loss exceeds this many times the first loss, or this many
        nats if the first loss was below 1. At 10 a language model is worse than a uniform guess. 0
        disables the limit; a loss that is not finite always stops the run.
      seed: seed of initialization, shuffling, windows and dropout.

    Example:
      >>> config = TrainConfig(steps=500, batch_size=64, accumulate=4)
      >>> config.batch_size // config.accumulate  # sequences of a micro-batch
      16
    """

    steps: Count = 2000
    batch_size: Count = 64
    accumulate: Count = 1
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    lr: LearningRate = 2e-3
    warmup_steps: Whole = 100
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_fraction: Share = 0.02
    weight_decay: NotNegative = 0.1
    beta2: Rate = 0.98
    eps: Positive = 1e-8
    adam: Literal["optax", "tensorflow"] = "optax"
    clip_norm: NotNegative = 1.0
    ema_decay: Rate = 0.0
    eval_every: Count = 250
    patience: Whole = 0
    log_every: Count = 50
    keep: Count = 2
    max_loss_ratio: NotNegative = 10.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject values with which training is impossible."""
        check_ranges(self, "--train.")
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"train.batch_size {self.batch_size} is not a multiple of "
                f"train.accumulate {self.accumulate}; change one of them"
            )
        if self.adam != "optax" and self.optimizer != "adamw":
            raise ConfigError(
                f"train.adam {self.adam} is a form of AdamW, and train.optimizer is "
                f"{self.optimizer}; set train.optimizer adamw, or leave train.adam out"
            )
