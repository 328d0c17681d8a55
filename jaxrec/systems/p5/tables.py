"""The tables of a P5 run on the test items, and the lines that `jaxrec eval` prints of them.

Rankings of the whole catalogue come with and without the items of the history, in tables of their
own; one of a hundred candidates is another protocol, `hr@k|99`, with popularity on the very same
candidates. Wordings that training has seen stand beside those that it has not.
"""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.baselines import biases, item_means
from jaxrec.core import ConfigError
from jaxrec.data import holes
from jaxrec.eval import (
    TiedBlock,
    Ties,
    bleu,
    list_metrics,
    max_plus_one_rate,
    parse_ratings,
    ranking_metrics,
    rating_errors,
    rouge,
    says,
)
from jaxrec.ids import ItemCodes
from jaxrec.runs import Measured, baseline_table, measure_baseline, table_lines
from jaxrec.systems.p5.config import P5Config
from jaxrec.systems.p5.prompts import CANDIDATES, CATALOGUE, TEMPLATES
from jaxrec.systems.p5.questions import (
    TEXT_TOKENS,
    Question,
    question,
    rank,
    rate,
    row_prompts,
    wordings,
    written_of,
)
from jaxrec.texts import (
    NEEDS_REVIEWS,
    NO,
    YES,
    PromptData,
    Prompted,
    fitted,
    item_numbers,
    reviewed_rows,
)

MODEL, UNSEEN, FREE = "model", "model, unseen wording", "model, free beam"
ALONE, ANSWER = "model, candidates not shown", "model, yes or no"
_TIES: Ties = "midrank"
# Test rows whose texts are written.
_TEXTS = 1000


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Tested:
    """A trained run at the test.

    Attributes:
      config: of the run.
      data: its prompts' data.
      prompted: the model.
      parameters: numbers of the model.
      seconds: that its training took.
    """

    config: P5Config
    data: PromptData
    prompted: Prompted
    parameters: int
    seconds: float

    def measured(
        self, metrics: Mapping[str, np.ndarray], items: np.ndarray, begun: float
    ) -> Measured:
        """A row of a table."""
        seconds = time.monotonic() - begun
        return Measured(
            metrics=metrics,
            parameters=self.parameters,
            fit_seconds=self.seconds,
            test_seconds=seconds,
            items=items,
        )


def ask(tested: Tested, task: str, wording: str) -> Question:
    """The question to all test users in a wording of `p5_measure.wordings`."""
    users = np.arange(tested.data.dataset.num_users)
    return question(tested.data, task, wordings(tested.data, task)[wording], "test", users)


def rank_all(tested: Tested, asked: Question, filtered: bool) -> Measured:
    """Rank by a beam over the trie."""
    begun = time.monotonic()
    items = rank(tested.prompted, asked, tested.config, filtered)
    metrics = list_metrics(items, asked.targets, tested.config.eval.ks)
    return tested.measured(metrics, items[:, : max(tested.config.eval.ks)], begun)


def rank_main(tested: Tested) -> Measured:
    """The ranking that stands for a run: of its first task that ranks the whole catalogue.

    Raises:
      ConfigError: there is none.
    """
    tasks, filtered = tested.config.tasks, tested.config.decode.filter_seen
    for task in tasks:
        if task in CATALOGUE:
            return rank_all(tested, ask(tested, task, "seen"), filtered)
    raise ConfigError(
        f"tasks {', '.join(tasks)} rank no catalogue; add one of {', '.join(CATALOGUE)}"
    )


