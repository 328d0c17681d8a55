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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.baselines import Objective, matched, sequential, take_codes
from jaxrec.core import read_json
from jaxrec.data import load_dataset
from jaxrec.ids import ItemCodes, pq
from jaxrec.items import text as item_text
from jaxrec.runs import (
    METRIC,
    MODEL,
    TEST_FILE,
    Domain,
    Measured,
    Options,
    baseline_table,
    check_run,
    create_run,
    heading,
    is_run,
    load_codes,
    load_domains,
    measure_baseline,
    protocol_of,
    rank_by_scores,
    write_summary,
)
from jaxrec.systems.vqrec.config import VqRecConfig
from jaxrec.train import FitResult, Start, TrainConfig, Validation

CONFIG = VqRecConfig


def _domains(config: VqRecConfig, directory: Path) -> tuple[Domain | None, Domain]:
    """The sources and the target, of a run that there is with the text vectors that it began with.

    Raises:
      ConfigError, DataError: as of `check_run` and `load_domains`.
    """
    c, kept = config, None
    if is_run(directory):
        check_run(config, load_dataset(c.data), directory)
        kept = item_text.load_vectors(directory)
    return load_domains(
        c.data, c.sources, c.share, c.train.seed, c.text_fields, c.text_encoder, kept
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
        Validation(
            lambda params: domain.validate(functools.partial(score, params), filter_seen, ks),
            METRIC,
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
    """Codes of both domains' items, `kept` of the target's if given; None where there are none."""
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
    """All stages, those that are over by their checkpoints.

    Returns:
      The last one's result, with the seconds of all, and what scores a batch.
    """
    known = is_run(directory) and config.items == "codes"
    kept = load_codes(directory) if known else None
    first, second = _codes(config, source, target, kept)
    if source is None:
        return _fit(config, target, second, directory, config.train, "cross_entropy")
    begun, _ = _fit(config, source, first, directory / "pretrain", config.pretrain, "contrastive")
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
            start=Start(params=_begin(config, target, first, second), frozen=learned),
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
        start=Start(params=lambda: jax.tree.map(jnp.copy, rest), frozen=held),
    )
    return dataclasses.replace(result, seconds=result.seconds + seconds), score


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
    source, target = _domains(config, directory)
    dataset = target.parts[0]
    print(dataset)
    print(f"known: {len(target.histories):,} of {dataset.num_users:,} users")
    if not is_run(directory):
        codes = _codes(config, source, target)[1]
        encoder = item_text.name_of(item_text.encoder_of(config.text_encoder, "text_encoder"))
        print(f"item texts: encoded by {encoder}, {target.vectors.shape[1]} wide")
        if codes is not None:
            codes = dataclasses.replace(codes, metadata=codes.metadata | {"text_encoder": encoder})
        if not options.dry:
            every = [*([] if source is None else [source.vectors]), target.vectors]
            item_text.save_vectors(np.concatenate(every), directory)
            create_run(config, dataset, codes, directory)
    if options.dry:
        return
    result, _ = fit(config, source, target, directory)
    write_summary(directory, result)


def evaluate(config: VqRecConfig, directory: Path, *, baselines: bool) -> dict[str, Any]:
    """See `System`."""
    source, target = _domains(config, directory)
    dataset = target.parts[0]
    measured = _rank(config, directory, source, target)
    protocol = protocol_of(config, dataset) | {"known_users": len(target.histories)}
    measured.save(directory / TEST_FILE, protocol_of(config, dataset))
    systems = {MODEL: measured}
    for name in config.eval.baselines if baselines else ():
        systems[name] = measure_baseline(name, config, dataset, directory, target.histories)
    lines = [f"trained on the histories of {len(target.histories):,} users"]
    facts: dict[str, Any] = {}
    if config.items == "codes":
        facts = load_codes(directory).metadata
        lines.append(
            f"item texts: encoded by {facts['text_encoder']}, {target.vectors.shape[1]} wide"
        )
        lines.append(
            f"codes: {facts['collision_share']:.1%} of the items share theirs with another, at "
            f"most {facts['largest_group']} items one; their scores tie"
        )
    found = baseline_table(systems, config)
    return found | {
        "protocol": protocol,
        "heading": heading(protocol),
        "ids": facts,
        "lines": lines,
    }


def rank(config: VqRecConfig, directory: Path) -> Measured:
    """See `System`."""
    return _rank(config, directory, *_domains(config, directory))


def _rank(config: VqRecConfig, directory: Path, source: Domain | None, target: Domain) -> Measured:
    """Measure the lists of a trained run, whose domains are at hand."""
    trained = read_json(directory / "train.json")
    result, score = fit(config, source, target, directory)
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    return rank_by_scores(score, config, target.parts[0], size, trained["seconds"])
