"""A run of PPO on text as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.align import PpoSettings
from jaxrec.core import ConfigError, Count, Number, Rate, check_ranges
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.train import TrainConfig

Rule = Literal["digits", "different_digits"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PpoDataConfig:
    """The text that a model from scratch learns first, and from which prompts are cut.

    Attributes:
      name: what the text is called.
      path: a text file, whose documents are separated by blank lines, JSON lines or Parquet; text
        and JSON lines may be gzipped. A relative path is looked up below JAXREC_DATA, and then in
        the working directory.
      fields: fields of a JSON line or columns of Parquet that make a document together.
      held_out: share of the documents, the last ones, that are kept for validation and test.

    Example:
      >>> PpoDataConfig(name="plays", path="tinyshakespeare/input.txt.gz").held_out
      0.1
    """

    name: str = "gsm8k"
    path: str = "gsm8k/train.jsonl.gz"
    fields: tuple[str, ...] = ("question", "answer")
    held_out: Rate = 0.1

    def __post_init__(self) -> None:
        check_ranges(self, "--data.")
        if not self.fields:
            raise ConfigError(
                "data.fields is empty; name the fields of a record that make a document"
            )
        if not self.held_out:
            raise ConfigError(
                "data.held_out 0 leaves no text for validation; give a share such as 0.1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardRunConfig:
    """A reward model that another run has trained, such as one of a `reward` config.

    Attributes:
      run: directory of the run; "" for none.
      second: take the second model of the run, which has learned from prompts of its own
        (`data.gold` of a `reward` config).
      weight: what its rewards are multiplied by.

    Raises:
      ConfigError: settings of a model without a run.

    Example:
      >>> RewardRunConfig(run="runs/align-reward", second=True).title
      'the second reward model of runs/align-reward'
    """

    run: str = ""
    second: bool = False
    weight: Number = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, "")
        if not self.run and (self.second or self.weight != 1):
            raise ConfigError(
                f"second {self.second} and weight {self.weight:g} belong to a reward model, and "
                "there is none; give the directory of its run as run, or remove them"
            )

    @property
    def title(self) -> str:
        """What messages and tables call the reward."""
        return f"the {'second ' if self.second else ''}reward model of {self.run}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PpoEvalConfig:
    """How a policy is measured.

    Attributes:
      valid_prompts: held-out prompts of each validation.
      test_prompts: held-out prompts of `jaxrec eval`.
      resamples: number of resamples of the bootstrap over prompts.
    """

    valid_prompts: Count = 64
    test_prompts: Count = 256
    resamples: Count = 1000

    def __post_init__(self) -> None:
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PpoConfig:
    """A run of PPO on text.

    Attributes:
      data: text to learn first and to cut prompts from.
      tune: `base` is the text model to start from; "" trains one from scratch with `model`'s shape.
        With "lora" or "qlora" the reference is the base without its updates.
      model: shape of a model from scratch.
      vocab_size: size of the tokenizer of a model from scratch; with 260 a token is a byte.
      window: number of tokens of a pre-training text.
      pretrain: training of a model from scratch, before PPO.
      prompt: P, number of tokens of a prompt.
      prompts: number of prompts that training draws from.
      end: text of one token that ends a response, such as a line break; "" for responses of a fixed
        length.
      reward: rule that a response is scored by: 10 times its share of "digits", or of
        "different_digits", where a digit counts once; "" for no rule.
      rule_weight: what the score of the rule is multiplied by.
      reward_run: a trained reward model. Its rewards are added to those of the rule.
      gold: rule that training does not see. Training stops when it falls while the reward rises,
        and it ranks the checkpoints; "" for none.
      gold_run: a trained reward model in place of the rule `gold`.
      patience: number of validations since the best gold reward after which training stops.
      value: the value network: a head on the states of the policy ("shared"), or a network of its
        own that starts as a copy of the policy ("separate"). Either begins with values of 0.
      ppo: settings of PPO.
      train: optimizer of PPO. A step is one minibatch; `batch_size` is its number of episodes.
      eval: measurements.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> PpoConfig(ppo=PpoSettings(minibatches=2, epochs=4)).episodes
      128
    """

    system: ClassVar[str] = "jaxrec.systems.ppo"

    data: PpoDataConfig = PpoDataConfig()
    tune: TuneConfig = TuneConfig()
    model: TransformerConfig = TransformerConfig(
        width=128, depth=4, num_heads=4, positions="learned", gated=False, activation="gelu"
    )
    vocab_size: Count = 260
    window: Count = 128
    pretrain: TrainConfig = TrainConfig(steps=500, batch_size=20, lr=3e-3)
    prompt: Count = 24
    prompts: Count = 4096
    end: str = ""
    reward: Literal["", "digits", "different_digits"] = "digits"
    rule_weight: Number = 1.0
    reward_run: RewardRunConfig = RewardRunConfig()
    gold: Literal["", "digits", "different_digits"] = ""
    gold_run: RewardRunConfig = RewardRunConfig()
    patience: Count = 2
    value: Literal["shared", "separate"] = "shared"
    ppo: PpoSettings = PpoSettings()
    train: TrainConfig = TrainConfig(
        lr=1e-4,
        warmup_steps=0,
        schedule="linear",
        weight_decay=0.0,
        beta2=0.999,
        eps=1e-5,
        max_loss_ratio=0.0,
    )
    eval: PpoEvalConfig = PpoEvalConfig()

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} puts virtual tokens before every text, which PPO "
                "does not support; use lora, qlora, adapter or full"
            )
        if not self.tune.base and self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of an existing model, and "
                "there is none; give one as tune.base, or train everything with tune.method full"
            )
        self._check_rewards()
        if not self.end and (self.ppo.unended_score is not None or self.ppo.unended_penalty):
            raise ConfigError(
                "ppo.unended_score and ppo.unended_penalty have no effect, because nothing ends a "
                "response; set end to a text such as a line break, or remove them"
            )
        if self.train.ema_decay:
            raise ConfigError(
                f"train.ema_decay {self.train.ema_decay:g} would measure another policy than the "
                "one that writes; set it to 0"
            )

    def _check_rewards(self) -> None:
        """Reject settings without a reward, and a gold reward that training sees."""
        if not self.reward and not self.reward_run.run:
            raise ConfigError(
                'reward "" leaves nothing to learn from; name a rule, or give the run of a reward '
                "model as reward_run.run"
            )
        if not self.reward and self.rule_weight != 1:
            raise ConfigError(
                f"rule_weight {self.rule_weight:g} has no effect, because reward names no rule; "
                "name one, or weigh the model by reward_run.weight"
            )
        if self.gold and self.gold == self.reward:
            raise ConfigError(
                f"gold {self.gold!r} is the reward itself, which training sees; choose another, or "
                'gold ""'
            )
        if self.gold and self.gold_run.run:
            raise ConfigError(
                f"gold {self.gold!r} and gold_run.run {self.gold_run.run} are two gold rewards; "
                "give one of them"
            )
        one, other = self.reward_run, self.gold_run
        if other.run and (one.run, one.second) == (other.run, other.second):
            raise ConfigError(
                f"gold_run.run {other.run} is the reward itself, which training sees; give another "
                "run, or take its second model by gold_run.second"
            )

    @property
    def has_gold(self) -> bool:
        """Whether there is a reward that training does not see."""
        return bool(self.gold or self.gold_run.run)

    @property
    def episodes(self) -> int:
        """Number of episodes of a rollout."""
        return self.train.batch_size * self.ppo.minibatches
