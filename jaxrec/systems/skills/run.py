"""Skill extraction: a tagger marks the skills that a text names.

words -> tokens -> states of a frozen encoder -> upper layers -> tags of words -> spans

The labels of training are gold spans, or the matches of a lexicon. Distant labels miss spans, and
three things help a tagger that learns from them: words without a match count as unknown and not as
outside, the expected share of words inside spans is held near a prior, and a teacher corrects the
labels of its student.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import DataError, batch_shard, batch_sharding, is_writer, on_writer
from jaxrec.data import TaggedText, word_places
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.peft import Tuning, size_of
from jaxrec.runs import (
    MODEL,
    Options,
    check_run,
    create_run,
    is_run,
    read_parts,
    read_training,
    run_identity,
    write_summary,
)
from jaxrec.systems.skills.config import SkillsConfig
from jaxrec.systems.skills.data import (
    label_texts,
    load_texts,
    make_lexicons,
    matched_spans,
    open_cut_spans,
)
from jaxrec.systems.skills.measure import (
    METRIC,
    make_validation,
    predicted_spans,
    row_of,
    span_matches,
    span_values,
)
from jaxrec.systems.skills.network import make_loss
from jaxrec.systems.skills.opened import Opened
from jaxrec.systems.skills.rows import Rows
from jaxrec.systems.skills.students import Corrected, correct, teacher_chances
from jaxrec.systems.skills.tagging import TaggedSpan, compiled_predict, tag_texts
from jaxrec.train import FitResult, Plan, Start, Validation, fit, make_plan

LEXICON = "lexicon alone"
CONFIG = SkillsConfig
FACTS = SystemFacts(
    name="Skill extraction",
    summary="A tagger over a text encoder that marks skills in job advertisements.",
    tags=("token-classification",),
    metric=METRIC,
    has_ids=False,
    recommends=False,
    unit="texts",
)
INSTEAD = {
    "rank": "a tagger of skills ranks no items; see jaxrec eval",
    "recommend": "a tagger of skills knows no items; see jaxrec skills",
    "fit_ids": "a tagger of skills knows no items",
    "open_model": "no other library has its layers of tags; use jaxrec skills",
    "open_adapter": "no other library has its layers of tags; use jaxrec skills",
}


def train(config: SkillsConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    texts = load_texts(config.data)
    print(texts)
    new = not is_run(directory)
    if not new:
        check_run(config, texts, directory)
    opened = Opened.of(config)
    learned, held_out = texts.parts["train"], texts.parts["valid"]
    allowed = _labels(config, learned)
    rows, valid = (
        opened.rows(config, [text.words for text in part]) for part in (learned, held_out)
    )
    if rows.words.shortened:
        print(f"{rows.words.shortened} words are longer than a row and lose tokens")
    whole = rows.words.spread(allowed, True)
    labels = {"allowed": open_cut_spans(whole, rows.words.present)}
    validation = Validation(make_validation(config, opened.tagger, valid, held_out), METRIC)
    plan = _plan(config, opened, rows, labels, 0)
    print(f"{len(rows):,} rows of at most {rows.lengths[-1]} tokens")
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if new:
        on_writer(lambda: create_run(config, texts, None, directory))
    owner, rounds = run_identity(directory), config.student.rounds

    def learn(plan: Plan, labels: Mapping[str, np.ndarray], number: int, begin: Any) -> FitResult:
        batches = rows.batches(
            labels,
            batch_size=plan.config.batch_size,
            seed=plan.config.seed,
            shard=batch_shard(batch_sharding(plan.mesh, plan.rules)),
        )
        return fit(
            plan,
            iter(batches),
            validation,
            directory if number == rounds else directory / f"teacher-{number}",
            start=Start(params=begin, base=opened.base, run=owner),
            title=f"student {number}" if number else "train",
            measure=_count,
            profile=options.profile,
        )

    result = learn(plan, labels, 0, lambda: opened.begin(config.train.seed))
    for number in range(1, rounds + 1):
        corrected = _corrected(config, opened, rows, labels["allowed"], result)
        print(corrected)
        plan = _plan(config, opened, rows, corrected.labels, number)
        begin = functools.partial(_copied, jax.tree.map(np.asarray, result.params))
        result = learn(plan, corrected.labels, number, begin)
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def _plan(
    config: SkillsConfig,
    opened: Opened,
    rows: Rows,
    labels: Mapping[str, np.ndarray],
    number: int,
) -> Plan:
    """The plan of the first training, or of a student, which sees the rows in another order."""
    training = config.train
    if number:
        student = config.student
        seed = training.seed + number
        training = dataclasses.replace(training, steps=student.steps, lr=student.lr, seed=seed)
    first, *more = rows.examples(labels, training.batch_size)
    loss = make_loss(opened.tagger, config.loss, config.student.soft if number else 0.0)
    return make_plan(opened.shapes(), loss, first, training, more=more)


def _copied(params: Any) -> Any:
    """A new copy of parameters on the device; training donates what it begins with."""
    return jax.tree.map(jnp.array, params)


def _corrected(
    config: SkillsConfig, opened: Opened, rows: Rows, allowed: np.ndarray, teacher: FitResult
) -> Corrected:
    """The first labels of the run, corrected by the last model."""
    chances = teacher_chances(opened.tagger, teacher.params, rows, config.eval.batch_size)
    return correct(config.student, allowed, chances, rows.words.present)


def _count(batch: Mapping[str, np.ndarray]) -> tuple[int, int]:
    return int(batch["valid"].sum()), batch["valid"].size


def _labels(config: SkillsConfig, texts: Sequence[TaggedText]) -> list[np.ndarray]:
    """What the run trains on: `[W, K, C]` bool for each text."""
    if not config.distant.coverage:
        return label_texts(config.data.kinds, texts)
    lexicons = make_lexicons(config, texts)
    for lexicon in lexicons:
        print(
            f"{lexicon.kind}: {len(lexicon.certain):,} certain and {len(lexicon.uncertain):,} "
            "uncertain phrases"
        )
    matched = matched_spans(lexicons, texts)
    scores = span_matches(config.data.kinds, texts, matched)[""].scores()
    print("distant labels: " + "  ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return label_texts(config.data.kinds, texts, lexicons, config.distant)


def evaluate(config: SkillsConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: strict precision, recall and F1; intervals by a bootstrap over texts."""
    del baselines  # the config has no setting for them, so there are none
    texts = load_texts(config.data)
    check_run(config, texts, directory)
    opened = Opened.of(config)
    variables = opened.trained(config, directory)
    test = texts.parts["test"]
    rows = opened.rows(config, [text.words for text in test])
    compute = compiled_predict(opened.tagger)
    predicted, repaired = predicted_spans(config, opened.tagger, compute, variables, rows)
    values = {MODEL: span_values(texts.kinds, test, predicted)}
    if config.distant.coverage:
        matched = matched_spans(make_lexicons(config, texts.parts["train"]), test)
        values[LEXICON] = span_values(texts.kinds, test, matched)
    found = {name: row_of(own, config.eval.resamples) for name, own in values.items()}
    found[MODEL] |= {
        "parameters": size_of(Tuning(variables, None)).total,
        "fit_seconds": read_training(directory)["seconds"],
    }
    facts = texts.describe()
    spans = ", ".join(f"{facts[f'{kind}_spans']:,} {kind}" for kind in texts.kinds)
    return {
        "rows": found,
        "comparisons": [],
        "protocol": dict(facts),
        "heading": (
            f"{facts['dataset']}: {facts['train']:,} texts trained on; test: {len(test):,} texts "
            f"with {spans} spans"
        ),
        "lines": [
            "strict scores: a span is right if its words and its kind are; intervals over texts",
            f"{repaired:,} predicted tags were repaired to be legal",
        ],
        "values": {name: value.tolist() for name, value in values[MODEL].items()},
    }


def report(config: SkillsConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def tag(config: SkillsConfig, directory: Path, texts: Sequence[str]) -> list[list[TaggedSpan]]:
    """See `System`; the data of the run are not needed."""
    places = [word_places(text) for text in texts]
    full = [number for number, own in enumerate(places) if own]
    if not full:
        raise DataError("no text has a word to tag; give texts that are not empty")
    opened = Opened.of(config)
    variables = opened.trained(config, directory)
    words = [[texts[n][a:b] for a, b in places[n]] for n in full]
    # The texts are the user's own: nothing of them is kept, and a cache would grow with each file.
    rows = opened.rows(config, words, cached=False)
    if rows.words.shortened:
        print(f"{rows.words.shortened} words are longer than a row and lose tokens")
    chosen = [texts[number] for number in full]
    spans = tag_texts(
        opened.tagger, variables, rows, chosen, config.data.kinds, config.eval.batch_size
    )
    by_number = dict(zip(full, spans, strict=True))
    return [by_number.get(number, []) for number in range(len(texts))]
