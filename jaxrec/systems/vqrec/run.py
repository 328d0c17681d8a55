"""VQ-Rec: items as codes of their texts, trained in some domains and transferred to another.

texts -> vectors -> product quantization -> mean of code embeddings -> self-attention -> cosine / τ

(Hou et al., WWW 2023, arXiv:2210.12316.) The encoder is trained on the sources by contrast with the
other targets of the batch, from all domains, and with semi-synthetic items. The target's items are
coded anew, so an assignment of the learned code embeddings to the new codes is trained first, and
the embeddings afterwards.

Departures from the paper: every item of a history is predicted, not only the last, and blocks are
pre-norm, as in the other sequential models here. `System` describes the functions of this module.

Shapes: `I` items, `L` levels, `E` width of text vectors.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines import Objective, SasrecConfig, matched, sequential, take_codes
from jaxrec.core import Bound
from jaxrec.data import load_dataset
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.ids import ItemCodes, pq
from jaxrec.items import text as item_text
from jaxrec.runs import (
    METRIC,
    MODEL,
    TEST_FILE,
    Domain,
    Kept,
    Measured,
    Options,
    Recommendations,
    RecommendRequest,
    ScoringRanker,
    baseline_table,
    check_run,
    create_run,
    heading,
    is_run,
    left_out_lines,
    load_codes,
    load_domains,
    measure_baselines,
    protocol_of,
    rank_by_scores,
    read_parts,
    read_training,
    recommend_by_scores,
    run_identity,
    with_filter_seen,
    write_summary,
)
from jaxrec.systems.vqrec.config import VqRecConfig
from jaxrec.train import FitResult, Start, TrainConfig, Validation

CONFIG = VqRecConfig
FACTS = SystemFacts(
    name="VQ-Rec",
    summary=(
        "Items are codes of their texts, so a sequence encoder that was trained in some domains "
        "can be transferred to another. It scores every item of the catalogue as the next one."
    ),
    tags=("sequential-recommendation", "transfer-learning"),
    has_ids=False,
)
_EXPORT = (
    "no class of transformers scores items by code embeddings; to export a recommender, train a "
    "generative config"
)
INSTEAD = {
    "fit_ids": "VQ-Rec fits its codes, which several items may share, when training begins",
    "open_model": _EXPORT,
    "open_adapter": _EXPORT,
    "add_items": "add the items to the data, and train from the same sources again",
}


def _domains(config: VqRecConfig, directory: Path) -> tuple[Domain | None, Domain]:
    """Load the source and target domains; an existing run reuses its text vectors.

    Raises:
      ConfigError, DataError: see `check_run` and `load_domains`.
    """
    c, kept = config, None
    if is_run(directory):
        check_run(config, load_dataset(c.data), directory)
        kept = item_text.load_vectors(directory)
    return load_domains(
        c.data, c.sources, c.share, c.train.seed, c.text_fields, c.text_encoder, kept
    )


def _model(
    config: VqRecConfig, codes: ItemCodes | None, train: TrainConfig, objective: Objective
) -> SasrecConfig:
    """The network with the objective and the settings of one stage."""
    contrast = objective == "contrastive" and codes is not None
    return dataclasses.replace(
        config.model,
        objective=objective,
        synthetic=config.model.synthetic if contrast else 0.0,
        train=train,
    )


def _fit(
    config: VqRecConfig,
    domain: Domain,
    codes: ItemCodes | None,
    directory: Path,
    train: TrainConfig,
    objective: Objective,
    **more: Any,
) -> tuple[FitResult, Any]:
    """Train or resume one stage.

    Returns:
      Its result, and the function from a batch to scores.
    """
    model = _model(config, codes, train, objective)
    score = jax.jit(functools.partial(sequential.scores, config=model, num_items=domain.num_items))
    decode, ks = config.decode, config.eval.ks
    result = sequential.fit_sequential(
        model,
        domain.histories,
        domain.num_items,
        Validation(
            lambda params: domain.validate(functools.partial(score, params), decode, ks),
            METRIC,
            (sum(map(len, domain.users)), "user"),
        ),
        directory,
        text=domain.vectors if config.items == "text" else None,
        codes=codes,
        **more,
    )
    return result, functools.partial(score, result.params)


def _codes(
    config: VqRecConfig, source: Domain | None, target: Domain, kept: ItemCodes | None = None
) -> list[ItemCodes | None]:
    """Return the codes of the source's and the target's items; None where a domain has none.

    The target's are `kept` if that is given.
    """
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
    if kept is None:
        second = first if first is not None and config.quantizer == "source" else own(target)
        kept = pq.recoded(second, target.vectors)
    return [
        None if first is None or source is None else pq.recoded(first, source.vectors),
        kept,
    ]


def fit(
    config: VqRecConfig, source: Domain | None, target: Domain, directory: Path
) -> tuple[FitResult, Any]:
    """Run all stages; a finished stage is read from its checkpoint.

    Returns:
      The result of the last stage, with the seconds of all stages, and the function that scores a
      batch.
    """
    known = is_run(directory) and config.items == "codes"
    kept = load_codes(directory) if known else None
    first, second = _codes(config, source, target, kept)
    owner = run_identity(directory)
    start = Start(run=owner)
    if source is None:
        return _fit(config, target, second, directory, config.train, "cross_entropy", start=start)
    place = directory / "pretrain"
    begun, _ = _fit(config, source, first, place, config.pretrain, "contrastive", start=start)
    learned, seconds = begun.params["params"], begun.seconds
    if first is not None and second is not None and config.quantizer == "own":
        chosen, _ = _fit(
            config,
            target,
            second,
            directory / "assign",
            config.assign,
            "cross_entropy",
            assigned=True,
            start=Start(params=_begin(config, target, first, second), frozen=learned, run=owner),
        )
        coded = take_codes(chosen.params["params"]["items"]["coded"])
        learned = learned | {"items": learned["items"] | {"coded": coded}}
        seconds += chosen.seconds
    held = {"body": learned["body"]} if config.hold_body else {}
    rest = {name: tree for name, tree in learned.items() if name not in held}
    result, score = _fit(
        config,
        target,
        second,
        directory,
        config.train,
        "cross_entropy",
        start=Start(params=lambda: jax.tree.map(jnp.copy, rest), frozen=held, run=owner),
    )
    return dataclasses.replace(result, seconds=result.seconds + seconds), score


def _begin(config: VqRecConfig, target: Domain, old: ItemCodes, new: ItemCodes) -> Any:
    """Return a function that gives the assignment to start from; None for a random start."""
    if config.begin == "random":
        return None
    met = (
        np.unique(np.concatenate(target.histories)) if config.strict else np.arange(len(new.codes))
    )
    logits = matched(new.codes[met], pq.encode(old, target.vectors[met]), config.size)
    return lambda: {"items": {"coded": {"assign": jnp.asarray(logits)}}}


def train(config: VqRecConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    source, target = _domains(config, directory)
    dataset = target.parts[0]
    print(dataset)
    print(f"known: {len(target.histories):,} of {dataset.num_users:,} users")
    codes = None
    if not is_run(directory):
        codes = _codes(config, source, target)[1]
        encoder = target.encoder
        print(f"item texts: encoded by {encoder}, {target.vectors.shape[1]} wide")
        if codes is not None:
            codes = dataclasses.replace(codes, metadata=codes.metadata | {"text_encoder": encoder})
        if not options.dry:
            every = [*([] if source is None else [source.vectors]), target.vectors]
            item_text.save_vectors(np.concatenate(every), directory)
            create_run(config, dataset, codes, directory)
    if options.dry:
        # Without a run there are codes, fitted above; a run keeps its own.
        own = load_codes(directory) if is_run(directory) and config.items == "codes" else codes
        plan = sequential.plan_sequential(
            _model(config, own, config.train, "cross_entropy"),
            target.histories,
            target.num_items,
            text=target.vectors if config.items == "text" else None,
            codes=own,
        )
        print(plan)
        plan.memory.check()
        return
    result, _ = fit(config, source, target, directory)
    write_summary(directory, result)


def evaluate(config: VqRecConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`."""
    source, target = _domains(config, directory)
    dataset = target.parts[0]
    measured = _rank(config, directory, source, target)
    protocol = protocol_of(config, dataset) | {"known_users": len(target.histories)}
    measured.save(directory / TEST_FILE, protocol_of(config, dataset))
    others, left_out = measure_baselines(baselines, config, dataset, directory, target.histories)
    systems = {MODEL: measured} | others
    lines = [
        *left_out_lines(left_out),
        f"trained on the histories of {len(target.histories):,} users",
    ]
    facts: dict[str, Any] = {}
    if config.items == "codes":
        facts = load_codes(directory).metadata
        lines.append(
            f"item texts: encoded by {facts['text_encoder']}, {target.vectors.shape[1]} wide"
        )
        lines.append(
            f"codes: {facts['collision_share']:.1%} of the items share their codes with another "
            f"item, and at most {facts['largest_group']} items share one; their scores tie"
        )
    return baseline_table(systems, config) | {
        "protocol": protocol,
        "left_out": left_out,
        "heading": heading(protocol),
        "ids": facts,
        "lines": lines,
    }


