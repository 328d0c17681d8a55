"""GLRec: a language model reads paths of the behaviour graph (Wu et al., AAAI 2024).

interactions -> graph without held-out edges -> paths of a question -> sentences in its prompt ->
next-token loss -> gap of the answers' logits

The prompt is TALLRec's with one line of paths, which say what users with similar opinions think of
the item asked about. A model that reads several paths in a fixed order learns from their places, so
its answer depends on the order. Two remedies are the paper's: training on shuffled orders, and a
selector that scales the embeddings of each path by a learned weight.

No path holds a held-out edge: the graph is built without them. No path leads through the user
asked about either, so the edge that a training question asks about is in none of its paths.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.models import Opened
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.runs import (
    Kept,
    Options,
    check_run,
    is_run,
    open_any,
    read_parts,
)
from jaxrec.systems.glrec import measure as measures, selector, serving
from jaxrec.systems.glrec.answering import (
    gaps_of,
    load_text,
    most_paths,
    rows_of,
    trained_variables,
)
from jaxrec.systems.glrec.config import GlrecConfig
from jaxrec.systems.glrec.questions import PathQuestions, Writer, make_writer
from jaxrec.texts import (
    ClickParts,
    ClickStage,
    QuestionRanker,
    TextModel,
    clicks as click_table,
    load_click_run,
    measure_clicks,
    open_tuned,
    open_tuned_adapter,
    quoted,
    train_stages,
    tuned as tuned_text,
)

METRIC = "mean_auc"
# Questions that the tokenizer of a model from scratch is trained on.
_SAMPLE = 2000

CONFIG = GlrecConfig
FACTS = SystemFacts(
    name="GLRec",
    summary=(
        "A language model reads which items a user liked, and paths of the behaviour graph that "
        "lead to an item, and answers whether the user will like it."
    ),
    tags=("prompt-based-recommendation",),
    metric=METRIC,
    has_ids=False,
    variants=("untuned",),
)
INSTEAD = {
    "rank": "GLRec is measured by its answers about single items or pairs; see jaxrec eval",
    "add_items": "GLRec keeps the items of its ratings; add them there, and train again",
    "fit_ids": "GLRec calls items by their titles",
}


def train(config: GlrecConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    parts = load_click_run(config)
    writer = make_writer(config, parts)
    print(f"{parts}; a graph of {len(writer.finder.graph):,} edges")
    questions = writer.questions(parts.train, config.train.seed)
    held = writer.questions(parts.valid, 0)
    sets = _training_sets(config, questions)
    text = _open(config, directory, writer, sets)

    def measure(rows: Any, params: Any) -> dict[str, float]:
        return measure_clicks(held.label, held.user, gaps_of(config, text, params, writer, rows))

    answered = rows_of(config, text, writer, sets, answered=True)
    stages = [
        ClickStage(
            name="train",
            rows=answered,
            held=rows_of(config, text, writer, [held]),
            config=config.train,
        )
    ]
    if config.title_steps:
        bare = [questions.without_context()]
        stages.insert(
            0,
            ClickStage(
                name="titles",
                rows=rows_of(config, text, writer, bare, answered=True),
                held=rows_of(config, text, writer, [held.without_context()]),
                config=_with_steps(config),
            ),
        )
    train_stages(
        text,
        stages,
        directory,
        config=config,
        parts=parts,
        loss=_loss(config, text),
        measure=measure,
        metric=METRIC,
        options=options,
    )


def evaluate(config: GlrecConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: AUC beside the controls, the spread over orders, and the selector's choice."""
    assert not baselines  # the config has no setting for them
    parts = load_click_run(config)
    check_run(config, parts, directory)
    writer = make_writer(config, parts)
    text = load_text(config, directory)
    trained = trained_variables(config, text, directory)
    asked = writer.questions(parts.test, 0)

    def answers(variables: Any, questions: PathQuestions) -> np.ndarray:
        rows = rows_of(config, text, writer, [questions])
        return gaps_of(config, text, variables, writer, rows)

    systems = {
        "model": answers(trained, asked),
        "untuned": answers(text.variables(text.start()), asked),
    }
    finder = writer.finder
    systems |= measures.control_scores(parts.train, asked, finder.graph, finder.liked_from)
    report = click_table.table(systems, asked, config.eval.resamples)
    report["rows"]["model"]["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    count = min(config.eval.order_windows, len(asked))
    some = asked.take(np.linspace(0, len(asked) - 1, count).astype(int))
    if any(len(paths) > 1 for paths in some.paths):
        gaps = functools.partial(answers, trained)
        spread = measures.order_spread(some, gaps, config.eval.orders)
        measures.add_by_user(report, "order_std", spread, some.user)
    if config.paths.planted and config.selects:
        first = _first_choices(config, text, writer, trained, asked)
        right = (first == asked.telling).astype(float)
        measures.add_by_user(report, "planted_first", right, asked.user)
    facts = parts.describe()
    split = "split by files" if config.data.from_records else f"{config.split} split"
    what = "pairs" if config.form == "pair" else "questions"
    heading = (
        f"{facts['dataset']}, {split}, {facts['train']:,} windows trained on; test: "
        f"{len(asked):,} {what} of {len(np.unique(asked.user))} users, "
        f"{np.mean([len(paths) for paths in asked.paths]):.1f} paths each"
    )
    lines = [
        "AUC by the gap of the answers' logits; intervals by a bootstrap over test users",
        "order_std: standard deviation of P(first answer) over orders of the paths",
    ]
    return report | {"heading": heading, "protocol": dict(facts), "lines": lines}


def load_data(config: GlrecConfig) -> ClickParts:
    """See `System`."""
    return serving.load_data(config)


def open_ranker(config: GlrecConfig, directory: Path, kept: Kept) -> QuestionRanker:
    """See `System`: asks about every item that may be recommended."""
    return serving.open_ranker(config, directory, kept)


def report(config: GlrecConfig, directory: Path) -> RunParts:
    """See `System`."""
    parts = read_parts(config, directory, FACTS)
    # Files of questions are not the data set that `data.name` means.
    return dataclasses.replace(parts, about="", homepage="") if config.data.from_records else parts


def open_model(config: GlrecConfig, directory: Path) -> Opened:
    """See `System`."""
    _check_exportable(config)
    return open_tuned(config.tune, *_opened(config, directory))


def open_adapter(config: GlrecConfig, directory: Path) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """See `System`."""
    _check_exportable(config)
    return open_tuned_adapter(config.tune, *_opened(config, directory))


def _check_exportable(config: GlrecConfig) -> None:
    if config.selects:
        raise ConfigError(
            f"order {config.order} has a path selector, which scales embeddings and which no "
            "plain model can hold; train with order shuffle or ranked to export the run"
        )


def _opened(config: GlrecConfig, directory: Path) -> tuple[TextModel, Any, Opened | None]:
    """Return the text model of a trained run, its variables, and the base if it has one."""
    check_run(config, load_click_run(config), directory)
    text = load_text(config, directory)
    base = open_any(Path(config.tune.base)) if config.tune.base else None
    return text, trained_variables(config, text, directory), base


def _open(
    config: GlrecConfig, directory: Path, writer: Writer, sets: Sequence[PathQuestions]
) -> TextModel:
    """Open the model of an existing run, or make the one that a new run begins with."""
    if is_run(directory):
        return load_text(config, directory)
    if config.tune.base:
        text = tuned_text.from_base(config.tune, config.train.seed)
    else:
        # A sample has all words: those of titles and users are tokens of their own.
        some = sets[0].take(np.arange(min(len(sets[0]), _SAMPLE)))
        records = writer.records(some, answered=True)
        words = [*quoted(writer.parts.titles), *writer.users, *writer.phrases]
        if config.form == "pair":
            words += [answer.removesuffix(".") for answer in writer.answers]
        text = tuned_text.from_scratch(
            config.model,
            [record.prompt + record.output for record in records],
            config.vocab_size,
            words,
            config.train.seed,
        )
    return selector.with_selector(text) if config.selects else text


def _training_sets(config: GlrecConfig, questions: PathQuestions) -> list[PathQuestions]:
    """The training questions: in the ranked order, or once in each of several random orders."""
    rng = np.random.default_rng(config.train.seed)
    if not config.copies:
        return [questions]
    return [questions.reordered(rng) for _ in range(config.copies)]


def _with_steps(config: GlrecConfig) -> Any:
    return dataclasses.replace(config.train, steps=config.title_steps)


def _loss(config: GlrecConfig, text: TextModel) -> Any:
    if not config.selects:
        return functools.partial(language_loss, text.model)
    return functools.partial(
        selector.selected_loss, text.model, most_paths(config), config.strength
    )


def _first_choices(
    config: GlrecConfig,
    text: TextModel,
    writer: Writer,
    variables: Any,
    questions: PathQuestions,
) -> np.ndarray:
    """The path of each question that the selector gives most weight: `[N]`."""
    rows = rows_of(config, text, writer, [questions])
    weights = functools.partial(selector.path_weights, count=most_paths(config))
    batch = rows.take(slice(None))
    return np.asarray(jax.jit(weights)(variables, batch)).argmax(axis=1)
