"""A run of InstructRec as one frozen value."""

import dataclasses
from typing import Annotated, ClassVar, Literal, get_args

from jaxrec.baselines import SasrecConfig
from jaxrec.core import (
    ConfigError,
    Count,
    MeshConfig,
    Positive,
    Range,
    ShardingRules,
    Whole,
    check_ranges,
    nearest,
)
from jaxrec.data import DataConfig
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.runs import COUNTING, RankConfig, SampledEvalConfig
from jaxrec.systems.instructrec.tasks import TASKS
from jaxrec.texts import find_tasks
from jaxrec.train import TrainConfig

ItemNames = Literal["titles", "tokens"]
Normalization = Literal["sum", "mean", "pmi"]
HardBy = Literal["cooccurrence", "popularity"]
# Trained baselines that the config has settings for.
_TRAINED = ("sasrec",)

# Rows of each task in a batch. Half of them ask for the next title after a history.
ROWS: dict[str, int] = {
    "P1-I0-T2": 112,
    "P1-I1-T2": 8,
    "P1-I2-T2": 28,
    "P2-I0-T2": 6,
    "P2-I1-T2": 4,
    "P2-I2-T2": 6,
    "P0-I0-T2": 2,
    "P0-I1-T2": 6,
    "P0-I2-T2": 8,
    "P1-I0-T3": 8,
    "P1-I1-T3": 2,
    "P1-I2-T3": 4,
    "P2-I0-T3": 2,
    "P2-I1-T3": 1,
    "P2-I2-T3": 2,
    "P0-I1-T3": 1,
    "P0-I2-T3": 2,
    "P1-I0-T0": 8,
    "P1-I1-T0": 2,
    "P1-I2-T0": 3,
    "P2-I0-T0": 2,
    "P2-I1-T0": 1,
    "P2-I2-T0": 1,
    "P0-I1-T0": 1,
    "P0-I2-T0": 2,
    "P1-I0-T1": 3,
    "P1-I1-T1": 1,
    "P1-I2-T1": 2,
    "P2-I0-T1": 1,
    "P2-I1-T1": 1,
    "P2-I2-T1": 1,
    "P0-I1-T1": 1,
    "P0-I2-T1": 1,
    "swap-I1": 2,
    "swap-I2": 4,
    "swap-P1-I1": 1,
    "swap-P1-I2": 2,
    "swap-P2": 3,
    "related-I1": 2,
    "related-I2": 2,
    "chain-P1-I0": 4,
    "chain-P1-I1": 1,
    "chain-P1-I2": 2,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstructRecEvalConfig(SampledEvalConfig):
    """How candidates are ranked and measured.

    Attributes:
      normalization: how the likelihood of an item ranks it: "sum" of the log-probabilities of its
        tokens; their "mean"; or "pmi", the sum less that of the same item after a prompt that tells
        nothing of the user.
      many: number of candidates of the large sets, which are ranked in groups; 0 leaves them out.
      hard: what makes negatives hard: "cooccurrence" takes the items that most often follow the
        history, "popularity" those whose number of interactions is nearest to that of the target.
      batch_size: prompts in each call of the model.

    Raises:
      ConfigError: a value out of range or an unknown name.
    """

    ks: tuple[Count, ...] = (1, 3, 5, 10)
    baselines: tuple[str, ...] = ("popularity", "cooccurrence", "sasrec")
    normalization: Normalization = "sum"
    many: Whole = 100
    hard: tuple[str, ...] = get_args(HardBy)
    batch_size: Count = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.hard:
            if name not in get_args(HardBy):
                raise ConfigError(
                    f"no hard negatives {name!r} in eval.hard{nearest(name, get_args(HardBy))}; "
                    f"known: {', '.join(get_args(HardBy))}"
                )
        for name in self.baselines:
            if name not in COUNTING + _TRAINED:
                raise ConfigError(
                    f"eval.baselines of InstructRec must be of {', '.join(COUNTING + _TRAINED)}, "
                    f"got {name!r}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstructRecConfig:
    """A run: data, instructions, model, training and evaluation.

    Attributes:
      item_names: how items are written: "titles" as they are, or one token for each title.
      max_items: number of most recent items of a history that an instruction shows.
      max_targets: instructions ask for this many most recent training interactions of each user; 0
        for all.
      tasks: tasks to train, see `systems/instructrec/tasks.py`. P1-I0-T2 must be one of them, and
        P0-I0-T2 too for PMI.
      rows: number of rows of each task in every batch; they add up to `train.batch_size`.
      groups: largest number of different lengths that the rows of a batch are padded to.
      candidates: number of items to choose from, the target among them.
      genre_field: item field that lists the genres, of which preferences and intentions are made.
      like_from: lowest rating of an item that its user likes.
      text_tokens: size of the text vocabulary.
      data: interactions and their split.
      model: shape of the encoder-decoder; its vocabulary follows from the tokenizer.
      tune: `base` is a pretrained encoder-decoder, all of whose parameters are trained further; ""
        starts from random ones with `model`'s shape. A base writes items by their titles.
      train: training. Checkpoints are ranked by NDCG@5 of P1-I0-T2 on validation candidates.
      sasrec: the baseline.
      decode: which items a ranking of the whole catalogue leaves out; it selects the checkpoint of
        the baseline.
      eval: measurements.
      mesh: devices.
      sharding: where parameters and batches lie.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> from jaxrec.systems.instructrec import InstructRecConfig
      >>> config = InstructRecConfig()
      >>> sum(config.rows) == config.train.batch_size
      True
    """

    system: ClassVar[str] = "jaxrec.systems.instructrec"

    item_names: ItemNames = "tokens"
    max_items: Count = 10
    max_targets: Whole = 50
    tasks: tuple[str, ...] = tuple(ROWS)
    rows: tuple[Count, ...] = tuple(ROWS.values())
    groups: Count = 3
    candidates: Annotated[int, Range(2, 2**31 - 1)] = 10
    genre_field: str = "genres"
    like_from: Positive = 4
    text_tokens: Count = 600
    data: DataConfig = DataConfig()
    model: TransformerConfig = TransformerConfig(
        width=64,
        depth=1,
        encoder_depth=2,
        num_heads=2,
        positions="relative",
        activation="relu",
        gated=False,
        dropout=0.2,
    )
    tune: TuneConfig = TuneConfig()
    train: TrainConfig = TrainConfig(
        batch_size=sum(ROWS.values()), steps=2500, lr=2e-3, ema_decay=0.998, eval_every=500
    )
    sasrec: SasrecConfig = SasrecConfig(
        max_items=30,
        train=TrainConfig(steps=2000, batch_size=64, lr=1e-3, ema_decay=0.995, eval_every=250),
    )
    decode: RankConfig = RankConfig()
    eval: InstructRecEvalConfig = InstructRecEvalConfig()
    mesh: MeshConfig = MeshConfig()
    sharding: ShardingRules = ShardingRules()

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        find_tasks(self.tasks, TASKS)
        for name, when in (("P1-I0-T2", True), ("P0-I0-T2", self.eval.normalization == "pmi")):
            if when and name not in self.tasks:
                raise ConfigError(
                    f"tasks must include {name}, which this run is measured by; add it"
                )
        if sum(self.rows) != self.train.batch_size or len(self.rows) != len(self.tasks):
            raise ConfigError(
                f"rows {self.rows} must be one number for each of {len(self.tasks)} tasks, and add "
                f"up to train.batch_size {self.train.batch_size}"
            )
        if 0 < self.eval.many <= self.candidates:
            raise ConfigError(
                f"eval.many {self.eval.many} must be above candidates {self.candidates}, the size "
                "of its groups, or 0 for no large sets"
            )
        if self.tune.method != "full":
            raise ConfigError(
                f"tune.method {self.tune.method} trains a part of the parameters, and InstructRec "
                "trains all of them; set tune.method full"
            )
        if self.tune.base and self.item_names != "titles":
            raise ConfigError(
                f"item_names {self.item_names} gives each title a token, which tune.base "
                f"{self.tune.base} does not have; set item_names titles"
            )
        if self.model.read_only:
            raise ConfigError(
                f"model.read_only is {self.model.read_only}, but instructions name no users; leave "
                "it at 0"
            )
