"""VQ-Rec: items as codes of their texts, trained in some domains and moved to another.

texts -> vectors -> product quantization -> mean of code embeddings -> self-attention -> cosine / τ

(Hou et al., WWW 2023, arXiv:2210.12316.) The encoder is trained on sources by contrast with the
batch's other targets, of all domains, and with semi-synthetic items. In the target items are coded
anew, so a choice among the learned code embeddings is trained first, and then the embeddings.

Departures from the paper: every item of a history is predicted, not the last alone, and blocks are
pre-norm, as in the other sequential models here.

Shapes: `I` items, `L` levels, `E` width of text vectors.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines import sequential
from jaxrec.baselines.code_table import matched, take_codes
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.core import ConfigError
from jaxrec.ids import ItemCodes, pq
from jaxrec.systems import comparison, run
from jaxrec.systems.config import COUNTING, METRIC, DataConfig, DecodeConfig, EvalConfig
from jaxrec.systems.domains import Domain, load_domains
from jaxrec.systems.measured import Measured
from jaxrec.systems.system import Options
from jaxrec.train import FitResult, TrainConfig


@dataclasses.dataclass(frozen=True)
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
        if self.quantizer == "source" and not self.sources:
            raise ConfigError("quantizer source needs sources; give some, or use quantizer own")
        for name in self.eval.baselines:
            if name not in COUNTING:
                raise ConfigError(f"eval.baselines of VQ-Rec must be of {COUNTING}, got {name!r}")


CONFIG = VqRecConfig


def _domains(config: VqRecConfig) -> tuple[Domain | None, Domain]:
    c = config
    return load_domains(c.data, c.sources, c.share, c.train.seed, c.text_fields, c.text_encoder)


def _fit(
    config: VqRecConfig,
    domain: Domain,
    codes: ItemCodes | None,
    directory: Path,
    train: TrainConfig,
    objective: sequential.Objective,
    **more: Any,
) -> tuple[FitResult, Any]:
    """Train a stage, or go on; its result, and the function from parameters and batch to scores."""
    contrast = objective == "contrastive" and codes is not None
    model = dataclasses.replace(
        config.model,
        objective=objective,
        synthetic=config.model.synthetic if contrast else 0.0,
        train=train,
    )
    score = jax.jit(functools.partial(sequential.scores, config=model, num_items=domain.num_items))
    filter_seen, ks = config.decode.filter_seen, config.eval.ks
    result = sequential.fit_sequential(
        model,
        domain.histories,
        domain.num_items,
        lambda params: domain.validate(functools.partial(score, params), filter_seen, ks),
        directory,
        METRIC,
        text=domain.vectors if config.items == "text" else None,
        codes=codes,
        **more,
    )
    return result, functools.partial(score, result.params)


def _codes(config: VqRecConfig, source: Domain | None, target: Domain) -> list[ItemCodes | None]:
    """Codes of both domains' items; None where there are none."""
    if config.items != "codes":
        return [None, None]

    def own(domain: Domain) -> ItemCodes:
        among = domain.met if config.strict else np.arange(domain.num_items)
        return pq.fit(
            domain.vectors[among],
            config.levels,
            config.size,
            seed=config.train.seed,
            rotate=config.rotate,
            restarts=1,
        )

    first = None if source is None else own(source)
    second = first if first is not None and config.quantizer == "source" else own(target)
    return [
        None if first is None or source is None else pq.recoded(first, source.vectors),
        pq.recoded(second, target.vectors),
    ]


def fit(
    config: VqRecConfig, source: Domain | None, target: Domain, directory: Path
) -> tuple[FitResult, Any]:
    """All stages, those that are over by their checkpoints: the last one's result and scores."""
    first, second = _codes(config, source, target)
    if source is None:
        return _fit(config, target, second, directory, config.train, "cross_entropy")
    begun, _ = _fit(config, source, first, directory / "pretrain", config.pretrain, "contrastive")
    learned = begun.params["params"]
    if first is not None and second is not None and config.quantizer == "own":
        chosen, _ = _fit(
            config,
            target,
            second,
            directory / "assign",
            config.assign,
            "cross_entropy",
            held=learned,
            assigned=True,
            start=_begin(config, target, first, second),
        )
        coded = take_codes(chosen.params["params"]["items"]["coded"])
        learned = learned | {"items": learned["items"] | {"coded": coded}}
    held = {"body": learned["body"]} if config.hold_body else {}
    rest = {name: tree for name, tree in learned.items() if name not in held}
    return _fit(
        config,
        target,
        second,
        directory,
        config.train,
        "cross_entropy",
        held=held,
        start=lambda: jax.tree.map(jnp.copy, rest),
    )


def _begin(config: VqRecConfig, target: Domain, old: ItemCodes, new: ItemCodes) -> Any:
    """What gives the assignment to start from; None for a random one."""
    if config.begin == "random":
        return None
    met = (
        np.unique(np.concatenate(target.histories)) if config.strict else np.arange(len(new.codes))
    )
    logits = matched(new.codes[met], pq.encode(old, target.vectors[met]), config.size)
    return lambda: {"items": {"coded": {"assign": jnp.asarray(logits)}}}


def train(config: VqRecConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    source, target = _domains(config)
    dataset = target.parts[0]
    print(dataset)
    print(f"known: {len(target.histories):,} of {dataset.num_users:,} users")
    if run.exists(directory):
        run.check(config, dataset, directory)
    codes = _codes(config, source, target)[1]
    if options.dry:
        return
    if not run.exists(directory):
        run.create(config, dataset, codes, directory)
    result, _ = fit(config, source, target, directory)
    run.write_summary(directory, result)


def evaluate(config: VqRecConfig, directory: Path, *, baselines: bool) -> dict[str, Any]:
    """See `System`."""
    _, target = _domains(config)
    dataset = target.parts[0]
    measured = rank(config, directory)
    protocol = comparison.protocol(config, dataset) | {"known_users": len(target.histories)}
    measured.save(directory / run.TEST, comparison.protocol(config, dataset))
    systems = {comparison.MODEL: measured}
    for name in config.eval.baselines if baselines else ():
        systems[name] = comparison.measure_baseline(
            name, config, dataset, directory, target.histories
        )
    lines = [f"trained on the histories of {len(target.histories):,} users"]
    facts: dict[str, Any] = {}
    if config.items == "codes":
        facts = run.load_codes(directory).metadata
        lines.append(
            f"codes: {facts['collision_share']:.1%} of the items share theirs with another, at "
            f"most {facts['largest_group']} items one; their scores tie"
        )
    heading = comparison.heading(protocol)
    found = comparison.table(systems, config)
    return found | {"protocol": protocol, "heading": heading, "ids": facts, "lines": lines}


def rank(config: VqRecConfig, directory: Path) -> Measured:
    """See `System`."""
    source, target = _domains(config)
    run.check(config, target.parts[0], directory)
    trained = run.read_json(directory / "train.json")
    result, score = fit(config, source, target, directory)
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    return comparison.rank(score, config, target.parts[0], size, trained["seconds"])
