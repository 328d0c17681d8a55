"""A TALLRec run as one frozen value."""

import dataclasses
from typing import ClassVar

from jaxrec.core import ConfigError, Count, Number, Whole, check_ranges
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.texts import ClickDataConfig, ClickSplit, as_click_data, clicks as click_table
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClickEvalConfig:
    """How answers are measured.

    Attributes:
      baselines: some of `texts.clicks.BASELINES`, trained on the same windows.
      valid_windows: number of validation windows, spread evenly over users; 0 for all.
      test_windows: number of test windows, spread evenly over users; 0 for all.
      batch_size: prompts in each call of the model.
      resamples: number of resamples of the bootstrap over users.
    """

    baselines: tuple[str, ...] = ("gru4rec", "caser", "sasrec", "dros")
    valid_windows: Whole = 0
    test_windows: Whole = 0
    batch_size: Count = 32
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TallrecConfig:
    """A run of TALLRec.

    Attributes:
      data: interactions with ratings, or files of questions.
      split: "published" takes the last 10,000 windows, "users" takes all windows and splits them by
        users. Files are split already, and `history` and `threshold` are of ratings too.
      history: number of items of a window before the one asked about.
      threshold: an item is liked if its rating is above this.
      kind: what an item is called.
      shots: number of windows to train on, drawn by the seed; 0 for all.
      parts: number of further questions about each of these windows, each with a random part of
        its history. They make the model learn from the title asked about.
      on_prompt: learn the prompts too, as published, and not only the answers.
      max_length: most tokens of a prompt with its answer.
      instructions: file of the first stage's instructions (a JSON list or JSON lines, see
        `read_instructions`); "" for no first stage.
      instruct: training of the first stage.
      title_steps: number of steps, before the last stage, on the same questions without any
        history. They teach whether a title is liked at all, which a small model does not learn
        beside the number of liked titles.
      train: training of the last stage. Checkpoints are ranked by the mean of two AUCs, over all
        questions and within users, because the first alone does not tell a model that counts likes
        from one that reads titles.
      tune: `base` is the text model to start from; "" starts from scratch with `model`'s shape.
      model: shape of a model from scratch.
      vocab_size: size of the tokenizer of a model from scratch, titles not counted.
      eval: measurements.

    Example:
      >>> from jaxrec.systems.tallrec import TallrecConfig
      >>> TallrecConfig(shots=64).history
      10
    """

    system: ClassVar[str] = "jaxrec.systems.tallrec"

    data: ClickDataConfig = ClickDataConfig(min_count=0)
    split: ClickSplit = "published"
    history: Count = 10
    threshold: Number = 3.0
    kind: str = "movie"
    shots: Whole = 0
    parts: Whole = 0
    on_prompt: bool = True
    max_length: Count = 512
    instructions: str = ""
    instruct: TrainConfig = TrainConfig(steps=200)
    title_steps: Whole = 0
    train: TrainConfig = TrainConfig(steps=1000)
    tune: TuneConfig = TuneConfig()
    model: TransformerConfig = TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.2)
    vocab_size: Count = 1000
    eval: ClickEvalConfig = ClickEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        object.__setattr__(self, "data", as_click_data(self.data))
        check_ranges(self, "--")
        for name in self.eval.baselines:
            click_table.check(name)
        if not self.tune.base and self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of an existing model, and "
                "there is none; give one as tune.base, or train everything with tune.method full"
            )
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} puts virtual tokens before every text, which "
                "TALLRec does not support; use lora, qlora, adapter or full"
            )
