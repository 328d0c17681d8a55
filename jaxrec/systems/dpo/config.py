"""A run of DPO on text as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.core import ConfigError, Count, Positive, Seed, Share, Whole, check_ranges
from jaxrec.peft import TuneConfig
from jaxrec.train import TrainConfig

# The preferences that are made and need no file of their own.
OCCUPATIONS = "occupations"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreferenceConfig:
    """The preferences to learn from, and how they are split by prompt.

    Attributes:
      name: what the preferences are called; "occupations" without files makes them of O*NET's
        descriptions by a rule, see `texts.occupation_preferences`.
      records: files of prompt, chosen and rejected answers, see `align.read_preferences`.
      feedback: files of feedback, as `jaxrec feedback serve` writes them.
      labelers: labelers of the feedback to learn from; () for all of them.
      rejected: number of rejected descriptions for each occupation.
      valid: share of the prompts for validation.
      test: share of the prompts for test.
      seed: seed of the split.

    Raises:
      ConfigError: shares that do not fit, or settings that are not read.
    """

    name: str = OCCUPATIONS
    records: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    labelers: tuple[str, ...] = ()
    rejected: Count = 1
    valid: Share = 0.05
    test: Share = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject a split without a part that is needed, and settings that are not read."""
        check_ranges(self, "--data.")
        if not self.valid or not self.test or self.valid + self.test >= 1:
            raise ConfigError(
                f"--data.valid {self.valid} and --data.test {self.test} must be above 0, and they "
                "must leave prompts to train on"
            )
        if self.name != OCCUPATIONS and not self.has_files:
            raise ConfigError(
                f"--data.name {self.name} has no files; give them by --data.records or "
                f"--data.feedback, or take {OCCUPATIONS}"
            )
        if self.has_files and self.rejected != 1:
            raise ConfigError(
                f"--data.rejected {self.rejected} belongs to the preferences {OCCUPATIONS}, and "
                "files say themselves what is rejected; remove it"
            )
        if self.labelers and not self.feedback:
            raise ConfigError("--data.labelers belongs to files of feedback; give --data.feedback")

    @property
    def has_files(self) -> bool:
        """Whether preferences are read and not made."""
        return bool(self.records or self.feedback)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DpoEvalConfig:
    """How a policy is measured.

    Attributes:
      batch_size: examples in each call of the model, and prompts that it answers at once.
      shown: number of test prompts whose answers are written and shown; 0 for none.
      max_tokens: most tokens of a shown answer.
      resamples: number of resamples of the bootstrap over test prompts.
    """

    batch_size: Count = 16
    shown: Whole = 3
    max_tokens: Count = 64
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DpoConfig:
    """A run of DPO on text.

    Attributes:
      data: preferences and their split.
      frame: how a prompt is written: "none" puts the answer right after it, "plain" on a new line,
        "alpaca" takes Alpaca's text, and "chat" the tokenizer's chat template. It should be the
        frame that the base was tuned in.
      loss: "dpo" compares each preferred answer with one rejected answer at a time, "sdpo" with all
        of them at once.
      beta: strength of the implicit KL penalty; small values let the policy go far.
      max_length: most tokens of a prompt with an answer; longer ones are left out and counted.
      tune: `base` is the text model to start from, which is also the reference. With "lora" or
        "qlora" the reference is the base without its updates.
      train: training; `batch_size` counts examples, each of them a preferred answer with what is
        rejected.
      eval: measurements.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> from jaxrec.systems.dpo import DpoConfig
      >>> DpoConfig(loss="sdpo").beta
      0.1
    """

    system: ClassVar[str] = "jaxrec.systems.dpo"

    data: PreferenceConfig = PreferenceConfig()
    frame: Literal["none", "plain", "alpaca", "chat"] = "none"
    loss: Literal["dpo", "sdpo"] = "dpo"
    beta: Positive = 0.1
    max_length: Count = 512
    tune: TuneConfig = TuneConfig()
    train: TrainConfig = TrainConfig(
        steps=200,
        batch_size=16,
        lr=1e-5,
        warmup_steps=10,
        schedule="linear",
        weight_decay=0.0,
        eval_every=50,
    )
    eval: DpoEvalConfig = DpoEvalConfig()

    def __post_init__(self) -> None:
        """Reject tuning by virtual tokens, and dropout."""
        check_ranges(self, "--")
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} puts virtual tokens before every text, which DPO "
                "does not support; use lora, qlora, adapter or full"
            )
        if self.tune.dropout:
            raise ConfigError(
                f"tune.dropout {self.tune.dropout:g} has no effect, because DPO compares "
                "log-probabilities of one policy; set it to 0"
            )
