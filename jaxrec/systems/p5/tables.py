"""The tables of a P5 run on the test items, and the lines that `jaxrec eval` prints of them.

The kind of a task's answer decides its table. Rankings of the whole catalogue come with and without
the items of the history, in a table each. Rankings of a hundred candidates are another protocol,
`hr@k|99`, with popularity on the very same candidates, and with the same candidates in other
orders. Wordings that training has seen stand beside those that it has not. The tables of choices,
of conversations and of decoding are in modules of their own.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
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
from jaxrec.runs import MODEL, Measured, baseline_table, measure_baselines, table_lines
from jaxrec.systems.p5.choices import choice_table
from jaxrec.systems.p5.conversation import conversation_tables
from jaxrec.systems.p5.decoding import ANSWER_TOKENS, answer_rates
from jaxrec.systems.p5.factual import facts_table
from jaxrec.systems.p5.questions import held_out_questions, mean_rating, options_of
from jaxrec.systems.p5.tasks import ranks_catalogue
from jaxrec.systems.p5.tested import UNSEEN, Tested, rank_all
from jaxrec.texts import (
    Asked,
    CatalogueItem,
    Choice,
    Conversations,
    Described,
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

FREE, SHUFFLED = "model, free beam", "model, slots shuffled"
RATES = "legal answers, with the trie and without"
ALONE, ANSWER = "model, candidates not shown", "model, yes or no"
_TIES: Ties = "midrank"
# Test rows that the model writes texts about.
_TEXTS = 1000
# Other orders in which candidates are shown, and cut-offs of short lists of candidates.
_ORDERS, _SHORT = 3, (3, 5)

P5Task = TextTask[PromptData]
Rows = dict[str, dict[str, float]]


def catalogue_table(
    tested: Tested,
    task: P5Task,
    filtered: bool,
    baselines: Sequence[str],
    directory: Path,
    free: Measured | None,
) -> dict[str, Any]:
    """Rows and paired tests of a ranking of all items: JSON-able.

    Args:
      tested: the run.
      task: one that ranks the whole catalogue.
      filtered: leave out the items of the history.
      baselines: names of the baselines.
      directory: of the run.
      free: the row of `written_freely`, which cannot leave out any item and so stands in the table
        that keeps all; None for no such row.
    """
    config = dataclasses.replace(
        tested.config, decode=dataclasses.replace(tested.config.decode, filter_seen=filtered)
    )
    questions = tested.questions(task, "seen")
    systems = {
        MODEL: rank_all(tested, task, questions, filtered),
        UNSEEN: rank_all(tested, task, tested.questions(task, "unseen"), filtered),
    }
    if free is not None:
        systems[FREE] = free
    others, left_out = measure_baselines(baselines, config, tested.data.dataset, directory)
    return baseline_table(systems | others, config) | {"left_out": left_out}


def written_freely(tested: Tested, questions: Questions) -> Measured:
    """The items that a beam search over the whole vocabulary writes, -1 for texts that are none."""
    begun = time.monotonic()
    items = tested.prompted.recommend_freely(questions.prompts, beams=tested.config.decode.beams)
    metrics = list_metrics(items, questions.targets, tested.config.eval.ks)
    return tested.measured(metrics, items, begun)


def candidate_table(tested: Tested, task: P5Task) -> tuple[dict[str, Any], Rows]:
    """Rows and paired tests of a ranking of one target among candidates, and what orders change.

    Returns:
      The first is JSON-able as `baseline_table`; its "slots shuffled" are means over other orders
      of the same candidates. The second says how often the best candidate stays the same in another
      order, and in which slot it stands, from 0 (the first) to 1; without a preference it is .5.
    """
    data, config = tested.data, tested.config
    questions = tested.questions(task, "seen")
    ks = tuple(sorted({*_SHORT, *config.eval.ks}))
    ks = tuple(k for k in ks if k <= config.decode.beams)

    def ranked(asked: Questions) -> Measured:
        begun = time.monotonic()
        items = task.answer.answer(tested.prompted, asked, options_of(config, False))
        return tested.measured(list_metrics(items, asked.targets, ks), items, begun)

    systems = {MODEL: ranked(questions), UNSEEN: ranked(tested.questions(task, "unseen"))}
    orders = [reordered(tested, task, questions, seed) for seed in range(1, _ORDERS + 1)]
    again = [ranked(asked) for asked in orders]
    systems[SHUFFLED] = dataclasses.replace(
        again[0],
        metrics={
            name: np.mean([other.metrics[name] for other in again], axis=0)
            for name in again[0].metrics
        },
    )
    slots = slot_rows([questions, *orders], [systems[MODEL].items, *(m.items for m in again)])
    alone = _trained(tested, Pairs(), CatalogueItem)
    if alone is not None:
        # The same candidates, ranked by a task whose prompts do not show them.
        systems[ALONE] = ranked(ask(alone, alone.wordings["seen"], data, questions.data))
    assert isinstance(task.source, OneOf)
    yes_no = _trained(tested, Asked(task.source.inner), Choice)
    if yes_no is not None:
        begun = time.monotonic()
        metrics = _metrics_of_scores(_agreement(tested, yes_no, questions), questions, ks)
        systems[ANSWER] = tested.measured(metrics, questions.candidates[:, :0], begun)
    counts = np.bincount(data.dataset.split.train.item, minlength=data.dataset.num_items)
    systems["popularity"] = Measured(
        metrics=_metrics_of_scores(counts[questions.candidates], questions, ks),
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
    return baseline_table(named, config, "ndcg@10" + mark), {MODEL: slots}


def reordered(tested: Tested, task: P5Task, questions: Questions, seed: int) -> Questions:
    """The same questions with each one's candidates in another random order."""
    data = [
        dataclasses.replace(
            datum,
            candidates=np.random.default_rng([seed, datum.user]).permutation(shown),
        )
        for datum, shown in zip(questions.data, questions.candidates, strict=True)
    ]
    return ask(task, task.wordings["seen"], tested.data, data, questions.default)


