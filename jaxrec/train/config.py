"""Settings of a training run."""

import dataclasses
from typing import Literal

from jaxrec.core import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, how fast, and when to look.

    Attributes:
      steps: optimizer steps.
      batch_size: sequences a step, over all micro-batches and devices.
      accumulate: micro-batches a step; their gradients add up to those of the whole batch.
      optimizer: AdamW, or Adafactor without parameter scaling (as prompt tuning has it, with a
        constant rate of .3).
      lr: peak learning rate, reached after the warm-up.
      warmup_steps: steps of linear warm-up.
      schedule: what follows the warm-up: down a cosine, down a line, or constant.
      final_fraction: of the peak, where the cosine or the line ends.
      weight_decay: decoupled and times the learning rate, on matrices only.
      beta2: decay of AdamW's second moment.
      clip_norm: largest global norm of the gradient; 0 for no clipping.
      ema_decay: of the exponential moving average of the parameters, which is what is measured and
        used; 0 for the parameters themselves.
      eval_every: steps between validations; each saves a checkpoint.
      patience: validations without a better metric before stopping; 0 never stops early.
      log_every: steps between lines of metrics.
      keep: newest checkpoints that are kept, besides the best; with 2 a damaged one costs the steps
        since the one before.
      max_loss_ratio: a loss above so many times the first one, or above so many nats if that was
        less than 1, stops the run: at 10 a language model is worse than a uniform guess. 0 for no
        such limit; a loss that is not finite stops it anyway.
      seed: of initialization, shuffling, windows and dropout.
    """

    steps: int = 2000
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    lr: float = 2e-3
    warmup_steps: int = 100
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_fraction: float = 0.02
    weight_decay: float = 0.1
    beta2: float = 0.98
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    eval_every: int = 250
    patience: int = 0
    log_every: int = 50
    keep: int = 2
    max_loss_ratio: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject values that cannot train."""
        for name in ("steps", "batch_size", "accumulate", "eval_every", "log_every", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be at least 1, got {getattr(self, name)}")
        not_negative = ("warmup_steps", "weight_decay", "clip_norm", "patience", "max_loss_ratio")
        for name in not_negative:
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name} must not be negative, got {getattr(self, name)}")
        if self.lr <= 0:
            raise ConfigError(f"train.lr must be positive, got {self.lr}")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError(f"train.ema_decay must lie in [0, 1), got {self.ema_decay}")
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"train.batch_size {self.batch_size} is not a multiple of "
                f"train.accumulate {self.accumulate}"
            )
