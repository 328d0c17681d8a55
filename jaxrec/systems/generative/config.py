"""A whole run as one frozen value, which config files return and the command line overrides."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

from jaxrec.align import AlignConfig
from jaxrec.baselines import (
    Bert4RecConfig,
    BprConfig,
    CaserConfig,
    Gru4RecConfig,
    HstuConfig,
    NeuMfConfig,
    SasrecConfig,
    dros,
)
from jaxrec.core import ConfigError, Count, MeshConfig, ShardingRules, Whole, check_ranges
from jaxrec.data import DataConfig
from jaxrec.decode import Draws, ListStrategy
from jaxrec.items import IdConfig
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.runs import SampledEvalConfig, SearchConfig, load_run, short_name
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """How histories of different lengths share the fixed shapes of training batches.

    Attributes:
      layout: "pad" has one history per row, padded to `max_items`; "bucket" pads all rows of a
        batch to one of a few lengths; "pack" puts several histories into a row. "auto" pads if
        that wastes little, and otherwise takes the layout with the least padding.
      buckets: largest number of lengths, and so of compiled shapes, of "bucket". A batch of length
        `max_items` has `train.batch_size` rows; a shorter one has more, so that its number of
        tokens is about the same.
      row_items: items that a row of "pack" has room for; 0 for `max_items`.

    Raises:
      ConfigError: a size that leaves no room.

    Example:
      >>> BatchConfig(layout="bucket", buckets=2).row_items
      0
    """

    layout: Literal["auto", "pad", "bucket", "pack"] = "auto"
    buckets: Count = 4
    row_items: Whole = 0

    def __post_init__(self) -> None:
        check_ranges(self, "--batches.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeConfig(SearchConfig):
    """How items are generated; see `SearchConfig` for the other settings.

    Attributes:
      strategy: "beam" searches for the best items and is exact; "sample" draws items; "next_k"
        generates one item after the other and appends each to the history.
      normalize: log-probabilities are over all codes of a level or over its legal codes.
      draws: settings of "sample".
      next_beams: beam width of the search for each item in "next_k".

    Example:
      >>> DecodeConfig(beams=20).strategy
      'beam'
    """

    strategy: ListStrategy = "beam"
    normalize: Literal["codes", "legal"] = "codes"
    draws: Draws = Draws()
    next_beams: Count = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig(SampledEvalConfig):
    """How the model is measured beside its baselines; see `SampledEvalConfig`.

    Attributes:
      samples: number of users whose histories and recommendations the report shows.
      text_encoders: also measure every text encoder at hand, whether the IDs use it or not. An
        encoder that the IDs do not use encodes all item texts for this, which may take minutes.

    Example:
      >>> EvalConfig().baselines[-1]
      'sasrec'
    """

    baselines: tuple[str, ...] = (*SampledEvalConfig.baselines, "sasrec")
    samples: Whole = 5
    text_encoders: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A run: data, IDs, model, training, decoding, evaluation.

    Attributes:
      max_items: number of most recent items of a history that the model reads.
      architecture: "causal" is a decoder that learns from all items of a window at once.
        "encoder_decoder", and "prefix", a decoder whose history is attended to in both directions,
        learn from one prefix of a history at a time.
      user_tokens: number of tokens to which users are hashed; the user's token precedes the
        history. 0 for none (Rajput et al. 2023, section 3.2, use 2,000).
      data: interactions and their split.
      ids: how items get their IDs.
      model: shape of the model; its vocabulary follows from the IDs. With `tune.base` the shape is
        that of the base, and only the dropouts, dtype and remat given here are read. With `block`
        "hstu" its `max_length` follows from `max_items` and the length of the IDs.
      tune: which model training starts from, and which part of it is trained.
      align: how a trained model, which is then `tune.base`, is aligned with preferences or rewards.
      train: optimizer and schedule.
      batches: layout of the training batches.
      decode: how items are generated.
      eval: how the model is measured beside its baselines.
      sasrec, hstu, gru4rec, caser, bert4rec, dros, bpr, neumf, gru4rec_text, dros_text: settings of
        the trained baselines.
      mesh: devices.
      sharding: how parameters and batches are divided over them.

    Raises:
      ConfigError: settings that contradict one another.

    Example:
      >>> Config(max_items=20).architecture
      'causal'
    """

    system: ClassVar[str] = "jaxrec.systems.generative"

    max_items: Count = 30
    architecture: Literal["causal", "prefix", "encoder_decoder"] = "causal"
    user_tokens: Whole = 0
    data: DataConfig = DataConfig()
    ids: IdConfig = IdConfig()
    model: TransformerConfig = TransformerConfig(width=64, depth=2, num_heads=2, dropout=0.2)
    tune: TuneConfig = TuneConfig()
    align: AlignConfig = AlignConfig()
    train: TrainConfig = TrainConfig()
    batches: BatchConfig = BatchConfig()
    decode: DecodeConfig = DecodeConfig()
    eval: EvalConfig = EvalConfig()
    sasrec: SasrecConfig = SasrecConfig()
    hstu: HstuConfig = HstuConfig()
    gru4rec: Gru4RecConfig = Gru4RecConfig()
    caser: CaserConfig = CaserConfig()
    bert4rec: Bert4RecConfig = Bert4RecConfig()
    dros: SasrecConfig = dros(SasrecConfig())
    bpr: BprConfig = BprConfig()
    neumf: NeuMfConfig = NeuMfConfig()
    gru4rec_text: Gru4RecConfig = Gru4RecConfig(tied=True)
    # A projection of fixed vectors learns at a higher rate than a table.
    dros_text: SasrecConfig = dataclasses.replace(
        dros, train=dataclasses.replace(dros.train, lr=5e-3)
    )
    mesh: MeshConfig = MeshConfig()
    sharding: ShardingRules = ShardingRules()

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        self._check_architecture()
        if self.model.block == "hstu" and not self.tune.base:
            self._check_hstu()
        if self.align.method != "none":
            self._check_aligned()
        if 0 < self.batches.row_items < self.max_items:
            raise ConfigError(
                f"batches.row_items {self.batches.row_items} cannot hold a history of max_items "
                f"{self.max_items}; raise it, or set 0"
            )
        if self.tune.method != "full" and not self.tune.base:
            raise ConfigError(
                f"tune.method {self.tune.method} trains a small part of a model that must already "
                "exist: give it as tune.base, or train everything: tune.method full"
            )
        if self.batches.layout == "pack" and self._virtual_tokens:
            raise ConfigError(
                f"batches.layout pack has no room for the virtual tokens of tune.method "
                f"{self.tune.method}; use batches.layout pad or bucket"
            )
        if max(self.eval.ks) > self.decode.beams:
            raise ConfigError(
                f"eval.ks asks for the top {max(self.eval.ks)}, decode.beams generates only "
                f"{self.decode.beams} items; raise decode.beams"
            )

    @property
    def can_pack(self) -> bool:
        """Whether the model can read several histories in one row."""
        return self.architecture == "causal" and not self.user_tokens and not self._virtual_tokens

    @property
    def _virtual_tokens(self) -> bool:
        return self.tune.method in ("prefix", "prompt")

    @property
    def items_read(self) -> int:
        """Number of most recent items of a history that are read to recommend.

        The windows that a decoder is trained on have `max_items` items. What is generated must lie
        within that length in two cases: if the model is bounded (learned positions, or HSTU's
        blocks), because rows of its table of positions or distances beyond that were never trained,
        and if "next_k" appends a whole list.
        """
        if self.architecture != "causal" or self.tune.base:
            return self.max_items
        bounded = self.model.is_bounded
        if self.decode.strategy == "next_k":
            return self.max_items - self.decode.beams + (not bounded)
        return self.max_items - bounded

    def _check_aligned(self) -> None:
        """Reject settings with which a policy and its reference cannot be compared."""
        what = f"align.method {self.align.method}"
        if not self.tune.base:
            raise ConfigError(
                f"{what} starts from a trained run; give it as tune.base, such as --tune.base "
                "runs/quickstart"
            )
        if self._virtual_tokens:
            raise ConfigError(
                f"{what} scores several items after one history, which leaves no place for the "
                f"virtual tokens of tune.method {self.tune.method}; use full, lora, qlora or "
                "adapter"
            )
        names = ("dropout", "attention_dropout", "mlp_dropout")
        rates = {f"model.{name}": getattr(self.model, name) for name in names}
        for name, rate in (rates | {"tune.dropout": self.tune.dropout}).items():
            if rate:
                raise ConfigError(
                    f"{what} compares log-probabilities, which {name} {rate} would make random; "
                    f"set {name} 0"
                )
        if self.batches != BatchConfig():
            raise ConfigError(
                f"{what} makes batches of its own and reads no settings of batches; leave them out"
            )
        if self.decode.strategy != "beam":
            raise ConfigError(
                f"{what} recommends by a beam search, and decode.strategy is "
                f"{self.decode.strategy}; set it to beam"
            )

    def _check_hstu(self) -> None:
        """Reject what HSTU's blocks of a model trained from scratch cannot do or do not read."""
        if self.architecture != "causal":
            raise ConfigError(
                f"architecture {self.architecture} reads histories in both directions, and "
                "model.block hstu measures distances to the past; set architecture causal, or "
                "model.block transformer"
            )
        if self.model.max_length != TransformerConfig.max_length:
            raise ConfigError(
                f"model.max_length {self.model.max_length} has no meaning with model.block hstu, "
                f"whose length follows from max_items {self.max_items} and the length of the IDs; "
                f"leave it out ({TransformerConfig.max_length}), and set max_items"
            )

    def _check_architecture(self) -> None:
        if self.decode.strategy == "next_k" and self.architecture != "causal":
            raise ConfigError(
                f"decode.strategy next_k appends items to a history that was already read, and "
                f"architecture {self.architecture} would have to read it again; use "
                "decode.strategy beam or sample, or architecture causal"
            )
        if self.items_read < 1:
            raise ConfigError(
                f"max_items {self.max_items} leaves no history before the items that decode."
                f"strategy {self.decode.strategy} generates; raise it, or lower decode.beams "
                f"{self.decode.beams}"
            )
        given = [f"architecture {self.architecture}"] if self.architecture != "causal" else []
        given += [f"user_tokens {self.user_tokens}"] if self.user_tokens else []
        for what in given:
            if self.tune.base:
                raise ConfigError(
                    f"{what} needs a model trained from scratch, and tune.base is "
                    f"{self.tune.base!r}; use architecture causal without user_tokens, or no "
                    "tune.base"
                )
            if self.batches.layout == "pack":
                raise ConfigError(
                    f"batches.layout pack has no room for {what}; use batches.layout pad or bucket"
                )


def load_config(directory: Path) -> Config:
    """Read the settings of a run of the generative recommender.

    Raises:
      DataError: no run there.
      ConfigError: settings that this version does not know, or a run of another system.

    Example:
      >>> load_config(Path("nowhere"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      jaxrec.core.errors.DataError: nowhere is no run directory (no such directory); ...
    """
    config = load_run(directory)
    if not isinstance(config, Config):
        raise ConfigError(
            f"{directory} holds a run of {short_name(config)}, and a run of the generative "
            "recommender is needed, such as one of configs/quickstart.py"
        )
    return config
