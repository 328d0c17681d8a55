"""A run of Toolformer as one frozen value."""

import dataclasses
from typing import ClassVar

from jaxrec.core import Count, NotNegative, Positive, Rate, Seed, Share, check_ranges
from jaxrec.models import TransformerConfig
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolformerDataConfig:
    """Made-up sentences about sums and differences of four-digit numbers.

    Attributes:
      name: what the texts are called.
      plain: texts without calls that the model is trained on first.
      demonstrated: texts with calls of each tool, at random places and with random inputs, from
        which the model learns the form of calls and what their results look like.
      annotated: further texts that the model annotates with calls, and is then tuned on.
      held: held-out texts for validation, and as many for test.
      seed: of the texts.
    """

    name: str = "sums in sentences"
    plain: Count = 20_000
    demonstrated: Count = 10_000
    annotated: Count = 1000
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
    positions: Count = 5
    calls: Count = 5
    min_gain: NotNegative = 0.5
    temperature: Positive = 1.0
    max_tokens: Count = 24
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

    batch_size: Count = 64
    max_tokens: Count = 8
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
      plain_share: share of plain texts in the first training; the rest are texts with calls.
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
    length: Count = 48
    plain_share: Share = 0.5
    model: TransformerConfig = TransformerConfig(width=96, depth=3, num_heads=4)
    pretrain: TrainConfig = TrainConfig(steps=1500, batch_size=64, lr=3e-3)
    calls: CallsConfig = CallsConfig()
    train: TrainConfig = TrainConfig(steps=200, batch_size=64, lr=1e-3, warmup_steps=20)
    eval: ToolformerEvalConfig = ToolformerEvalConfig()

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        self.model.check_length(self.length, "length", "lower it or raise --model.max-length")
