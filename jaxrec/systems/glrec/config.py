"""A GLRec run as one frozen value."""

import dataclasses
import itertools
from typing import ClassVar, Literal

from jaxrec.core import (
    ConfigError,
    Count,
    Number,
    Positive,
    Share,
    Whole,
    check_ranges,
)
from jaxrec.data import Template
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.systems.glrec.paths import MetaPath
from jaxrec.texts import ClickDataConfig, ClickSplit, as_click_data
from jaxrec.train import TrainConfig

Order = Literal["ranked", "shuffle", "selector", "hybrid"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathsConfig:
    """The behaviour graph, and the paths through it that a prompt says.

    Attributes:
      count: M, most paths for each item asked about; 0 for none, which is TALLRec's prompt.
      shapes: meta-paths, which take turns; see `jaxrec.systems.glrec.paths`.
      bounds: ascending ratings that divide the edges into types: an edge has the first type if its
        rating is at most the first bound. One of them is the threshold of a like.
      verbs: what the prompt calls an edge of each type. A table of a recruiting site has codes in
        its column of ratings, such as 1 and 2 for "messaged" and "interviewed for".
      overlap: paths whose words overlap by more (Jaccard index) are near duplicates, of which the
        prompt has one.
      user_text: what the prompt calls a user; {id} is the original ID, and the fields of the users
        have their names, as in "a {age}-year-old {occupation}".
      planted: replace the paths by made-up ones, of which one tells the answer. It is a probe of
        the selector, see `jaxrec.systems.glrec.planted`.
    """

    count: Whole = 3
    shapes: tuple[MetaPath, ...] = ("user-item-user",)
    bounds: tuple[Number, ...] = (3.0,)
    verbs: tuple[str, ...] = ("disliked", "liked")
    overlap: Share = 0.3
    user_text: str = "user {id}"
    planted: bool = False

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        check_ranges(self, "--paths.")
        if not self.shapes or len(set(self.shapes)) < len(self.shapes):
            raise ConfigError(f"paths.shapes {self.shapes} must be one or more different shapes")
        if any(a >= b for a, b in itertools.pairwise(self.bounds)) or not self.bounds:
            raise ConfigError(
                f"paths.bounds {self.bounds} must be one or more ascending ratings, such as 3.0"
            )
        if len(self.verbs) != len(self.bounds) + 1 or not all(self.verbs):
            raise ConfigError(
                f"paths.verbs {self.verbs} must be {len(self.bounds) + 1} texts, one for each type "
                f"of edge that paths.bounds {self.bounds} divide"
            )
        if len(set(self.verbs)) < len(self.verbs):
            raise ConfigError(
                f"paths.verbs {self.verbs} call different types of edges the same; give each one a "
                "verb of its own"
            )
        Template(name="paths.user_text", source=self.user_text, target="")

    def liked_from(self, threshold: float) -> int:
        """The lowest type of edge that means a like.

        Args:
          threshold: an item is liked if its rating is above this.

        Raises:
          ConfigError: no bound is the threshold, so that a type would hold likes and others.
        """
        if threshold not in self.bounds:
            raise ConfigError(
                f"paths.bounds {self.bounds} do not have the threshold {threshold:g} among them, "
                "so an edge would not say whether the item was liked; add it to paths.bounds, with "
                "a verb in paths.verbs"
            )
        return self.bounds.index(threshold) + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlrecEvalConfig:
    """How answers are measured.

    Attributes:
      valid_windows: number of validation windows, spread evenly over users; 0 for all.
      test_windows: number of test windows, spread evenly over users; 0 for all.
      order_windows: number of test questions, spread evenly, whose paths are asked about in several
        orders; 0 for none.
      orders: most orders of a question's paths; all of them if there are no more.
      batch_size: prompts in each call of the model.
      resamples: number of resamples of the bootstrap over users.
    """

    valid_windows: Whole = 0
    test_windows: Whole = 0
    order_windows: Whole = 300
    orders: Count = 6
    batch_size: Count = 32
    resamples: Count = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        check_ranges(self, "--eval.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlrecConfig:
    """A run of GLRec.

    Attributes:
      data: interactions with ratings, or files of questions.
      split: "published" takes the last 10,000 windows, "users" takes all windows and splits them by
        users. Files are split already, and `history` and `threshold` are of ratings too.
      history: number of items of a window before the one asked about.
      threshold: an item is liked if its rating is above this.
      kind: what an item is called.
      shots: number of windows to train on, drawn by the seed; 0 for all.
      form: "point" asks whether the user will like one item, "pair" which of two.
      paths: the graph and its paths.
      order: the order of the paths of a prompt. "ranked" puts the most agreeing users first.
        "shuffle" trains on each question in `shuffles` random orders. "selector" is ranked with the
        path soft selector, "hybrid" is both.
      shuffles: number of orders of each question, only with "shuffle" and "hybrid".
      strength: λ of the selector, only with "selector" and "hybrid".
      say_item: let the model also learn to write the item after the answer.
      on_prompt: learn the prompts too, and not only the answers.
      max_length: most tokens of a prompt with its answer.
      title_steps: number of steps, before the last stage, on the same questions without history
        and paths. They teach whether a title is liked at all.
      train: training. Checkpoints are ranked by the mean of two AUCs, over all questions and within
        users.
      tune: `base` is the text model to start from; "" starts from scratch with `model`'s shape.
      model: shape of a model from scratch.
      vocab_size: size of the tokenizer of a model from scratch, titles and users not counted.
      eval: measurements.

    Example:
      >>> from jaxrec.systems.glrec import GlrecConfig
      >>> GlrecConfig(order="shuffle").shuffles
      2
    """

    system: ClassVar[str] = "jaxrec.systems.glrec"

    data: ClickDataConfig = ClickDataConfig(min_count=0)
    split: ClickSplit = "users"
    history: Count = 10
    threshold: Number = 3.0
    kind: str = "movie"
    shots: Whole = 0
    form: Literal["point", "pair"] = "point"
    paths: PathsConfig = PathsConfig()
    order: Order = "hybrid"
    shuffles: Count = 2
    strength: Positive = 0.1
    say_item: bool = False
    on_prompt: bool = False
    max_length: Count = 512
    title_steps: Whole = 0
    train: TrainConfig = TrainConfig(steps=1000)
    tune: TuneConfig = TuneConfig()
    model: TransformerConfig = TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.2)
    vocab_size: Count = 1000
    eval: GlrecEvalConfig = GlrecEvalConfig()

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        object.__setattr__(self, "data", as_click_data(self.data))
        check_ranges(self, "--")
        if not self.kind.strip():
            raise ConfigError("kind is empty; give what an item is called, such as movie")
        if self.data.from_records:
            if self.paths.count and len(self.paths.verbs) != 2:
                raise ConfigError(
                    "files of questions tell two types of edges, and paths.verbs has "
                    f"{len(self.paths.verbs)}; give two verbs and one bound"
                )
        else:
            self.paths.liked_from(self.threshold)
        if self.paths.count < 2 and self.order != "ranked" and not self.paths.planted:
            raise ConfigError(
                f"order {self.order} is of several paths, and paths.count is {self.paths.count}; "
                "set order ranked, or raise paths.count"
            )
        for name, read, orders in (
            ("shuffles", bool(self.copies), "shuffle or hybrid"),
            ("strength", self.selects, "selector or hybrid"),
        ):
            value = getattr(self, name)
            if not read and value != getattr(GlrecConfig, name):
                raise ConfigError(
                    f"--{name} {value} is not read with --order {self.order}; leave it out, or set "
                    f"--order {orders}"
                )
        if self.paths.planted and (self.paths.count < 2 or self.form == "pair"):
            raise ConfigError(
                "paths.planted needs form point and a paths.count of at least 2, so that one of "
                f"several paths tells the answer; got {self.form} and {self.paths.count}"
            )
        if not self.tune.base and self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of an existing model, and "
                "there is none; give one as tune.base, or train everything with tune.method full"
            )
        if self.tune.method in ("prefix", "prompt"):
            raise ConfigError(
                f"tune.method {self.tune.method} puts virtual tokens before every text, which "
                "GLRec does not support; use lora, qlora, adapter or full"
            )

    @property
    def selects(self) -> bool:
        """Whether the model has a path selector."""
        return self.order in ("selector", "hybrid")

    @property
    def copies(self) -> int:
        """Number of random orders in which training asks each question; 0 for the ranked one."""
        return self.shuffles if self.order in ("shuffle", "hybrid") else 0