def catalogue_table(
    tested: Tested, task: str, filtered: bool, baselines: tuple[str, ...], directory: Path
) -> dict[str, Any]:
    """Rows and paired tests of a ranking of all items: JSON-able."""
    config = dataclasses.replace(
        tested.config, decode=dataclasses.replace(tested.config.decode, filter_seen=filtered)
    )
    systems = {
        MODEL: rank_all(tested, ask(tested, task, "seen"), filtered),
        UNSEEN: rank_all(tested, ask(tested, task, "unseen"), filtered),
    }
    invalid = 0.0
    if not filtered:
        asked, begun = ask(tested, task, "seen"), time.monotonic()
        items = tested.prompted.recommend_freely(asked.prompts, beams=config.decode.beams)
        metrics = list_metrics(items, asked.targets, config.eval.ks)
        systems[FREE] = tested.measured(metrics, items, begun)
        invalid = float((items < 0).mean())
    for name in baselines:
        systems[name] = measure_baseline(name, config, tested.data.dataset, directory)
    return baseline_table(systems, config) | {"invalid_share": invalid}


def candidate_table(tested: Tested, task: str) -> dict[str, Any]:
    """Rows and paired tests of a ranking of one target among candidates: JSON-able."""
    data, config = tested.data, tested.config
    asked = ask(tested, task, "seen")
    assert asked.candidates is not None
    systems = {
        MODEL: rank_all(tested, asked, False),
        UNSEEN: rank_all(tested, ask(tested, task, "unseen"), False),
    }
    if "straightforward" in config.tasks:
        alone = dataclasses.replace(
            ask(tested, "straightforward", "seen"), candidates=asked.candidates
        )
        systems[ALONE] = rank_all(tested, alone, False)
    if task == "direct_choose" and "direct_yesno" in config.tasks:
        begun = time.monotonic()
        scores = _agreement(tested, asked)
        metrics = _of_scores(scores, asked, config.eval.ks)
        systems[ANSWER] = tested.measured(metrics, asked.candidates[:, :0], begun)
    counts = np.bincount(data.dataset.split.train.item, minlength=data.dataset.num_items)
    metrics = _of_scores(counts[asked.candidates], asked, config.eval.ks)
    systems["popularity"] = Measured(
        metrics=metrics,
        parameters=0,
        fit_seconds=0.0,
        test_seconds=0.0,
        items=asked.candidates[:, :0],
    )
    mark = f"|{data.candidates - 1}"
    named = {
        name: dataclasses.replace(
            system, metrics={metric + mark: values for metric, values in system.metrics.items()}
        )
        for name, system in systems.items()
    }
    return baseline_table(named, config, "ndcg@10" + mark)


def _agreement(tested: Tested, asked: Question) -> np.ndarray:
    """How much more likely yes is than no for each candidate: [N, A]."""
    assert asked.candidates is not None
    template, names = wordings(tested.data, "direct_yesno")["seen"], tested.data.names
    prompts = [
        template.source.format_map({"user": names.users[user], "asked": names.items[item]})
        for user, row in zip(asked.users.tolist(), asked.candidates.tolist(), strict=True)
        for item in row
    ]
    logs = tested.prompted.score(prompts, (YES, NO))
    return (logs[:, 0] - logs[:, 1]).reshape(asked.candidates.shape)


