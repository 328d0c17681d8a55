"""A run of Toolformer as one frozen value."""

import dataclasses
from typing import ClassVar

from jaxrec.core import ConfigError, Count, NotNegative, Positive, Rate, Seed, Share, check_ranges
from jaxrec.models import TransformerConfig
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolformerDataConfig:
    """Made-up sentences about sums and differences of three-digit numbers.

    Attributes:
      name: what the texts are called.
      plain: texts without calls that the model is trained on first.
      lists: plain texts that say a list of numbers twice, from which a model learns to copy numbers
        as large models do from natural texts.
      demonstrated: texts with calls of each tool, at random places and with random inputs, from
        which the model learns the form of calls and what their results look like.
      annotated: further texts that the model annotates with calls, and is then tuned on.
      held: held-out texts for validation, and as many for test.
      seed: of the texts.
    """

    name: str = "sums in sentences"
    plain: Count = 20_000
    lists: Count = 10_000
    demonstrated: Count = 20_000
    annotated: Count = 800
    held: Count = 200
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self, "--data.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallsConfig:
    """How calls are sampled and filtered; see `jaxrec.prompting.SamplingOptions`.

    Attributes:
      min_probability: a call may begin where the marker is likelier than this (tau_s).
      positions: most places of a text (k).
      calls: calls that are sampled at each place (m).
      min_gain: smallest gain of a call that is kept (tau_f).
      temperature: of the sampling.
      max_tokens: most tokens of a call.
      top: at inference a call begins where the marker is among so many likeliest tokens.
    """

    min_probability: Rate = 0.05
    positions: Count = 2
    calls: Count = 3
    min_gain: NotNegative = 0.5
    temperature: Positive = 1.0
    max_tokens: Count = 16
    top: Count = 10

    def __post_init__(self) -> None:
        check_ranges(self, "--calls.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolformerEvalConfig:
    """How a model is measured.

    Attributes:
      batch_size: texts in each call of the model.
      max_tokens: most tokens that follow a prompt or a result.
      resamples: number of resamples of the bootstrap over texts.
    """

    batch_size: Count = 128
    max_tokens: Count = 6
    resamples: Count = 1000

    def __post_init__(self) -> None:
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolformerConfig:
    """A run of Toolformer from scratch.

    Attributes:
      data: the texts.
      vocab_size: size of the tokenizer that is trained on them.
      length: tokens of a row of the training; longer texts are left out.
      list_share: share of lists in the first training.
      demonstrated_share: share of texts with calls in the first training; the rest are plain.
      unchanged_share: share of rows of the tuning that are the same texts without calls, so that
        the model does not forget how texts go on without them.
      model: shape of the model.
      pretrain: the first training, on plain texts and texts with random calls.
      calls: how calls are sampled and filtered.
      train: the tuning on the texts with the calls that help.
      eval: measurements.

    Raises:
      ConfigError: a value out of range, or rows that the model cannot read.
    """

    system: ClassVar[str] = "jaxrec.systems.toolformer"

    data: ToolformerDataConfig = ToolformerDataConfig()
    vocab_size: Count = 600
    length: Count = 40
    list_share: Share = 0.2
    demonstrated_share: Share = 0.5
    unchanged_share: Share = 0.5
    model: TransformerConfig = TransformerConfig(width=96, depth=2, num_heads=4)
    pretrain: TrainConfig = TrainConfig(
        steps=900, batch_size=64, lr=4e-3, weight_decay=0.01, eval_every=225
    )
    calls: CallsConfig = CallsConfig()
    train: TrainConfig = TrainConfig(
        steps=200, batch_size=32, lr=1e-3, warmup_steps=20, weight_decay=0.01, eval_every=100
    )
    eval: ToolformerEvalConfig = ToolformerEvalConfig()

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        if self.list_share + self.demonstrated_share > 1:
            raise ConfigError(
                f"--list-share {self.list_share:g} and --demonstrated-share "
                f"{self.demonstrated_share:g} add up to more than 1; lower one"
            )
        self.model.check_length(self.length, "length", "lower it or raise --model.max-length")