def slot_rows(asked: Sequence[Questions], items: Sequence[np.ndarray]) -> dict[str, float]:
    """How much the best candidate depends on the slots.

    Args:
      asked: the same N questions with candidates in several orders.
      items: `[N, K]` items for each of them, best first.

    Returns:
      "same_choice": share of the questions of all orders but the first whose best candidate is that
      of the first order. "slot_of_choice": mean slot of the best candidate, from 0 to 1.
    """
    best = np.stack([rows[:, 0] for rows in items])  # [orders, N]
    slots = [
        (questions.candidates == chosen[:, None]).argmax(axis=1)
        / max(questions.candidates.shape[1] - 1, 1)
        for questions, chosen in zip(asked, best, strict=True)
    ]
    return {
        "same_choice": float((best[1:] == best[0]).mean()),
        "slot_of_choice": float(np.mean(slots)),
    }


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
        parsed = parse_ratings(tested.prompted.write(questions.prompts, ANSWER_TOKENS), mean)
        rows[f"model, greedy text, {wording} wording"] = rating_errors(parsed.values, truth) | {
            "parsed": float(parsed.parsed.mean())
        }
    rows["mean rating"] = rating_errors(np.full(len(truth), mean), truth)
    rows["item mean"] = rating_errors(item_means(data, split.train)[split.test], truth)
    rows["user and item bias"] = rating_errors(biases(data, split.train)[split.test], truth)
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


def measure(tested: Tested, directory: Path, baselines: Sequence[str]) -> dict[str, Any]:
    """All tables of a run: in "tables" and "lines", and one of them as "rows" and "comparisons".

    That one is the first ranking of the whole catalogue, or else the first table with intervals.
    """
    begun = time.monotonic()
    rankings: dict[str, Any] = {}
    plain: dict[str, Rows] = {}
    texts: Rows = {}
    rates: Rows = {}
    main = ""
    filtered = tested.config.decode.filter_seen
    for name, task in tested.tasks.items():
        questions = tested.questions(task, "seen")
        free = None
        if isinstance(task.answer, (CatalogueItem, OneOfCandidates)):
            free = written_freely(tested, questions)
        if ranks_catalogue(task):
            for removed in (filtered, not filtered):
                title = f"{name}, seen items {'removed' if removed else 'kept'}"
                main = main or title
                rankings[title] = catalogue_table(
                    tested, task, removed, baselines, directory, None if removed else free
                )
        elif isinstance(task.source, Conversations):
            last, by_turn = conversation_tables(tested, task)
            rankings[f"{name}, last turn"], plain[f"{name}, turn by turn"] = last, by_turn
        elif isinstance(task.answer, OneOfCandidates):
            title = f"{name}, 1 of {tested.data.candidates}"
            rankings[title], plain[f"{name}, order of the candidates"] = candidate_table(
                tested, task
            )
        elif isinstance(task.source, Described):
            rankings[f"{name}, items never described"] = facts_table(tested, task)
        elif isinstance(task.answer, Choice):
            rankings[name] = choice_table(tested, task)
        elif isinstance(task.answer, Rating):
            plain[name] = rating_table(tested, task)
        else:
            texts |= text_rows(tested, task)
        rates |= {
            f"{name}, {way}": row
            for way, row in answer_rates(
                tested, task, questions, None if free is None else free.items
            ).items()
        }
    if texts:
        reviews = tested.data.reviews
        plain[f"texts on {'synthetic ' if reviews and reviews.synthetic else ''}reviews"] = texts
    if rates:
        plain[RATES] = rates
    lines = []
    for name, table in rankings.items():
        lines += table_lines(name, table)
    lines += [line for name, rows in plain.items() for line in plain_lines(name, rows)]
    if rankings:
        first = rankings[main or next(iter(rankings))]
    else:
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
