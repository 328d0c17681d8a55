"""A P5 run as one frozen value."""

import dataclasses
from typing import ClassVar

from jaxrec.core import ConfigError, MeshConfig, ShardingRules
from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.runs import SampledEvalConfig, SearchConfig, check_counting
from jaxrec.systems.p5.prompts import CATALOGUE, MEASURED, TEMPLATES
from jaxrec.texts import Writing
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class P5Config:
    """A run: data, IDs, tasks, model, training, decoding, evaluation.

    Attributes:
      max_items: most recent items of a history that a prompt shows.
      max_targets: most recent training interactions of a user that prompts with a history ask for;
        0 for all. What is measured is what a user meets last, and recent ones are the nearest.
      history_users: prompts with a history name their user too, as published; otherwise the history
        is all that the model is told of them.
      tasks: what is trained, see `p5_prompts`.
      rows: of each task in every batch; they add up to `train.batch_size`.
      groups: most lengths that the rows of a batch are padded to.
      item_names: IDs as tokens of their own, or as numbers that the tokenizer cuts (P5's default).
      user_names: likewise.
      candidates: items to choose from, the target among them.
      held_out_reviews: leave ratings and reviews of held-out items among the training prompts, as
        published; they tell the model which items those are.
      reviews: file of Amazon reviews that the data were read from; "" for synthetic ones.
      text_tokens: vocabulary of the text.
      model: shape, by default a small T5 (Raffel et al. 2020); `word_rows` 0 does without whole
        words. Its vocabulary follows from the rest. Embeddings enter at T5's scale, a root mean
        square of 1: a user's token is met too seldom to grow to it.
    """

    system: ClassVar[str] = "jaxrec.systems.p5"

    @property
    def ranks(self) -> bool:
        """Whether a task ranks the whole catalogue, which `System.rank` needs."""
        return bool(set(self.tasks) & set(CATALOGUE))

    max_items: int = 20
    max_targets: int = 0
    history_users: bool = True
    tasks: tuple[str, ...] = ("sequential", "straightforward")
    rows: tuple[int, ...] = (96, 32)
    groups: int = 3
    item_names: Writing = "tokens"
    user_names: Writing = "tokens"
    candidates: int = 100
    held_out_reviews: bool = False
    reviews: str = ""
    text_tokens: int = 600
    data: DataConfig = DataConfig()
    ids: IdConfig = IdConfig(scheme="independent")
    model: TransformerConfig = TransformerConfig(
        width=64,
        depth=1,
        encoder_depth=2,
        num_heads=2,
        positions="relative",
        activation="relu",
        gated=False,
        embedding_scale=8.0,
        word_rows=512,
        dropout=0.1,
    )
    train: TrainConfig = TrainConfig(batch_size=128)
    decode: SearchConfig = SearchConfig(beams=20)
    eval: SampledEvalConfig = SampledEvalConfig(baselines=("popularity", "markov"))
    mesh: MeshConfig = MeshConfig()
    sharding: ShardingRules = ShardingRules()

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        for task in self.tasks:
            if task not in TEMPLATES:
                raise ConfigError(f"no task {task!r} in tasks; known: {', '.join(TEMPLATES)}")
        if sum(self.rows) != self.train.batch_size or len(self.rows) != len(self.tasks):
            raise ConfigError(
                f"rows {self.rows} must be one number for each of {len(self.tasks)} tasks, and add "
                f"up to train.batch_size {self.train.batch_size}"
            )
        if not set(self.tasks) & set(MEASURED):
            raise ConfigError(
                f"tasks {self.tasks} hold none that ranks checkpoints; add one of "
                f"{', '.join(MEASURED)}"
            )
        if self.model.read_only:
            raise ConfigError(
                f"model.read_only {self.model.read_only} follows from the users here; leave it at 0"
            )
        if self.groups < 1:
            raise ConfigError(f"groups must be at least 1, got {self.groups}")
        if self.max_items < 1 or self.max_targets < 0 or self.candidates < 2:
            raise ConfigError(
                f"max_items must be at least 1, max_targets 0 and candidates 2, got "
                f"{self.max_items}, {self.max_targets} and {self.candidates}"
            )
        check_counting(self.eval.baselines, "P5")
        if max(self.eval.ks) > self.decode.beams:
            raise ConfigError(
                f"eval.ks asks for the top {max(self.eval.ks)}, decode.beams generates only "
                f"{self.decode.beams} items; raise decode.beams"
            )


# Ways of writing an item: random, sequential and collaborative as OpenP5 compares them (Xu et al.
# 2023, arXiv:2306.07134), the other two as Hua et al. do (2023, arXiv:2305.06569).
INDEXES = {
    "independent": IdConfig(scheme="independent"),
    "random": IdConfig(scheme="random", levels=2, size=64),
    "sequential": IdConfig(scheme="sequential", size=100),
    "collaborative": IdConfig(scheme="collaborative", clusters=10, leaf=50),
    "cid+iid": IdConfig(scheme="hybrid", hybrid="cid+iid"),
}


def of_indexes(config: P5Config) -> dict[str, P5Config]:
    """The same run with each of `INDEXES`, by its name."""
    return {name: dataclasses.replace(config, ids=ids) for name, ids in INDEXES.items()}
