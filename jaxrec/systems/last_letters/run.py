"""Last letters: what a model of a million parameters gains by writing its reasoning.

names -> questions -> texts with marked answers -> packed rows -> next-token loss on the answers

Two models are trained on the same questions, in one case with reasoning in the texts and in the
other with bare answers (Wei et al. 2022, arXiv:2201.11903, section 5, where a prompt shows the
reasoning instead). The tests have questions of trained lengths, and longer ones: a reasoning is the
same few operations for each name, and the longer questions tell whether the model has learned that.

`System` describes the functions of this module.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import batch_shard, batch_sharding, is_writer, on_writer
from jaxrec.data import Mix, encode_marked, mixed_batches
from jaxrec.eval import RunParts, SystemFacts, bootstrap_interval, holm, paired_bootstrap
from jaxrec.models import Opened
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.prompting import (
    ChainSettings,
    Exemplar,
    LocalModel,
    Reasoned,
    reason,
    score_reasoning,
    self_consistency,
)
from jaxrec.runs import (
    Options,
    check_run,
    is_run,
    read_parts,
    run_identity,
    write_summary,
)
from jaxrec.systems.last_letters.config import LettersConfig
from jaxrec.systems.last_letters.questions import TRAINED, marked, prepare, settings_of
from jaxrec.texts import TextModel, open_tuned, tuned as tuned_text
from jaxrec.train import Start, Validation, fit

METRIC = "accuracy"
CONFIG = LettersConfig
MODEL, VOTES = "model", "self-consistency"
FACTS = SystemFacts(
    name="Last letters",
    summary=(
        "A small language model that was trained from scratch to concatenate the last letters of "
        "names, with its reasoning or without."
    ),
    tags=("reasoning",),
    metric=f"{METRIC}_{TRAINED}",
    has_ids=False,
    recommends=False,
    variants=(VOTES,),
)
INSTEAD = {
    "rank": "a model of last letters ranks no catalogue; see jaxrec eval",
    "recommend": "ask the exported model; see jaxrec export --to hf",
    "fit_ids": "a model of last letters has no item IDs",
}
# All bytes and the special tokens: no merges, so that a token is a character.
_VOCABULARY = 260
_TOKENIZER_TEXTS = 100


def train(config: LettersConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    prepared, settings = prepare(config), settings_of(config)
    texts = [marked(exemplar, settings) for exemplar in prepared.train]
    new = not is_run(directory)
    if new:
        sample = [text.text for text in texts[:_TOKENIZER_TEXTS]]
        text = tuned_text.from_scratch(config.model, sample, _VOCABULARY, (), config.train.seed)
    else:
        check_run(config, prepared, directory)
        text = TextModel.load_scratch(config.model, directory, config.train.seed)
    longest = max(len(t.text) for t in texts) + 1  # characters, and the end of the text
    encoded = encode_marked(text.tokenizer, texts, longest)
    text.model.config.check_length(longest, "the longest text", "raise --model.max-length")
    # Rows with room for two short texts waste little.
    length = -(-longest // 64) * 64
    batches = functools.partial(
        mixed_batches,
        encoded,
        Mix(sizes=(len(encoded),), seed=config.train.seed),
        length=length,
        batch_size=config.train.batch_size,
    )
    plan = text.plan(
        functools.partial(language_loss, text.model), next(iter(batches())), config.train
    )
    print(f"{prepared.name}: {len(encoded):,} texts, {len(encoded.tokens):,} characters")
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if new:
        on_writer(lambda: text.create_run(config, prepared, directory))

    def measure(params: Any) -> dict[str, float]:
        model = _asked(config, text, params)
        return {
            METRIC: float(
                np.mean(_right(_reasoned(model, prepared.valid, settings), prepared.valid))
            )
        }

    result = fit(
        plan,
        iter(batches(shard=batch_shard(batch_sharding(plan.mesh, plan.rules)))),
        Validation(measure, METRIC),
        directory,
        start=Start(params=text.start, run=run_identity(directory)),
        measure=_count,
        profile=options.profile,
    )
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def _count(batch: Mapping[str, np.ndarray]) -> tuple[int, int]:
    return int(batch["valid"].sum()), batch["valid"].size


def evaluate(config: LettersConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: share of right answers by part, greedily and by self-consistency."""
    prepared, settings = prepare(config), settings_of(config)
    check_run(config, prepared, directory)
    text = TextModel.load_scratch(config.model, directory, config.train.seed)
    model = _asked(config, text, text.best(directory, config.train))
    scores: dict[str, dict[str, np.ndarray]] = {MODEL: {}}
    lines = []
    for part, exemplars in prepared.test.items():
        found = {MODEL: _reasoned(model, exemplars, settings)}
        if config.eval.samples:
            found[VOTES] = self_consistency(
                model,
                [exemplar.question for exemplar in exemplars],
                settings,
                samples=config.eval.samples,
                temperature=config.eval.temperature,
                top_k=config.eval.top_k,
                seed=config.train.seed,
            )
        for name, records in found.items():
            scores.setdefault(name, {})[f"{METRIC}_{part}"] = _right(records, exemplars)
            lines.append(_line(part, name, records, exemplars))
    if prepared.missing:
        lines.append(f"{prepared.missing} was not found, so real names were not measured")
    rows: dict[str, dict[str, Any]] = {}
    for name, by_metric in scores.items():
        intervals = {
            metric: bootstrap_interval(values, resamples=config.eval.resamples)
            for metric, values in by_metric.items()
        }
        rows[name] = {
            "metrics": {metric: value.mean for metric, value in intervals.items()},
            "intervals": {metric: [value.low, value.high] for metric, value in intervals.items()},
        }
    rows[MODEL]["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    return {
        "rows": rows,
        "comparisons": _comparisons(scores, config.eval.resamples),
        "values": {metric: values.tolist() for metric, values in scores[MODEL].items()},
        "heading": f"{prepared.name}, {len(prepared.train):,} questions trained on; test: "
        + ", ".join(f"{len(part):,} {name}" for name, part in prepared.test.items()),
        "protocol": dict(prepared.describe()),
        "lines": ["intervals by a bootstrap over questions", *lines],
    }


