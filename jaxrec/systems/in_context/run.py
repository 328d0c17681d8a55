"""In-context learning: how much the choice of demonstrations matters to a small model.

random functions -> texts of examples -> next-token loss on the answers -> prompts of unseen tasks

The model is trained on sequences of examples, each of a task of its own, and is then asked about
tasks that it has never seen, with demonstrations that are selected and ordered in different ways.

`System` describes the functions of this module.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, is_writer, on_writer
from jaxrec.data import TokenRows, encode_marked, instruction_batches
from jaxrec.eval import RunParts, SystemFacts, bootstrap_interval, holm, paired_bootstrap
from jaxrec.models import Opened
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.prompting import LocalModel
from jaxrec.runs import (
    MODEL,
    Options,
    check_run,
    is_run,
    read_parts,
    run_identity,
    write_summary,
)
from jaxrec.systems.in_context.config import InContextConfig
from jaxrec.systems.in_context.measure import answered, found_planted
from jaxrec.systems.in_context.tasks import Tasks, make_tasks
from jaxrec.texts import TextModel, open_tuned, tuned as tuned_text
from jaxrec.train import Start, Validation, fit

METRIC, PLANTED = "accuracy", "planted_found"
CONFIG = InContextConfig
FACTS = SystemFacts(
    name="In-context learning",
    summary="A small language model that learns tasks from the demonstrations in its prompt.",
    tags=("in-context-learning",),
    metric=METRIC,
    has_ids=False,
    recommends=False,
    unit="tasks",
)
INSTEAD = {
    "rank": "it answers made-up tasks and ranks no catalogue; see jaxrec eval",
    "recommend": "it answers made-up tasks and knows no items",
    "fit_ids": "it answers made-up tasks, and items have no IDs here",
    "open_adapter": "all parameters are trained; use jaxrec export --to hf",
}
# Texts that the tokenizer is trained on; all words are in them many times.
_TOKENIZER_TEXTS = 1000


def train(config: InContextConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    tasks = _tasks(config)
    new = not is_run(directory)
    if new:
        sample = [text.text for text in tasks.train[:_TOKENIZER_TEXTS]]
        text = tuned_text.from_scratch(
            config.model, sample, config.vocab_size, (), config.train.seed
        )
    else:
        check_run(config, tasks, directory)
        text = TextModel.load_scratch(config.model, directory, config.train.seed)
    rows = encode_rows(text, tasks)
    print(f"{tasks.name}: {len(rows):,} texts of {rows.tokens.shape[1]} tokens")
    plan = text.plan(
        functools.partial(language_loss, text.model),
        rows.take(np.zeros(config.train.batch_size, int)),
        config.train,
    )
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if new:
        on_writer(lambda: text.create_run(config, tasks, directory))
    held, most = tasks.valid[: config.eval.valid_tasks], max(config.eval.demonstrations)

    def measure(params: Any) -> dict[str, float]:
        right = answered(_asked(config, text, params), tasks.words, held, most, "nearest")
        return {METRIC: float(right.mean())}

    result = fit(
        plan,
        iter(instruction_batches(rows, batch_size=config.train.batch_size, seed=config.train.seed)),
        Validation(measure, METRIC),
        directory,
        start=Start(params=text.start, run=run_identity(directory)),
        profile=options.profile,
    )
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def encode_rows(text: TextModel, tasks: Tasks) -> TokenRows:
    """Encode the texts of a run, of which a model learns the answers.

    Raises:
      ConfigError: a text is longer than the model reads.
    """
    encoded = encode_marked(text.tokenizer, tasks.train, text.model.config.max_length)
    if encoded.cut or encoded.rejected:
        raise ConfigError(
            f"--data.length {len(tasks.train[0].spans)} examples do not fit in --model.max-length "
            f"{text.model.config.max_length} tokens; lower the former or raise the latter"
        )
    lengths = encoded.lengths[:, None]
    valid = np.arange(int(lengths.max()))[None] < lengths
    tokens = np.full(valid.shape, text.tokenizer.eos_token_id, np.int32)
    tokens[valid] = encoded.tokens
    weights = np.zeros(valid.shape, np.float32)
    weights[valid] = encoded.learned
    return TokenRows(
        tokens=tokens,
        valid=valid,
        weights=weights,
        answer=weights.argmax(axis=1).astype(np.int32),
    )


def evaluate(
    config: InContextConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`: accuracy by selection, number and order of demonstrations.

    Intervals resample tasks, each of which has one query. The row of the model is that with the
    most nearest neighbours.
    """
    del baselines  # the config has no setting for them, so there are none
    tasks = _tasks(config)
    check_run(config, tasks, directory)
    text = TextModel.load_scratch(config.model, directory, config.train.seed)
    model = _asked(config, text, text.best(directory, config.train))
    ask = functools.partial(answered, model, tasks.words, tasks.test, seed=config.train.seed)
    most = max(config.eval.demonstrations)
    values: dict[str, dict[str, np.ndarray]] = {
        MODEL: {METRIC: ask(most, "nearest"), PLANTED: found_planted(model, tasks.test)},
        "no demonstrations": {METRIC: ask(0, "random")},
    }
    for count in config.eval.demonstrations:
        for select in ("random", "nearest"):
            values[f"{select}, k = {count}"] = {METRIC: ask(count, select)}
    for order in ("descending", "random"):
        values[f"nearest, k = {most}, {order} order"] = {METRIC: ask(most, "nearest", order)}
    rows: dict[str, dict[str, Any]] = {}
    for name, metrics in values.items():
        intervals = {
            metric: bootstrap_interval(value, resamples=config.eval.resamples)
            for metric, value in metrics.items()
        }
        rows[name] = {
            "metrics": {metric: i.mean for metric, i in intervals.items()},
            "intervals": {metric: [i.low, i.high] for metric, i in intervals.items()},
        }
    rows[MODEL]["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    return {
        "rows": rows,
        "comparisons": _comparisons(config, values),
        "protocol": dict(tasks.describe()),
        "heading": f"{tasks.name}: {len(tasks.test)} unseen tasks with one query each",
        "lines": [
            f"{PLANTED} is the share of queries whose one useful demonstration among "
            f"{config.eval.candidates} has the highest gain"
        ],
        "values": {metric: value.tolist() for metric, value in values[MODEL].items()},
    }


