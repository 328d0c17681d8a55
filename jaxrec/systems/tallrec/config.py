"""A TALLRec run as one frozen value."""

import dataclasses
from typing import ClassVar, Literal, get_args

from jaxrec.core import ConfigError, Count, Number, Whole, check_ranges, nearest
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


Search = Literal["none", "given", "wordings", "tokens"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """A search for the instruction of a model that stays as it is.

    Attributes:
      method: "none" tunes the model instead. "given" takes the best of `texts`, "wordings" also
        paraphrases by a grammar, and "tokens" replaces the tokens of the best of `texts` one by one
        where the gradient points (AutoPrompt, Shin et al. 2020).
      texts: instructions to begin with; empty for the published one.
      windows: number of training windows that rank instructions, spread evenly; 0 for all.
      finalists: number of instructions, best on training windows, that validation chooses from.
      rounds: of "wordings", how often the best are paraphrased.
      begin: of "wordings", number of wordings that the grammar adds in the beginning.
      keep: of "wordings", number of wordings that are paraphrased in each round.
      variants: of "wordings", number of paraphrases of each of these.
      steps: of "tokens", number of places that are looked at.
      candidates: of "tokens", number of tokens that are tried at each place.
      batch_size: of "tokens", number of windows that a gradient and a trial read.
    """

    method: Search = "none"
    texts: tuple[str, ...] = ()
    windows: Whole = 0
    finalists: Count = 5
    rounds: Whole = 3
    begin: Count = 16
    keep: Count = 4
    variants: Count = 4
    steps: Count = 100
    candidates: Count = 16
    batch_size: Count = 64

    def __post_init__(self) -> None:
        """Reject numbers out of range, unknown methods and texts that nothing reads."""
        check_ranges(self, "--search.")
        if self.method not in get_args(Search):
            raise ConfigError(
                f"search.method must be one of {', '.join(get_args(Search))}, got {self.method!r}"
                f"{nearest(self.method, get_args(Search))}"
            )
        if isinstance(self.texts, str) or not all(text.strip() for text in self.texts):
            raise ConfigError(
                f"search.texts must be a tuple of non-empty texts, got {self.texts!r}"
            )
        if self.texts and self.method == "none":
            raise ConfigError(
                "search.texts has no effect without a search; set search.method given, wordings "
                "or tokens, or give one text as instruction"
            )


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
      instruction: what the model is told to do, instead of the published instruction; "" for that.
      search: a search for the instruction, which then replaces all training.
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
    instruction: str = ""
    search: SearchConfig = SearchConfig()
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
        if self.search.method != "none":
            self._check_search()

    def _check_search(self) -> None:
        """Reject settings of a training, which a search does not have."""
        method = self.search.method
        if not self.tune.base:
            raise ConfigError(
                f"search.method {method} looks for the instruction of an existing model, and there "
                "is none; give one as tune.base"
            )
        trained = {
            "tune.method": self.tune.method != "full",
            "instructions": bool(self.instructions),
            "instruction": bool(self.instruction),
            "title_steps": bool(self.title_steps),
            "parts": bool(self.parts),
        }
        if wrong := [name for name, given in trained.items() if given]:
            raise ConfigError(
                f"search.method {method} trains no parameters and finds the instruction itself, so "
                f"{', '.join(wrong)} would have no effect; leave it as it is by default"
            )