def report(config: LettersConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_model(config: LettersConfig, directory: Path) -> Opened:
    """See `System`."""
    text = TextModel.load_scratch(config.model, directory, config.train.seed)
    return open_tuned(TuneConfig(), text, text.best(directory, config.train), None)


def _asked(config: LettersConfig, text: TextModel, variables: Any) -> LocalModel:
    """The model as prompting methods ask it."""
    return LocalModel(
        text.model,
        variables,
        text.tokenizer,
        name="last letters",
        context=max(config.model.max_length, 2 * config.eval.max_tokens),
        batch_size=config.eval.batch_size,
    )


def _reasoned(
    model: LocalModel, exemplars: Sequence[Exemplar], settings: ChainSettings
) -> list[Reasoned]:
    """Ask the questions of exemplars, whose answers the model does not see."""
    return reason(model, [exemplar.question for exemplar in exemplars], settings)


def _right(records: Sequence[Reasoned], exemplars: Sequence[Exemplar]) -> np.ndarray:
    """1 for a right answer, else 0: `[N]` float64."""
    truths = [exemplar.answer for exemplar in exemplars]
    return np.array(score_reasoning(records, truths, "letters").right, np.float64)


def _line(part: str, name: str, records: Sequence[Reasoned], exemplars: Sequence[Exemplar]) -> str:
    """Say what the share of right answers does not: how many could be read, and how sure."""
    truths = [exemplar.answer for exemplar in exemplars]
    scores = score_reasoning(records, truths, "letters")
    agreement = float(np.mean([record.agreement for record in records]))
    return (
        f"{part}, {name}: {scores.unparsed:.3f} of the replies without an answer, "
        f"{scores.truncated:.3f} truncated, agreement {agreement:.3f}"
    )


def _comparisons(
    scores: Mapping[str, Mapping[str, np.ndarray]], resamples: int
) -> list[dict[str, Any]]:
    """Test the model's greedy answers against those of self-consistency, part by part."""
    if VOTES not in scores:
        return []
    metrics = list(scores[MODEL])
    tests = [
        paired_bootstrap(scores[MODEL][metric], scores[VOTES][metric], resamples=resamples)
        for metric in metrics
    ]
    return [
        {
            "baseline": VOTES,
            "metric": metric,
            "difference": test.difference,
            "interval": [test.low, test.high],
            "p": test.p,
            "p_holm": float(p),
        }
        for metric, test, p in zip(metrics, tests, holm([t.p for t in tests]), strict=True)
    ]
