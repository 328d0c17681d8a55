"""A run that trains a reward model, as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.align import Normalization
from jaxrec.core import (
    ConfigError,
    Count,
    NotNegative,
    Number,
    Positive,
    Seed,
    Share,
    Whole,
    check_ranges,
)
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.train import TrainConfig

Learned = Literal["pairs", "best", "scores"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeedbackConfig:
    """The feedback to learn from, and how it is split by prompt.

    Attributes:
      name: what the feedback is called in tables; "planted" without paths is made by a simulation.
      paths: files of feedback, as `jaxrec feedback serve` writes them.
      labelers: labelers to learn from; () for all of them.
      criteria: criteria of the questions that make the score of an answer; () for all of them,
        weighed equally.
      weights: weight of each criterion.
      rules: rules whose violations are subtracted from the score.
      rule_weights: weight of each rule.
      valid: share of the prompts for validation.
      test: share of the prompts for test.
      gold: share of the prompts for a second reward model, which the first one never learns from.
      seed: seed of the split.

    Raises:
      ConfigError: shares or weights that do not fit.
    """

    name: str = "planted"
    paths: tuple[str, ...] = ()
    labelers: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    weights: tuple[NotNegative, ...] = ()
    rules: tuple[str, ...] = ()
    rule_weights: tuple[NotNegative, ...] = ()
    valid: Share = 0.1
    test: Share = 0.2
    gold: Share = 0.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject a split without a part that is needed, and names without weights."""
        check_ranges(self, "--data.")
        if not self.valid or not self.test or self.train <= 1e-9:
            raise ConfigError(
                f"--data.valid {self.valid} and --data.test {self.test} must be above 0, and with "
                f"--data.gold {self.gold} they must leave prompts to train on"
            )
        for names, weights, kind in (
            (self.criteria, self.weights, "criteria"),
            (self.rules, self.rule_weights, "rules"),
        ):
            option = "weights" if kind == "criteria" else "rule-weights"
            if len(names) != len(weights) or len(set(names)) < len(names):
                raise ConfigError(
                    f"--data.{kind} {' '.join(names)} and --data.{option} "
                    f"{' '.join(map(str, weights))} must be as many different names as weights"
                )
        if self.name != "planted" and not self.paths:
            raise ConfigError(
                f"--data.name {self.name} has no files; give them by --data.paths, or take the "
                "simulation planted"
            )

    @property
    def train(self) -> float:
        """Share of the prompts to train on."""
        return 1 - self.valid - self.test - self.gold


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """Simulated feedback: rankings by a known utility with the noise of Bradley and Terry.

    Attributes:
      prompts: number of prompts.
      answers: K, number of answers to each prompt.
      words: number of different words; each has a utility.
      length: number of words of an answer.
      scale: standard deviation of the utility of an answer; the larger it is, the less noise.
      seed: seed of utilities, answers and noise.
    """

    prompts: Count = 12000
    answers: Count = 4
    words: Count = 40
    length: Count = 6
    scale: Positive = 2.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject a simulation that compares nothing."""
        check_ranges(self, "--planted.")
        if self.answers < 2 or self.words < 2:
            raise ConfigError(
                f"--planted.answers {self.answers} and --planted.words {self.words} must be at "
                "least 2, or there is nothing to prefer"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardEvalConfig:
    """How a reward model is measured.

    Attributes:
      batch_size: answers in each call of the model.
      bins: number of bins of the calibration.
      resamples: number of resamples of the bootstrap over test prompts.
    """

    batch_size: Count = 64
    bins: Count = 5
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardModelConfig:
    """A run that trains a reward model.

    Attributes:
      data: feedback and its split.
      planted: the simulation, if `data` is one.
      learn: what the model learns: "pairs" of better and worse answers, the "best" of the answers
        to a prompt, or their "scores" from questions and rules.
      margin: by how much the better answer of a pair shall be ahead ("pairs").
      centering: weight of the square of the sum of a pair's rewards ("pairs"); 0.01 is usual.
      normalize: normalization after training, over answers of the training part: "unit" gives mean
        0 and variance 1, "bias" mean 0, "none" changes nothing.
      samples: number of answers to normalize over; 0 takes all.
      tune: `base` is the run or model to start from, a decoder or an encoder; "" trains a decoder
        from scratch with `model`'s shape.
      model: shape of a model from scratch.
      vocab_size: size of the tokenizer of a model from scratch.
      max_length: most tokens of a prompt with an answer; longer ones are left out and counted.
      train: training; `batch_size` counts prompts, each with all of its answers.
      eval: measurements.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> RewardModelConfig(learn="best").data.name
      'planted'
    """

    system: ClassVar[str] = "jaxrec.systems.reward"

    data: FeedbackConfig = FeedbackConfig()
    planted: PlantedConfig = PlantedConfig()
    learn: Learned = "pairs"
    margin: Number = 0.0
    centering: NotNegative = 0.0
    normalize: Normalization = "unit"
    samples: Whole = 256
    tune: TuneConfig = TuneConfig()
    model: TransformerConfig = TransformerConfig(width=64, depth=1, num_heads=4)
    vocab_size: Count = 512
    max_length: Count = 64
    # About one epoch of the simulation: pairs that are seen again are soon learned by heart.
    train: TrainConfig = TrainConfig(
        steps=260,
        batch_size=32,
        lr=3e-3,
        warmup_steps=20,
        schedule="linear",
        weight_decay=0.0,
        eval_every=130,
    )
    eval: RewardEvalConfig = RewardEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that would be ignored, and tuning that moves the last token."""
        check_ranges(self, "--")
        if self.learn != "pairs" and (self.margin or self.centering):
            raise ConfigError(
                f"--margin {self.margin} and --centering {self.centering} belong to --learn pairs, "
                f"and this run learns {self.learn}; set both to 0"
            )
        if self.learn != "scores" and (self.data.criteria or self.data.rules):
            raise ConfigError(
                f"--data.criteria and --data.rules belong to --learn scores, and this run learns "
                f"{self.learn}; remove them"
            )
        if not self.data.paths and self.data.labelers:
            raise ConfigError("--data.labelers belongs to files of feedback; give --data.paths")
        if not self.data.paths and self.learn == "scores":
            raise ConfigError(
                "the simulation planted has rankings and no scores; give --data.paths, or learn "
                "pairs or best"
            )
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} puts virtual tokens before every text, which a "
                "reward model does not support; use lora, qlora, adapter or full"
            )
        if not self.tune.base and self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of an existing model, and "
                "there is none; give one as tune.base, or train everything with tune.method full"
            )
        if not self.tune.base:
            self.model.check_length(self.max_length, "--max-length", "raise --model.max-length")