def _of_scores(scores: np.ndarray, asked: Question, ks: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Metrics of each user from scores [N, A] of their candidates."""
    assert asked.candidates is not None
    mine = scores[asked.candidates == asked.targets[:, None]][:, None]
    block = TiedBlock((scores > mine).sum(axis=1), (scores == mine).sum(axis=1))
    metrics = ranking_metrics(block, ks, _TIES)
    del metrics["mrr"]
    return metrics


def rating_table(tested: Tested) -> dict[str, dict[str, float]]:
    """RMSE and MAE of the model and of its baselines on the test rows."""
    data, split = tested.data.dataset.interactions, tested.data.ratings
    assert split is not None
    truth = data.rating[split.test]
    mean = float(data.rating[split.train].mean())
    rows: dict[str, dict[str, float]] = {}
    for wording, template in wordings(tested.data, "rating").items():
        prompts = row_prompts(tested.data, template, split.test)
        rows[f"model, mean of all ratings, {wording} wording"] = rating_errors(
            rate(tested.prompted, prompts), truth
        )
        found = parse_ratings(tested.prompted.write(prompts, 8), mean)
        rows[f"model, greedy text, {wording} wording"] = rating_errors(found.values, truth) | {
            "parsed": float(found.parsed.mean())
        }
    rows["mean rating"] = rating_errors(np.full(len(truth), mean), truth)
    rows["item mean"] = rating_errors(item_means(data, split.train)[split.test], truth)
    rows["user and item bias"] = rating_errors(biases(data, split.train)[split.test], truth)
    return rows


def text_table(tested: Tested) -> dict[str, dict[str, float]]:
    """What the model writes of reviews, against the reviews."""
    data, split, reviews = tested.data, tested.data.ratings, tested.data.reviews
    assert split is not None and reviews is not None
    rows: dict[str, dict[str, float]] = {}
    for task in tested.config.tasks:
        if task not in NEEDS_REVIEWS:
            continue
        chosen = reviewed_rows(task, split.test, reviews)
        chosen = np.random.default_rng(0).permutation(chosen)[:_TEXTS]
        for template in fitted(TEMPLATES[task], data.names):
            name = f"{template.name}, {'seen' if template.seen else 'unseen'} wording"
            texts = tested.prompted.write(row_prompts(data, template, chosen), TEXT_TOKENS)
            if task == "review_star":
                stars = data.dataset.interactions.rating[chosen]
                mean = float(data.dataset.interactions.rating[split.train].mean())
                found = parse_ratings(texts, mean)
                rows[name] = rating_errors(found.values, stars)
                rows[name]["parsed"] = float(found.parsed.mean())
                continue
            if "hint" in holes(template):
                name += ", with a hint"
            wanted, hints = (
                [texts_of[row] for row in chosen]
                for texts_of in (written_of(reviews, task), reviews.hint)
            )
            rows[name] = {"bleu4": bleu(texts, wanted), "bleu2": bleu(texts, wanted, 2)}
            rows[name] |= rouge(texts, wanted) | {"says_hint": float(says(texts, hints).mean())}
    return rows


def measure(tested: Tested, directory: Path, baselines: tuple[str, ...]) -> dict[str, Any]:
    """All tables of a run: the first with "rows" and "comparisons", all in "tables" and "lines"."""
    begun = time.monotonic()
    found: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    filtered = tested.config.decode.filter_seen
    for task in tested.config.tasks:
        if task in CATALOGUE:
            for removed in (filtered, not filtered):
                name = f"{task}, seen items {'removed' if removed else 'kept'}"
                found[name] = catalogue_table(tested, task, removed, baselines, directory)
        elif task in CANDIDATES:
            found[f"{task}, 1 of {tested.data.candidates}"] = candidate_table(tested, task)
        elif task == "rating":
            plain["rating"] = rating_table(tested)
    if tested.data.reviews is not None:
        kind = "synthetic reviews" if tested.data.reviews.synthetic else "reviews"
        plain[f"texts on {kind}"] = text_table(tested)
    lines = []
    for name, table in found.items():
        lines += table_lines(name, table)
        if table.get("invalid_share"):
            lines.append(f"  {FREE}: {table['invalid_share']:.2%} of the beams are no item")
    lines += [line for name, rows in plain.items() for line in plain_lines(name, rows)]
    first = next(iter(found.values()), None)
    if first is None:
        nothing = tested.measured({}, np.zeros((0, 0)), begun)
        first = baseline_table({MODEL: nothing}, tested.config)
    return {
        "rows": first["rows"],
        "comparisons": first["comparisons"],
        "tables": found | plain,
        "lines": lines,
    }


def leaks(data: PromptData, codes: ItemCodes) -> dict[str, float]:
    """How often "the largest number of the history plus one" is the target, as a share of users.

    By the items' own numbers, and by those that their IDs spell, which the model sees.
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
