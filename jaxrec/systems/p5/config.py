"""A P5 run as one frozen value."""

import dataclasses
from typing import Annotated, ClassVar

from jaxrec.core import (
    ConfigError,
    Count,
    MeshConfig,
    Range,
    ShardingRules,
    Whole,
    check_ranges,
)
from jaxrec.data import DataConfig
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.runs import SampledEvalConfig, SearchConfig, check_counting
from jaxrec.systems.p5.tasks import TASKS, ranks_catalogue
from jaxrec.texts import Writing, find_tasks
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class P5Config:
    """A run: data, IDs, tasks, model, training, decoding, evaluation.

    Attributes:
      max_items: number of most recent items of a history that a prompt shows.
      max_targets: prompts with a history ask for this many most recent training interactions of
        each user; 0 for all. An evaluation asks for what a user meets last, and recent interactions
        are the most similar to that.
      history_users: name the user in prompts with a history too, as published. Without it, the
        history is all that such a prompt tells of its user.
      tasks: tasks to train, see `systems/p5/tasks.py`.
      rows: number of rows of each task in every batch; they add up to `train.batch_size`.
      groups: largest number of different lengths that the rows of a batch are padded to.
      item_names: "tokens" writes each code of an ID as one token, "numbers" as text that the
        tokenizer cuts (P5's default).
      user_names: "tokens" writes each user as one token, "numbers" as text.
      candidates: number of items to choose from, the target among them.
      held_out_reviews: keep ratings and reviews of held-out items in the training prompts, as
        published; they tell the model which items those are.
      reviews: file of the Amazon reviews that the data were read from; "" for synthetic ones.
      text_tokens: size of the text vocabulary.
      data: interactions and their split.
      ids: how items get IDs.
      model: shape, by default a small T5 (Raffel et al. 2020); `word_rows` 0 leaves out whole-word
        embeddings. Its vocabulary follows from the tokenizer. Embeddings enter at T5's scale, a
        root mean square of 1, because a user's token is too rare to grow to it.
      train: training.
      decode: search for items.
      eval: evaluation and baselines.
      mesh: devices.
      sharding: where parameters and batches lie.

    Example:
      >>> from jaxrec.systems.p5 import P5Config
      >>> P5Config(tasks=("rating",), rows=(128,)).ranks
      False
    """

    system: ClassVar[str] = "jaxrec.systems.p5"

    @property
    def ranks(self) -> bool:
        """Whether a task ranks the whole catalogue, which `System.rank` needs."""
        return any(ranks_catalogue(TASKS[task]) for task in self.tasks)

    max_items: Count = 20
    max_targets: Whole = 0
    history_users: bool = True
    tasks: tuple[str, ...] = ("sequential", "straightforward")
    rows: tuple[Count, ...] = (96, 32)
    groups: Count = 3
    item_names: Writing = "tokens"
    user_names: Writing = "tokens"
    candidates: Annotated[int, Range(2, 2**31 - 1)] = 100
    held_out_reviews: bool = False
    reviews: str = ""
    text_tokens: Count = 600
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
        check_ranges(self, "--")
        find_tasks(self.tasks, TASKS)
        if sum(self.rows) != self.train.batch_size or len(self.rows) != len(self.tasks):
            raise ConfigError(
                f"rows {self.rows} must be one number for each of {len(self.tasks)} tasks, and add "
                f"up to train.batch_size {self.train.batch_size}"
            )
        if self.model.read_only:
            raise ConfigError(
                f"model.read_only is {self.model.read_only}, but it follows from the number of "
                "users; leave it at 0"
            )
        check_counting(self.eval.baselines, "P5")
        if max(self.eval.ks) > self.decode.beams:
            raise ConfigError(
                f"eval.ks asks for the top {max(self.eval.ks)}, and decode.beams finds only "
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
    """The same run with each of `INDEXES`, by the name of the index.

    Example:
      >>> from jaxrec.systems.p5 import P5Config, of_indexes
      >>> list(of_indexes(P5Config()))
      ['independent', 'random', 'sequential', 'collaborative', 'cid+iid']
    """
    return {name: dataclasses.replace(config, ids=ids) for name, ids in INDEXES.items()}
