"""An LLM4RS run as one frozen value."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from jaxrec.core import (
    ConfigError,
    Count,
    Number,
    PositiveShare,
    Range,
    Seed,
    Share,
    Whole,
    check_ranges,
    flatten,
    nearest,
)
from jaxrec.data import DataConfig, Template
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.texts import SOURCES, AskedModelConfig
from jaxrec.train import TrainConfig

Form = Literal["point", "pair", "list"]
Answers = Literal["free", "constrained"]
Domain = Literal["movies", "books", "music", "news", "items"]
# The holes that a template of each form may have.
HOLES = {
    "point": ("history", "candidate", "one", "many", "used"),
    "pair": ("history", "first", "second", "one", "many", "used"),
    "list": ("history", "candidates", "one", "many", "used"),
}
# Those that it must have: without them all prompts of an instance would be equal.
_NEEDED = {"point": ("candidate",), "pair": ("first", "second"), "list": ("candidates",)}
# See `baseline_scores`.
BASELINES = ("popularity", "likes", "item-mean", "item-knn", "mf", "ncf")
# Settings of a training, which a model that is asked as it is does not have.
_TRAINED = ("draws", "shortened", "max_length", "train", "tune", "model", "vocab_size")
# Demonstrations come from so many instances, as published.
POOL = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstancesConfig:
    """How instances are made of ratings: a history, and candidates of which the user likes one.

    Attributes:
      file: file of instances of your own, see `texts.read_candidate_sets`; "" builds them. With a
        file, the other settings still say how validation instances and training texts are made of
        the ratings outside it.
      history: number of liked items before the target that a prompt shows.
      candidates: number of items to rank.
      threshold: a user likes an item with this rating or a higher one. Clicks are ratings of 1 and
        0 with the threshold 1.
      min_positives: a user needs so many liked items.
      min_negatives: a user needs so many items that are not liked.
      targets: number of newest liked items of each user that become the target of an instance.
      seed: seed of the negatives, of their order and of that of the instances.
    """

    file: str = ""
    history: Count = 5
    candidates: Annotated[int, Range(2, 26)] = 5
    threshold: Number = 4.0
    min_positives: Count = 12
    min_negatives: Count = 10
    targets: Count = 2
    seed: Seed = 2023

    def __post_init__(self) -> None:
        """Reject settings that leave a user without candidates or without a history."""
        check_ranges(self, "--instances.")
        if self.file and self.targets != InstancesConfig.targets:
            raise ConfigError(
                f"--instances.targets {self.targets} is not read with --instances.file "
                f"{self.file}; leave one of them out"
            )
        if self.min_negatives < self.candidates - 1:
            raise ConfigError(
                f"--instances.min-negatives {self.min_negatives} is less than the "
                f"{self.candidates - 1} negatives that an instance needs; raise it"
            )
        if self.min_positives <= self.targets:
            raise ConfigError(
                f"--instances.min-positives {self.min_positives} must be above "
                f"--instances.targets {self.targets}, so that a history is left; raise it"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """How an instance is written.

    Attributes:
      domain: decides the words for items and for what users do with them.
      demonstrations: number of demonstrations in front of a query, at most 5; 0 for none.
      quoted: write titles in quotation marks. A model from scratch has each quoted title as one
        token.
      role: begin a prompt by the sentence that names the domain.
      point: template of your own for the point-wise form, with {history} and {candidate}; "" for
        the one of this library. All templates may use {one}, {many} and {used}, the words of the
        domain, and end where the answer begins.
      pair: template of the pair-wise form, with {history}, {first} and {second}.
      list: template of the list-wise form, with {history} and {candidates}.

    Raises:
      ConfigError: more demonstrations than instances to take them from, or a template with an
        unknown hole or without one that it needs.
    """

    domain: Domain = "movies"
    demonstrations: Annotated[int, Range(0, POOL)] = 0
    quoted: bool = False
    role: bool = True
    point: str = ""
    pair: str = ""
    list: str = ""

    def __post_init__(self) -> None:
        """Reject templates that the instances cannot fill."""
        check_ranges(self, "--prompt.")
        for form in get_args(Form):
            text = getattr(self, form)
            if not text:
                continue
            found = Template(name=form, source=text, target="").holes
            for hole in sorted(found - set(HOLES[form])):
                raise ConfigError(
                    f"--prompt.{form} asks for {{{hole}}}, which an instance does not give"
                    f"{nearest(hole, HOLES[form])}; holes: {', '.join(HOLES[form])}"
                )
            for hole in _NEEDED[form]:
                if hole not in found:
                    raise ConfigError(
                        f"--prompt.{form} does not have {{{hole}}}, which is asked about; add it"
                    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskConfig:
    """What the model is asked, and what stands beside it.

    Attributes:
      forms: "point" asks for a rating of each candidate, "pair" for the better one of each two,
        "list" for an ordering of all. The first form gives the row of the model, and ranks
        checkpoints.
      answers: "free" reads what the model writes; "constrained" compares the likelihoods of the
        legal answers, so that every answer is legal. The first one gives the row of the model.
      baselines: some of `BASELINES`.
      curve: shares of the training ratings with which "mf" and "ncf" are fitted for the table
        that shows how much data they need; () for no such table.
      valid_instances: number of validation instances.
      test_instances: number of test instances; 0 for all.
      shuffles: number of further orders of the candidates in which the list-wise form is asked, to
        measure how the place of a candidate changes its rank; 0 for none, otherwise at least 2.
      batch: number of prompts in each call of the model.
      failures: number of prompts in a row that a service may fail to answer.
      resamples: number of resamples of the bootstrap over users.
    """

    forms: tuple[Form, ...] = ("list", "pair", "point")
    answers: tuple[Answers, ...] = ("constrained", "free")
    baselines: tuple[str, ...] = ("popularity", "likes", "item-mean", "item-knn", "mf")
    curve: tuple[PositiveShare, ...] = ()
    valid_instances: Count = 200
    test_instances: Whole = 0
    shuffles: Whole = 5
    batch: Count = 256
    failures: Whole = 3
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject unknown, empty and repeated choices."""
        check_ranges(self, "--eval.")
        for name, allowed in (("forms", get_args(Form)), ("answers", get_args(Answers))):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given) or set(given) - set(allowed):
                raise ConfigError(
                    f"--eval.{name} must be different ones of {', '.join(allowed)}, got {given}"
                )
        for setting in ("baselines", "curve"):
            given = getattr(self, setting)
            if len(set(given)) < len(given):
                raise ConfigError(
                    f"--eval.{setting} has something twice, got {given}; leave one out"
                )
        for name in self.baselines:
            if name not in BASELINES:
                raise ConfigError(
                    f"no baseline {name!r}{nearest(name, BASELINES)}; baselines: "
                    f"{', '.join(BASELINES)}"
                )
        if self.shuffles == 1:
            raise ConfigError("--eval.shuffles 1 has no spread; give 0, or at least 2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Llm4rsConfig:
    """A run of LLM4RS.

    Attributes:
      data: interactions with ratings.
      instances: how they become instances.
      prompt: how an instance is written.
      asked: a language model that is asked as it is. Without one, the run trains its own.
      draws: number of training texts of each form for every liked item, with negatives and orders
        drawn anew.
      shortened: share of the training texts whose history is cut to a random length, see
        `training_texts`.
      max_length: most tokens of a training text.
      train: training. Checkpoints are ranked by NDCG@3 on validation instances.
      tune: `base` is the text model to start from; "" starts from scratch with `model`'s shape.
      model: shape of a model from scratch.
      vocab_size: size of the tokenizer of a model from scratch, titles not counted.
      eval: measurements.

    Raises:
      ConfigError: settings that contradict each other.

    Example:
      >>> from jaxrec.systems.llm4rs import Llm4rsConfig, PromptConfig
      >>> Llm4rsConfig(prompt=PromptConfig(domain="books", demonstrations=1)).instances.candidates
      5
    """

    system: ClassVar[str] = "jaxrec.systems.llm4rs"

    data: DataConfig = DataConfig(min_count=0)
    instances: InstancesConfig = InstancesConfig()
    prompt: PromptConfig = PromptConfig()
    asked: AskedModelConfig = AskedModelConfig()
    draws: Count = 1
    shortened: Share = 0.0
    max_length: Count = 512
    train: TrainConfig = TrainConfig(steps=1000)
    tune: TuneConfig = TuneConfig()
    model: TransformerConfig = TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.1)
    vocab_size: Count = 300
    eval: AskConfig = AskConfig()

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        check_ranges(self, "--")
        self.asked.check_counted()
        if self.asked.given and self.tune.base:
            raise ConfigError(
                f"--tune.base {self.tune.base} is tuned, and the model of --asked is asked as it "
                "is; leave one out"
            )
        if self.asked.given:
            self._check_untrained()
        if not self.tune.base and self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of an existing model, and "
                "there is none; give one as tune.base, or train everything with tune.method full"
            )
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} puts virtual tokens before every text, which "
                "LLM4RS does not support; use lora, qlora, adapter or full"
            )
        if self.asked.endpoint and self.asked.kind == "chat" and "constrained" in self.eval.answers:
            raise ConfigError(
                "a chat has no likelihoods, which constrained answers need; set --asked.kind "
                "completions, or --eval.answers free"
            )

    @property
    def ignored(self) -> frozenset[str]:
        """Names of the settings that this run does not read: those of a training, if it asks."""
        return frozenset(_TRAINED if self.asked.given else ())

    @staticmethod
    def of_earlier(settings: Mapping[str, Any]) -> dict[str, Any]:
        """Drop what a run of an earlier version stored beside a model that it asked.

        Args:
          settings: of a `config.json`.
        """
        asked = settings.get("asked")
        if not (isinstance(asked, dict) and any(asked.get(k) for k in SOURCES)):
            return dict(settings)
        left = {name: value for name, value in settings.items() if name not in _TRAINED}
        train = settings.get("train")
        if isinstance(train, dict) and "seed" in train:
            default = dataclasses.asdict(Llm4rsConfig.train)
            left["train"] = default | {"seed": train["seed"]}
        return left

    def _check_untrained(self) -> None:
        """Reject settings of a training beside a model that is asked as it is."""
        for field in dataclasses.fields(self):
            value, default = getattr(self, field.name), getattr(Llm4rsConfig, field.name)
            if field.name == "train":
                # The seed is also that of the baselines.
                value = dataclasses.replace(value, seed=default.seed)
            if field.name not in _TRAINED or value == default:
                continue
            name = field.name
            if dataclasses.is_dataclass(value):
                inner = dict(flatten(value)), dict(flatten(default))
                part = next(key for key in inner[0] if inner[0][key] != inner[1].get(key))
                name, value = f"{name}.{part}", inner[0][part]
            raise ConfigError(
                f"--{name.replace('_', '-')} {value} is of a training, and the model of --asked is "
                "asked as it is; leave one of them out"
            )