def _comparisons(
    config: InContextConfig, values: Mapping[str, Mapping[str, np.ndarray]]
) -> list[dict[str, Any]]:
    """Test the model's row, with nearest neighbours, against each random selection."""
    names = [f"random, k = {count}" for count in config.eval.demonstrations]
    tests = [
        paired_bootstrap(
            values[MODEL][METRIC], values[name][METRIC], resamples=config.eval.resamples
        )
        for name in names
    ]
    return [
        {
            "baseline": name,
            "metric": METRIC,
            "difference": test.difference,
            "interval": [test.low, test.high],
            "p": test.p,
            "p_holm": float(p),
        }
        for name, test, p in zip(names, tests, holm([t.p for t in tests]), strict=True)
    ]


def report(config: InContextConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_model(config: InContextConfig, directory: Path) -> Opened:
    """See `System`."""
    text = TextModel.load_scratch(config.model, directory, config.train.seed)
    return open_tuned(TuneConfig(), text, text.best(directory, config.train), None)


def _tasks(config: InContextConfig) -> Tasks:
    return make_tasks(config.data, config.eval.candidates)


def _asked(config: InContextConfig, text: TextModel, variables: Any) -> LocalModel:
    """The model as prompting methods ask it."""
    return LocalModel(
        text.model,
        variables,
        text.tokenizer,
        name="in-context learner",
        batch_size=config.eval.batch_size,
    )
