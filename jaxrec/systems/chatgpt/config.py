"""A study of a language model that recommends without training, as one frozen value."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from jaxrec.core import (
    ConfigError,
    Count,
    PositiveShare,
    Range,
    Seed,
    Share,
    Whole,
    check_ranges,
    nearest,
)
from jaxrec.data import DataConfig
from jaxrec.prompting import GenerateOptions
from jaxrec.runs import BaselinesConfig, Stage, check_counting
from jaxrec.systems.chatgpt.wordings import WORDINGS
from jaxrec.texts import AskedModelConfig, RepairOptions

Planted = Literal["", "neutral", "position", "malformed", "stubborn", "misspelled"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainConfig:
    """The words of a domain.

    Attributes:
      thing: what an item is called.
      things: several of them.
      used: what users did with them.
    """

    thing: str = "film"
    things: str = "films"
    used: str = "watched"

    def __post_init__(self) -> None:
        """Reject empty words, which leave a gap in every prompt."""
        for field in dataclasses.fields(self):
            if not getattr(self, field.name).strip():
                raise ConfigError(f"--domain.{field.name} is empty; give a word")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroundingConfig:
    """How written titles are mapped to items, see `texts.Grounding`.

    Attributes:
      threshold: least cosine of a title that is found by its vector, at most 1.
      encoder: directory of a sentence encoder; "" for TF-IDF of the letters.
      duplicates: what to do with titles that several items have. "error" rejects them, and "mark"
        adds the original ID to them.
    """

    threshold: PositiveShare = 0.7
    encoder: str = ""
    duplicates: Literal["error", "mark"] = "error"

    def __post_init__(self) -> None:
        """Reject a threshold out of range."""
        check_ranges(self, "--grounding.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """A script in place of a language model, which shows what the measurements find.

    Attributes:
      script: "neutral" ranks candidates by popularity, "position" by their place in the prompt for
        a share of the users, "malformed" answers illegally until it is told what is wrong often
        enough, "stubborn" never obeys, "misspelled" makes errors in titles and makes some up; ""
        for a real model.
      share: of the users, the answers or the titles that the planted fault concerns.
      complaints: most complaints until "malformed" obeys.
    """

    script: Planted = ""
    share: Share = 1.0
    complaints: Count = 2

    def __post_init__(self) -> None:
        """Reject numbers out of range, and those that nothing reads."""
        check_ranges(self, "--planted.")
        for name in ("share", "complaints"):
            value = getattr(self, name)
            if not self.script and value != getattr(PlantedConfig, name):
                raise ConfigError(
                    f"--planted.{name} {value} is read only with a --planted.script; leave it out"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatGptEvalConfig(BaselinesConfig):
    """What is measured.

    Attributes:
      stage: which held-out items are asked about; choose settings by "valid".
      test_instances: number of users, or of rows for ratings and texts, sampled once; 0 for all.
      baselines: counting baselines beside the model, fitted on all training histories.
      probe_slots: number of slots of the truth in the probe of position bias; 0 for no probe. Every
        user is asked that many times.
      resamples: number of resamples of the bootstrap over users.
    """

    stage: Stage = "test"
    test_instances: Whole = 100
    baselines: tuple[str, ...] = ("popularity", "item_knn", "markov")
    probe_slots: Whole = 0
    resamples: Count = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counting(self.baselines, "an asked model")
        if self.probe_slots == 1:
            raise ConfigError("--eval.probe-slots 1 shows no slope; give 0, or at least 2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatGptConfig:
    """A study of a language model.

    Attributes:
      data: interactions and their split.
      domain: words for items and what users do with them.
      tasks: what is asked, see `systems/chatgpt/tasks.py`.
      wordings: file of other wordings, see `read_wordings`; "" for those of the library.
      reviews: file of the Amazon reviews that the data were read from; "" for synthetic ones, which
        explanations and summaries are then about.
      max_items: number of most recent items, or ratings, that a prompt tells of its user.
      candidates: number of items to choose from, the target among them.
      top: number of items that an answer lists.
      shots: number of demonstrations in each prompt, drawn from the training part of other users;
        0 for none.
      words: most words of an explanation or a summary.
      facts: prepend what the catalogue says about the item to prompts for explanations.
      check_facts: an explanation that contradicts the catalogue is illegal, and asked for again.
      asked: the language model.
      planted: a script in its place.
      list_tokens: most tokens of an answer that is a list.
      stop: strings that end an answer. A chat model that greets first needs none.
      repair: how illegal answers are repaired.
      grounding: how written titles become items.
      eval: what is measured.
      seed: seed of the sampled users and rows, and of the demonstrations.

    Example:
      >>> from jaxrec.systems.chatgpt import ChatGptConfig
      >>> ChatGptConfig(tasks=("rating",), shots=3).candidates
      100
    """

    system: ClassVar[str] = "jaxrec.systems.chatgpt"

    data: DataConfig = DataConfig()
    domain: DomainConfig = DomainConfig()
    tasks: tuple[str, ...] = tuple(WORDINGS)
    wordings: str = ""
    reviews: str = ""
    max_items: Count = 10
    candidates: Annotated[int, Range(2, 2**31 - 1)] = 100
    top: Count = 10
    shots: Whole = 0
    words: Count = 20
    facts: bool = False
    check_facts: bool = False
    asked: AskedModelConfig = AskedModelConfig()
    planted: PlantedConfig = PlantedConfig()
    list_tokens: Count = 200
    stop: tuple[str, ...] = ("\n\n",)
    repair: RepairOptions = RepairOptions()
    grounding: GroundingConfig = GroundingConfig()
    eval: ChatGptEvalConfig = ChatGptEvalConfig()
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        check_ranges(self, "--")
        self.asked.check_counted()
        for task in self.tasks:
            if task not in WORDINGS:
                raise ConfigError(
                    f"no task {task!r} in tasks{nearest(task, WORDINGS)}; known: "
                    f"{', '.join(WORDINGS)}"
                )
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ConfigError(f"--tasks must name different tasks, at least one, got {self.tasks}")
        # What a model would reject is rejected before any work.
        GenerateOptions(stop=self.stop)
        texts = ("explanation", "summary")
        for given, about in (
            ("--facts" if self.facts else "", texts[:1]),
            ("--check-facts" if self.check_facts else "", texts[:1]),
            (f"--reviews {self.reviews}" if self.reviews else "", texts),
        ):
            if given and not set(about) & set(self.tasks):
                tasks = f"the task{'s' * (len(about) > 1)} {' and '.join(about)}"
                raise ConfigError(
                    f"{given} is about {tasks}, and --tasks has {', '.join(self.tasks)}; leave it "
                    "out"
                )
        if self.top > self.candidates or self.top < max(self.eval.ks):
            raise ConfigError(
                f"--top {self.top} must be at most --candidates {self.candidates}, and at least "
                f"the largest of --eval.ks {self.eval.ks}"
            )
        if self.eval.probe_slots > self.candidates:
            raise ConfigError(
                f"--eval.probe-slots {self.eval.probe_slots} is above --candidates "
                f"{self.candidates}"
            )
        if self.eval.probe_slots and "sequential_choose" not in self.tasks:
            raise ConfigError(
                "--eval.probe-slots probes the task sequential_choose; add it to --tasks"
            )
        if self.planted.script and self.asked.given:
            raise ConfigError(
                f"--planted.script {self.planted.script} stands in place of a model; leave out "
                "--asked"
            )
