"""A run of VQ-Rec as one frozen value."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxrec.baselines import SasrecConfig
from jaxrec.core import ConfigError, Count, PositiveShare, check_ranges
from jaxrec.data import DataConfig
from jaxrec.runs import BaselinesConfig, RankConfig, check_counting, check_unread
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class VqRecConfig:
    """A run of VQ-Rec, or of one of its controls.

    Attributes:
      data: the target data set.
      sources: names of the source data sets, which are read like the target; empty to train on the
        target alone.
      share: share of the target's users whose histories are known, sampled by the seed. Training,
        validation and the strict quantizer read only these users. All users are tested.
      items: "codes"; or, as controls, "text", a projection of the text vectors themselves, or
        "table", a vector for every item, which cannot be transferred.
      quantizer: what codes the target's items: a quantizer of its "own", as published, or the
        "source"'s.
      begin: where the assignment of the sources' code embeddings begins: at "random", as published,
        or with the codes that the source's quantizer gives the same "texts". The latter needs a
        common text space and segments that mean the same, so no domain may have its own rotation.
      levels: L, segments of the text vectors.
      size: C, centroids of a segment.
      rotate: see `pq.fit`.
      strict: fit quantizers only on items of known training histories.
      text_fields: item fields that make the text vectors.
      text_encoder: "auto" for the sentence encoder at hand or else TF-IDF; "tfidf"; or a directory.
      hold_body: freeze the sources' encoder while the target is learned.
      model: the network of all stages. Its own `train` and `objective` are not read, so they are
        refused.
      pretrain: training on the sources.
      assign: training of the assignment; read only if the quantizer is the target's own.
      train: training on the target.
      decode: which items a ranking leaves out.
      eval: measurements; the baselines must be counting ones, and count the known users.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> VqRecConfig(sources=(), share=0.5).items
      'codes'
    """

    system: ClassVar[str] = "jaxrec.systems.vqrec"
    unread: ClassVar[Mapping[str, str]] = {
        "model.train": "set pretrain, assign or train instead",
        "model.objective": "every stage has its own: contrast for the sources, cross-entropy after",
    }

    data: DataConfig = DataConfig()
    sources: tuple[str, ...] = ("movietweetings-100k",)
    share: PositiveShare = 0.1
    items: Literal["codes", "text", "table"] = "codes"
    quantizer: Literal["own", "source"] = "own"
    begin: Literal["random", "texts"] = "random"
    levels: Count = 32
    size: Count = 256
    rotate: Literal["none", "balanced", "opq"] = "opq"
    strict: bool = True
    text_fields: tuple[str, ...] = ("title", "genres", "categories", "brand")
    text_encoder: str = "auto"
    hold_body: bool = False
    model: SasrecConfig = SasrecConfig(temperature=0.07, synthetic=0.75)
    pretrain: TrainConfig = TrainConfig(steps=1500, batch_size=32)
    assign: TrainConfig = TrainConfig(steps=100, batch_size=32, lr=1e-1, weight_decay=0.0)
    train: TrainConfig = TrainConfig(steps=500, batch_size=32)
    decode: RankConfig = RankConfig()
    eval: BaselinesConfig = BaselinesConfig(baselines=("popularity", "item_knn", "markov"))

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        if self.items == "table" and self.sources:
            raise ConfigError(
                f"items table learns vectors of single items, which cannot be transferred from "
                f"sources {self.sources}; use items codes or text, or no sources"
            )
        if self.begin == "texts" and self.rotate != "none":
            raise ConfigError(
                f"begin texts compares codes segment by segment, and rotate {self.rotate} rotates "
                "the segments of each domain differently; use rotate none, or begin random"
            )
        if self.data.name in self.sources:
            raise ConfigError(
                f"sources {self.sources} include the target {self.data.name}, so training would "
                "read its unknown users; leave it out"
            )
        if self.quantizer == "source" and not self.sources:
            raise ConfigError("quantizer source needs sources; give some, or use quantizer own")
        check_unread(self)
        check_counting(self.eval.baselines, "VQ-Rec")