def rank(config: VqRecConfig, directory: Path, filter_seen: bool | None = None) -> Measured:
    """See `System`."""
    return _rank(config, directory, *_domains(config, directory), filter_seen)


def recommend(config: VqRecConfig, directory: Path, request: RecommendRequest) -> Recommendations:
    """See `System`.

    Raises:
      ConfigError: an unknown user, or more items than there are.
      DataError: not trained yet, or of other data.
    """
    source, target = _domains(config, directory)
    # Read first, because fitting would train a run that is not trained yet.
    read_training(directory)
    _, score = fit(config, source, target, directory)
    return recommend_by_scores(score, target.parts[0], request)


def open_ranker(config: VqRecConfig, directory: Path, kept: Kept) -> ScoringRanker:
    """See `System`."""
    read_training(directory)  # A run that is not trained yet is named before anything is read.
    count, coded = len(kept.items), config.items == "codes"
    codes = load_codes(directory) if coded else None
    # The vectors of the sources' items come first.
    text = item_text.load_vectors(directory)[-count:] if config.items == "text" else None
    owner = run_identity(directory)

    def load(place: Path, train: TrainConfig, objective: Objective, frozen: Any = None) -> Any:
        # The shapes of parameters do not depend on the items, so the sources' model loads too.
        network, start = _model(config, codes, train, objective), Start(frozen=frozen, run=owner)
        return sequential.load_sequential(
            network, count, place, text=text, codes=codes, start=start
        )

    held = None
    if config.hold_body and config.sources:
        first = load(directory / "pretrain", config.pretrain, "contrastive")
        held = {"body": first["params"]["body"]}
    model = _model(config, codes, config.train, "cross_entropy")
    return ScoringRanker(
        score=Bound.of(sequential.scores, config=model, num_items=count),
        variables=load(directory, config.train, "cross_entropy", held),
        num_items=count,
        max_items=model.max_items,
    )


def report(config: VqRecConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def _rank(
    config: VqRecConfig,
    directory: Path,
    source: Domain | None,
    target: Domain,
    filter_seen: bool | None = None,
) -> Measured:
    """Measure the lists of a trained run, given its domains."""
    seconds = read_training(directory)["seconds"]
    result, score = fit(config, source, target, directory)
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    asked = with_filter_seen(config, filter_seen)
    return rank_by_scores(score, asked, target.parts[0], size, seconds)
