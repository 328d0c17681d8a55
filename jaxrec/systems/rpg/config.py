"""A run of RPG as one frozen value."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

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
      repeat_bias: learn one number that is added to the scores of items that were read, as in the
        sequential baselines. As published there is none.
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
    repeat_bias: bool = False

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

    The defaults suit some 100,000 items. At a million, `tools/bench parallel_ids` needs 32,768
    starts, and a graph of clusters. `PUBLISHED_GRAPH` has the published settings.

    Attributes:
      edges: edges of each item, to its nearest neighbours and to items that few others lead to.
      reverse: how many of them may lead to such items, see `add_reverse_edges`. As published, 0.
      beams: nodes whose neighbours are visited in a step.
      steps: how often the neighbours of the best nodes are visited.
      starts: items at which walks begin; as published, as many as `beams`.
      spread: choose the starts evenly from clusters of similar items, see `spread_starts`. As
        published, they are random.
      keep: keep the best nodes of the whole walk, and visit the neighbours of none of them twice.
        As published, a step keeps only the best of the neighbours that it has just scored.
      group: mean number of items in a cluster if the graph is built by `cluster_neighbours`, for
        example 256; 0 builds it exactly, in a time that grows with the square of the catalogue.
        Clusters miss some neighbours, so check the share of the exact lists that `jaxrec eval`
        reports.
    """

    edges: Count = 48
    reverse: Whole = 16
    beams: Count = 20
    steps: Count = 4
    starts: Count = 4096
    spread: bool = True
    keep: bool = True
    group: Whole = 0

    def __post_init__(self) -> None:
        check_ranges(self, "--graph.")
        if self.reverse >= self.edges:
            raise ConfigError(
                f"--graph.reverse {self.reverse} leaves no edge to a nearest neighbour of "
                f"--graph.edges {self.edges}; lower reverse, or raise edges"
            )


# Settings of the authors' code for Amazon Beauty.
PUBLISHED_GRAPH = GraphConfig(
    edges=100, reverse=0, beams=10, steps=3, starts=10, spread=False, keep=False
)
# The defaults of the runs whose graph still had the setting "trees".
_EARLIER_GRAPH = {
    "edges": 100,
    "beams": 10,
    "steps": 3,
    "starts": 1024,
    "keep": False,
    "trees": 0,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RpgConfig:
    """A run of RPG.

    Attributes:
      data: interactions, and texts of the items.
      codes: how items get their IDs.
      model: the network.
      ranking: how `jaxrec recommend` and `jaxrec.open` rank: the whole catalogue ("exact"), or by a
        walk over the graph ("graph"). Measurements rank exactly, and report how much of the exact
        lists the walk finds, with these settings of the graph and with the published ones.
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

    @staticmethod
    def of_earlier(settings: Mapping[str, Any]) -> dict[str, Any]:
        """Read settings of a version whose graphs were built by trees.

        Graphs are built after training, so a run that left them at the former defaults gets the
        present ones. Other runs keep what they had.
        """
        graph = dict(settings.get("graph", {}))
        if "trees" not in graph:
            return dict(settings)
        if graph == _EARLIER_GRAPH:
            graph = {}
        else:
            group = 256 if graph.pop("trees") else 0
            graph |= {"reverse": 0, "spread": False, "group": group}
        return {**settings, "graph": graph}
