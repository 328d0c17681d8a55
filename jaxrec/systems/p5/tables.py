"""The tables of a P5 run on the test items, and the lines that `jaxrec eval` prints of them.

The kind of a task's answer decides its table. Rankings of the whole catalogue come with and without
the items of the history, in a table each. Rankings of a hundred candidates are another protocol,
`hr@k|99`, with popularity on the very same candidates. Wordings that training has seen stand beside
those that it has not.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.baselines import biases, item_means
from jaxrec.data import holes
from jaxrec.eval import (
    TiedBlock,
    Ties,
    list_metrics,
    max_plus_one_rate,
    parse_ratings,
    ranking_metrics,
    rating_errors,
)
from jaxrec.ids import ItemCodes
from jaxrec.runs import Measured, baseline_table, measure_baselines, table_lines
from jaxrec.systems.p5.questions import held_out_questions, mean_rating, options_of
from jaxrec.systems.p5.tested import Tested, rank_all
from jaxrec.texts import (
    Asked,
    CatalogueItem,
    Choice,
    FreeText,
    OneOf,
    OneOfCandidates,
    Pairs,
    PromptData,
    Questions,
    Rating,
    TextTask,
    ask,
    item_numbers,
    measure_task,
)

MODEL, UNSEEN, FREE = "model", "model, unseen wording", "model, free beam"
ALONE, ANSWER = "model, candidates not shown", "model, yes or no"
_TIES: Ties = "midrank"
# Test rows that the model writes texts about.
_TEXTS = 1000
# Tokens of a rating that the model writes, and training data that tell its commonest answer.
_RATING_TOKENS, _COUNTED = 8, 1000

P5Task = TextTask[PromptData]
Rows = dict[str, dict[str, float]]


def catalogue_table(
    tested: Tested, task: P5Task, filtered: bool, baselines: Sequence[str], directory: Path
) -> dict[str, Any]:
    """Rows and paired tests of a ranking of all items: JSON-able."""
    config = dataclasses.replace(
        tested.config, decode=dataclasses.replace(tested.config.decode, filter_seen=filtered)
    )
    questions = tested.questions(task, "seen")
    systems = {
        MODEL: rank_all(tested, task, questions, filtered),
        UNSEEN: rank_all(tested, task, tested.questions(task, "unseen"), filtered),
    }
    invalid = 0.0
    if not filtered:
        begun = time.monotonic()
        items = tested.prompted.recommend_freely(questions.prompts, beams=config.decode.beams)
        metrics = list_metrics(items, questions.targets, config.eval.ks)
        systems[FREE] = tested.measured(metrics, items, begun)
        invalid = float((items < 0).mean())
    others, left_out = measure_baselines(baselines, config, tested.data.dataset, directory)
    return baseline_table(systems | others, config) | {
        "invalid_share": invalid,
        "left_out": left_out,
    }


def candidate_table(tested: Tested, task: P5Task) -> dict[str, Any]:
    """Rows and paired tests of a ranking of one target among candidates: JSON-able."""
    data, config = tested.data, tested.config
    questions = tested.questions(task, "seen")
    systems = {
        MODEL: rank_all(tested, task, questions, False),
        UNSEEN: rank_all(tested, task, tested.questions(task, "unseen"), False),
    }
    alone = _trained(tested, Pairs(), CatalogueItem)
    if alone is not None:
        # The same candidates, ranked by a task whose prompts do not show them.
        shown = ask(alone, alone.wordings["seen"], data, questions.data)
        systems[ALONE] = rank_all(tested, task, shown, False)
    assert isinstance(task.source, OneOf)
    yes_no = _trained(tested, Asked(task.source.inner), Choice)
    if yes_no is not None:
        begun = time.monotonic()
        metrics = _metrics_of_scores(
            _agreement(tested, yes_no, questions), questions, config.eval.ks
        )
        systems[ANSWER] = tested.measured(metrics, questions.candidates[:, :0], begun)
    counts = np.bincount(data.dataset.split.train.item, minlength=data.dataset.num_items)
    metrics = _metrics_of_scores(counts[questions.candidates], questions, config.eval.ks)
    systems["popularity"] = Measured(
        metrics=metrics,
        parameters=0,
        fit_seconds=0.0,
        test_seconds=0.0,
        items=questions.candidates[:, :0],
    )
    mark = f"|{data.candidates - 1}"
    named = {
        name: dataclasses.replace(
            system, metrics={metric + mark: values for metric, values in system.metrics.items()}
        )
        for name, system in systems.items()
    }
    return baseline_table(named, config, "ndcg@10" + mark)


def _trained(tested: Tested, source: Any, answer: type) -> P5Task | None:
    """The run's task with a source and a kind of answer; None if it trains no such task."""
    tasks = tested.tasks.values()
    return next((t for t in tasks if t.source == source and isinstance(t.answer, answer)), None)


def _agreement(tested: Tested, task: P5Task, questions: Questions) -> np.ndarray:
    """How much more likely yes is than no for each candidate: [N, A]."""
    examples = [
        dataclasses.replace(datum, asked=item, answer=0)
        for datum, row in zip(questions.data, questions.candidates.tolist(), strict=True)
        for item in row
    ]
    asked = ask(task, task.wordings["seen"], tested.data, examples)
    logs = task.answer.answer(tested.prompted, asked, options_of(tested.config))
    return (logs[:, 0] - logs[:, 1]).reshape(questions.candidates.shape)


