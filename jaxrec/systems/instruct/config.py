"""A run of instruction tuning as one frozen value."""

import dataclasses
from typing import ClassVar, cast, get_args

from jaxrec.core import ConfigError, Count, Rate, Seed, Whole, check_ranges, nearest
from jaxrec.data import BPE_TOKENS
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.texts import FRAMES, Frame, Style, check_styles
from jaxrec.train import TrainConfig

_LEAST_VOCABULARY = 256 + len(BPE_TOKENS)  # bytes and special tokens
# Names of known tasks, among paths of descriptions: those that are made up, O*NET's, and those of
# rated films.
TOY, OCCUPATIONS, FILMS = "toy", "occupations", "films"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstructDataConfig:
    """What is learned, and what is held out.

    Attributes:
      name: what the data are called.
      tasks: "toy" for the tasks of `toy_tasks`, "occupations" for those of `occupation_tasks`,
        "films" for those of `film_tasks`, and paths of task descriptions.
      records: paths of files of instructions, see `data.read_instructions`.
      chats: paths of files of chats, see `texts.read_chats`.
      held_out_tasks: names of tasks, or of clusters of tasks, that are measured and not trained.
      toy_rows: number of data of each toy task.
      film_rows: number of questions of each task about films, see `film_tasks`.
      film_lists: number of lists of films with answers.
      valid_share: share of the data that ranks checkpoints.
      test_share: share of the data that is measured.
      chat_prefix: chats whose prompts agree in so many first characters are duplicates.
      chats_per_user: most chats of a user.
      seed: of the split, of the toy tasks and of the tasks about films.
    """

    name: str = "instructions"
    tasks: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    chats: tuple[str, ...] = ()
    held_out_tasks: tuple[str, ...] = ()
    toy_rows: Count = 1000
    film_rows: Count = 4000
    film_lists: Count = 4000
    valid_share: Rate = 0.05
    test_share: Rate = 0.1
    chat_prefix: Count = 200
    chats_per_user: Count = 200
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject data that leave nothing to train on."""
        check_ranges(self, "--data.")
        if self.valid_share + self.test_share >= 1:
            raise ConfigError(
                f"data.valid_share {self.valid_share} and data.test_share {self.test_share} leave "
                "nothing to train on; lower them"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WritingConfig:
    """How data become training texts.

    Attributes:
      frame: "alpaca" for Alpaca's two texts, "chat" for the tokenizer's chat template, "plain" for
        the instruction as it is. Chats are always written by the chat template.
      styles: of task data sets, drawn for each datum: zero or few shots, with or without options.
      per_datum: number of different templates of each datum; 0 for all seen ones.
      shots: number of examples in few-shot texts.
      shot_words: most words of a prompt with examples.
      cap: most examples of a set in an epoch of the mixture; 0 for no limit.
      max_length: most tokens of a text, and tokens of a row.
      packed: put several texts into a row.
    """

    frame: Frame = "alpaca"
    styles: tuple[str, ...] = ("zsopt",)
    per_datum: Whole = 1
    shots: Count = 3
    shot_words: Count = 400
    cap: Whole = 3000
    max_length: Count = 512
    packed: bool = True

    def __post_init__(self) -> None:
        """Reject unknown names."""
        check_ranges(self, "--writing.")
        check_styles(self.styles)
        if self.frame not in get_args(Frame):
            raise ConfigError(
                f"writing.frame must be one of {', '.join(FRAMES)}, got {self.frame!r}"
                f"{nearest(self.frame, FRAMES)}"
            )

    @property
    def chosen_styles(self) -> tuple[Style, ...]:
        """The styles, which are checked."""
        return cast(tuple[Style, ...], self.styles)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstructEvalConfig:
    """How answers are measured.

    Attributes:
      valid_instances: most instances of each validation, over all tasks; 0 for all.
      test_instances: most instances of each task in a measurement; 0 for all.
      max_tokens: most tokens of an answer.
      batch_size: prompts in each call of the model.
      resamples: number of resamples of the bootstrap over instances.
    """

    valid_instances: Whole = 200
    test_instances: Whole = 50
    max_tokens: Count = 64
    batch_size: Count = 64
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstructConfig:
    """A run of instruction tuning.

    Attributes:
      data: what is learned.
      writing: how it is written.
      plain_steps: number of steps of next-token training on the same data as plain text, without
        instructions, before the tuning; 0 for none. The untuned model of a measurement is the one
        after these steps.
      train: training on instructions. Checkpoints are ranked by ROUGE-L of greedy answers on
        validation data.
      tune: `base` is the text model to start from; "" starts from scratch with `model`'s shape.
      model: shape of a model from scratch.
      vocab_size: size of the tokenizer of a model from scratch.
      eval: measurements.

    Example:
      >>> from jaxrec.systems.instruct import InstructConfig, InstructDataConfig
      >>> InstructConfig(data=InstructDataConfig(tasks=("toy",))).writing.frame
      'alpaca'
    """

    system: ClassVar[str] = "jaxrec.systems.instruct"

    data: InstructDataConfig = InstructDataConfig(tasks=(TOY,))
    writing: WritingConfig = WritingConfig()
    plain_steps: Whole = 0
    train: TrainConfig = TrainConfig(steps=1000)
    tune: TuneConfig = TuneConfig()
    model: TransformerConfig = TransformerConfig(width=128, depth=4, num_heads=4)
    vocab_size: Count = 1000
    eval: InstructEvalConfig = InstructEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        check_ranges(self, "--")
        if not (self.data.tasks or self.data.records or self.data.chats):
            raise ConfigError(
                "there is nothing to learn: data.tasks, data.records and data.chats are empty; "
                'give paths, or data.tasks ("toy",)'
            )
        if not self.tune.base and self.vocab_size < _LEAST_VOCABULARY:
            raise ConfigError(
                f"vocab_size {self.vocab_size} cannot hold 256 bytes and {len(BPE_TOKENS)} special "
                f"tokens; give at least {_LEAST_VOCABULARY}"
            )
        if not self.tune.base and self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of an existing model, and "
                "there is none; give one as tune.base, or train everything with tune.method full"
            )
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} puts virtual tokens before every text, which "
                "packed rows do not support; use lora, qlora, adapter or full"
            )
