"""A TALLRec run as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.core import ConfigError
from jaxrec.data import DataConfig
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.texts import clicks as click_table
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClickEvalConfig:
    """How answers are measured.

    Attributes:
      baselines: of `click_table.BASELINES`, trained on the same windows.
      valid_windows: of a validation, spread evenly; 0 for all.
      test_windows: likewise of the test.
      batch_size: prompts a call.
      resamples: of the bootstrap over users.
    """

    baselines: tuple[str, ...] = ("gru4rec", "caser", "sasrec", "dros")
    valid_windows: int = 0
    test_windows: int = 0
    batch_size: int = 32
    resamples: int = 1000

    def __post_init__(self) -> None:
        """Reject numbers that nothing can be measured with."""
        least = {"valid_windows": 0, "test_windows": 0, "batch_size": 1, "resamples": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfigError(f"eval.{name} must be at least {low}, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TallrecConfig:
    """A run of TALLRec.

    Attributes:
      data: interactions with ratings.
      split: the last 10,000 windows as published, or all windows, split by users.
      history: items of a window before the one asked for.
      threshold: an item is liked if its rating is above.
      kind: what an item is called.
      shots: windows that are trained on, drawn by the seed; 0 for all.
      parts: further questions of each of these windows, with a random part of its history: what
        is left to learn from is the title asked about.
      on_prompt: learn the prompts too, as published, and not the answers alone.
      max_length: most tokens of a prompt with its answer.
      instructions: file of the first stage's instructions (JSON list or lines, see
        `read_instructions`); "" for no first stage.
      instruct: the first stage's training.
      title_steps: of training before the last stage, on the same questions without any history:
        whether a title is liked at all, which a small model does not learn beside the number of
        liked titles.
      train: the last stage's. Checkpoints are ranked by the mean of the AUC over all and within
        users: the first alone does not tell a model that counts from one that reads.
      tune: `base` is the text model to start from, "" for one of `model`'s shape from scratch.
      model: see `tune`.
      vocab_size: of the tokenizer that is trained for a model from scratch, titles not counted.
      eval: measurements.
    """

    system: ClassVar[str] = "jaxrec.systems.tallrec"

    data: DataConfig = DataConfig(min_count=0)
    split: Literal["published", "users"] = "published"
    history: int = 10
    threshold: float = 3.0
    kind: str = "movie"
    shots: int = 0
    parts: int = 0
    on_prompt: bool = True
    max_length: int = 512
    instructions: str = ""
    instruct: TrainConfig = TrainConfig(steps=200)
    title_steps: int = 0
    train: TrainConfig = TrainConfig(steps=1000)
    tune: TuneConfig = TuneConfig()
    model: TransformerConfig = TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.2)
    vocab_size: int = 1000
    eval: ClickEvalConfig = ClickEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        for name in ("shots", "parts", "title_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in self.eval.baselines:
            click_table.check(name)
        if not self.tune.base and self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of a model that there must be "
                "already: give it as tune.base, or train all: tune.method full"
            )
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} has no place for virtual tokens in questions yet; "
                "use lora, qlora, adapter or full"
            )