def _metrics_of_scores(
    scores: np.ndarray, questions: Questions, ks: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Metrics of each user from scores [N, A] of their candidates."""
    mine = scores[questions.candidates == questions.targets[:, None]][:, None]
    block = TiedBlock((scores > mine).sum(axis=1), (scores == mine).sum(axis=1))
    metrics = ranking_metrics(block, ks, _TIES)
    del metrics["mrr"]
    return metrics


def rating_table(tested: Tested, task: P5Task) -> Rows:
    """RMSE and MAE of the model and of its baselines on the test rows."""
    data, split = tested.data.dataset.interactions, tested.data.ratings
    assert split is not None
    truth, mean = data.rating[split.test], mean_rating(tested.data)
    rows: Rows = {}
    for wording in task.wordings:
        questions = tested.questions(task, wording)
        rows[f"model, mean of all ratings, {wording} wording"] = measure_task(
            task, tested.prompted, questions, options_of(tested.config)
        )
        parsed = parse_ratings(tested.prompted.write(questions.prompts, _RATING_TOKENS), mean)
        rows[f"model, greedy text, {wording} wording"] = rating_errors(parsed.values, truth) | {
            "parsed": float(parsed.parsed.mean())
        }
    rows["mean rating"] = rating_errors(np.full(len(truth), mean), truth)
    rows["item mean"] = rating_errors(item_means(data, split.train)[split.test], truth)
    rows["user and item bias"] = rating_errors(biases(data, split.train)[split.test], truth)
    return rows


def choice_table(tested: Tested, task: P5Task) -> Rows:
    """Accuracy and AUC of the model, beside the answer that is commonest in training."""
    rows: Rows = {}
    for wording in task.wordings:
        questions = tested.questions(task, wording)
        rows[f"model, {wording} wording"] = measure_task(
            task, tested.prompted, questions, options_of(tested.config)
        )
    stream, rng = task.source.training(tested.data), np.random.default_rng(0)
    places = np.linspace(0, stream.size - 1, min(stream.size, _COUNTED)).astype(int)
    answers = [stream.draw(place, rng).answer for place in places.tolist()]
    commonest = int(np.bincount(answers).argmax())
    rows["commonest answer"] = {"accuracy": float(np.mean(questions.answers == commonest))}
    return rows


def text_rows(tested: Tested, task: P5Task) -> Rows:
    """What the model writes about test rows, in every wording, against what it should write."""
    units = np.random.default_rng(0).permutation(task.source.units(tested.data, "test"))[:_TEXTS]
    rows: Rows = {}
    for template in task.templates:
        name = f"{template.name}, {'seen' if template.seen else 'unseen'} wording"
        if "hint" in holes(template.source):
            name += ", with a hint"
        questions = held_out_questions(tested.data, task, "test", units, template.name)
        rows[name] = measure_task(task, tested.prompted, questions, options_of(tested.config))
    return rows


_PLAIN: Mapping[type, Callable[[Tested, P5Task], Rows]] = {
    Rating: rating_table,
    Choice: choice_table,
}


def measure(tested: Tested, directory: Path, baselines: Sequence[str]) -> dict[str, Any]:
    """All tables of a run: the first with "rows" and "comparisons", all in "tables" and "lines"."""
    begun = time.monotonic()
    rankings: dict[str, Any] = {}
    plain: dict[str, Rows] = {}
    texts: Rows = {}
    filtered = tested.config.decode.filter_seen
    for task in tested.tasks.values():
        if isinstance(task.answer, CatalogueItem):
            for removed in (filtered, not filtered):
                name = f"{task.name}, seen items {'removed' if removed else 'kept'}"
                rankings[name] = catalogue_table(tested, task, removed, baselines, directory)
        elif isinstance(task.answer, OneOfCandidates):
            rankings[f"{task.name}, 1 of {tested.data.candidates}"] = candidate_table(tested, task)
        elif isinstance(task.answer, FreeText):
            texts |= text_rows(tested, task)
        else:
            plain[task.name] = _PLAIN[type(task.answer)](tested, task)
    if texts:
        reviews = tested.data.reviews
        plain[f"texts on {'synthetic ' if reviews and reviews.synthetic else ''}reviews"] = texts
    lines = []
    for name, table in rankings.items():
        lines += table_lines(name, table)
        if table.get("invalid_share"):
            lines.append(f"  {FREE}: {table['invalid_share']:.2%} of the beams are not an item")
    lines += [line for name, rows in plain.items() for line in plain_lines(name, rows)]
    first = next(iter(rankings.values()), None)
    if first is None:
        nothing = tested.measured({}, np.zeros((0, 0)), begun)
        first = baseline_table({MODEL: nothing}, tested.config)
    return {
        "rows": first["rows"],
        "comparisons": first["comparisons"],
        "tables": rankings | plain,
        "lines": lines,
    }


def leaks(data: PromptData, codes: ItemCodes) -> dict[str, float]:
    """How often "the largest number of the history plus one" is the target, as a share of users.

    Once by the items' own numbers, and once by those that their IDs spell, which the model sees.
    """
    split = data.dataset.split
    number = np.argsort(np.argsort(item_numbers(codes), kind="stable"), kind="stable")
    histories, targets = split.history("test"), split.target("test")
    return {
        "max_plus_one": max_plus_one_rate(histories, targets),
        "max_plus_one_of_ids": max_plus_one_rate(
            [number[history] for history in histories], number[targets]
        ),
    }


def plain_lines(name: str, rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Rows of numbers in a line each."""
    lines = [f"{name}:"] if rows else []
    for system, row in rows.items():
        shown = "  ".join(f"{metric} {value:.4f}" for metric, value in row.items())
        lines.append(f"  {system}: {shown}")
    return lines
