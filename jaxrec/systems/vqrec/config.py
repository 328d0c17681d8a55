"""A VQ-Rec run as one frozen value."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.baselines import SasrecConfig
from jaxrec.core import ConfigError
from jaxrec.data import DataConfig
from jaxrec.runs import COUNTING, DecodeConfig, EvalConfig
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class VqRecConfig:
    """A run of VQ-Rec, or of one of its controls.

    Attributes:
      data: the target.
      sources: names of the data sets of the sources, read like the target; none to train on the
        target alone.
      share: of the target's users, drawn by the seed, whose histories are known: training reads no
        others, and neither do validation and the strict quantizer. All users are tested.
      items: "codes"; or as controls "text", a projection of the text vectors themselves, and
        "table", a vector for every item, which cannot be moved.
      quantizer: code the target's items by one of its "own", as published, or by the "source"'s.
      begin: where the choice among the sources' code embeddings begins: at "random", as published,
        or at those that the source's quantizer gives the same "texts", which a common text space
        allows. That needs segments that mean the same, so no rotation of each domain's own.
      levels: L, segments of the text vectors.
      size: C, centroids of a segment.
      rotate: see `pq.fit`.
      strict: fit quantizers on the items of known training histories alone.
      text_fields: item fields that make the text vectors.
      text_encoder: "auto" for the sentence encoder at hand or else TF-IDF, "tfidf", or a directory.
      hold_body: keep the sources' encoder as it is while the target is learned.
      model: of all stages.
      pretrain: on the sources.
      assign: of the choice among code embeddings; read where the quantizer is the target's own.
      train: on the target.
      decode: of which `filter_seen` is read.
      eval: measurements; its baselines are of those that count, on the known users.
    """

    system: ClassVar[str] = "jaxrec.systems.vqrec"

    data: DataConfig = DataConfig()
    sources: tuple[str, ...] = ("movietweetings-100k",)
    share: float = 0.1
    items: Literal["codes", "text", "table"] = "codes"
    quantizer: Literal["own", "source"] = "own"
    begin: Literal["random", "texts"] = "random"
    levels: int = 32
    size: int = 256
    rotate: Literal["none", "balanced", "opq"] = "opq"
    strict: bool = True
    text_fields: tuple[str, ...] = ("title", "genres", "categories", "brand")
    text_encoder: str = "auto"
    hold_body: bool = False
    model: SasrecConfig = SasrecConfig(temperature=0.07, synthetic=0.75)
    pretrain: TrainConfig = TrainConfig(steps=1500, batch_size=32)
    assign: TrainConfig = TrainConfig(steps=100, batch_size=32, lr=1e-1, weight_decay=0.0)
    train: TrainConfig = TrainConfig(steps=500, batch_size=32)
    decode: DecodeConfig = DecodeConfig()
    eval: EvalConfig = EvalConfig(baselines=("popularity", "item_knn", "markov"))

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"share must lie in (0, 1], got {self.share}")
        if self.items == "table" and self.sources:
            raise ConfigError(
                f"items table has vectors of single items, which sources {self.sources} cannot "
                "give to others; use items codes or text, or no sources"
            )
        if self.begin == "texts" and self.rotate != "none":
            raise ConfigError(
                f"begin texts compares codes segment by segment, which rotate {self.rotate} turns "
                "apart; use rotate none, or begin random"
            )
        if self.data.name in self.sources:
            raise ConfigError(
                f"sources {self.sources} hold the target {self.data.name}, whose unknown users "
                "would be trained on; leave it out"
            )
        if self.quantizer == "source" and not self.sources:
            raise ConfigError("quantizer source needs sources; give some, or use quantizer own")
        for name in self.eval.baselines:
            if name not in COUNTING:
                raise ConfigError(f"eval.baselines of VQ-Rec must be of {COUNTING}, got {name!r}")
