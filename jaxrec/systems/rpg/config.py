"""A run of RPG as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.core import ConfigError, Count, Positive, Rate, Seed, Whole, check_ranges
from jaxrec.data import DataConfig
from jaxrec.runs import RankConfig, SampledEvalConfig, check_counting
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodesConfig:
    """How items get their IDs.

    Attributes:
      levels: L, number of codes of an ID.
      size: C, codes of each place. The published size is 256, that is 8 bits.
      collaborative: how many of the L places code collaborative vectors (of items that occur
        together in training histories) instead of texts. As published none does.
      dim: number of whitened principal components of the vectors that are quantized.
      rotate: rotation before the vectors are cut into L segments, see `pq.fit`.
      text_encoder: "auto" for the sentence encoder at hand or else TF-IDF; "tfidf"; or a directory.
      text_fields: item fields whose texts are encoded. Of the default, fields that the data do not
        have are skipped; other fields must exist.
      without_text: what to do with items that have no text: "refuse" to train, or let all of them
        "share" one ID, so that their scores tie.
      seed: seed of the quantizer.
    """

    levels: Count = 32
    size: Count = 256
    collaborative: Whole = 0
    dim: Count = 128
    rotate: Literal["none", "balanced", "opq"] = "opq"
    text_encoder: str = "auto"
    text_fields: tuple[str, ...] = ("title", "year", "genres", "categories")
    without_text: Literal["refuse", "share"] = "refuse"
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_ranges(self, "--codes.")
        if self.collaborative >= self.levels:
            raise ConfigError(
                f"--codes.collaborative {self.collaborative} leaves none of --codes.levels "
                f"{self.levels} places for texts; lower it, or raise levels"
            )
        if max(self.levels - self.collaborative, self.collaborative) > self.dim:
            raise ConfigError(
                f"--codes.levels {self.levels} cuts vectors of --codes.dim {self.dim} columns, and "
                "every code needs a column; lower levels, or raise dim"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network: a causal decoder over item vectors, and a head for each place of an ID.

    Attributes:
      width: D.
      depth: number of blocks.
      num_heads: attention heads.
      mlp_width: width of the network of a block.
      max_items: number of most recent items that are read.
      buckets: number of lengths to which training histories are padded, see `SequentialConfig`.
      dropout: dropout of the item vectors with their positions.
      attention_dropout: dropout of the attention weights.
      residual_dropout: dropout of what the layers add.
      temperature: τ, by which the cosines are divided.
    """

    width: Count = 448
    depth: Count = 2
    num_heads: Count = 4
    mlp_width: Count = 1024
    max_items: Count = 50
    buckets: Count = 5
    dropout: Rate = 0.5
    attention_dropout: Rate = 0.5
    residual_dropout: Rate = 0.0
    temperature: Positive = 0.03

    def __post_init__(self) -> None:
        check_ranges(self, "--model.")
        if self.width % self.num_heads:
            raise ConfigError(
                f"--model.width {self.width} is not a multiple of --model.num-heads "
                f"{self.num_heads}; change one of them"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """The graph of similar items and the walk over it, see `graph_top`.

    Attributes:
      edges: neighbours of each item.
      beams: nodes that are kept after each step.
      steps: how often the neighbours of the kept nodes are visited.
      starts: random items of which the best `beams` are the first nodes. As published it equals
        `beams`; a thousand find several times as much of the exact list.
      keep: let kept nodes compete with their neighbours. As published they do not.
      trees: trees of `forest_neighbours` that build the graph; 0 builds it exactly, in a time that
        grows with the square of the catalogue.
    """

    edges: Count = 100
    beams: Count = 10
    steps: Count = 3
    starts: Count = 1024
    keep: bool = False
    trees: Whole = 0

    def __post_init__(self) -> None:
        check_ranges(self, "--graph.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RpgConfig:
    """A run of RPG.

    Attributes:
      data: interactions, and texts of the items.
      codes: how items get their IDs.
      model: the network.
      ranking: how `jaxrec recommend` and `jaxrec.open` rank: the whole catalogue ("exact"), or by a
        walk over the graph ("graph"). Measurements rank exactly, and report the graph beside it.
      graph: the graph and the walk.
      train: optimizer and schedule.
      decode: which items a ranking leaves out.
      eval: measurements; the baselines must be counting ones.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> RpgConfig(codes=CodesConfig(levels=16)).codes.size
      256
    """

    system: ClassVar[str] = "jaxrec.systems.rpg"

    data: DataConfig = DataConfig()
    codes: CodesConfig = CodesConfig()
    model: NetworkConfig = NetworkConfig()
    ranking: Literal["exact", "graph"] = "exact"
    graph: GraphConfig = GraphConfig()
    train: TrainConfig = TrainConfig(batch_size=256, lr=1e-2, weight_decay=0.0)
    decode: RankConfig = RankConfig()
    eval: SampledEvalConfig = SampledEvalConfig()

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        check_counting(self.eval.baselines, "RPG")
