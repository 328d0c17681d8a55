"""The tables of a run: test candidates by every kind of instruction, beside its baselines.

A row is a kind of instruction under which the same model ranks the same candidates. The row "model"
tells the history and no intention, and is the only one to compare with recommenders. Metrics are
named after the number of negatives, such as `hr@1|9`; `gain_hr@1|9` is a row's difference to the
row "model", user by user.
"""

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from jaxrec.runs import (
    MODEL,
    Measured,
    Score,
    baseline_table,
    fit_baseline,
    protocol_of,
    table_lines,
)
from jaxrec.systems.instructrec.candidates import hard_sets, random_sets, score_candidates
from jaxrec.systems.instructrec.config import HardBy, Normalization
from jaxrec.systems.instructrec.grammar import PRIOR
from jaxrec.systems.instructrec.tasks import with_wrong_wishes
from jaxrec.systems.instructrec.tested import SEQUENTIAL, Rank, Tested, in_groups
from jaxrec.texts import AnswerOptions, Datum, ask, candidate_metrics, measure_task

RIGHT, WRONG = "right intention", "wrong intention"
SHOWN = "candidates shown"
# Kinds of instruction, each with its task and whether its wish is a wrong one.
_TITLES: Mapping[str, tuple[str, bool]] = {
    MODEL: (SEQUENTIAL, False),
    RIGHT: ("P1-I2-T2", False),
    WRONG: ("P1-I2-T2", True),
    "right vague intention": ("P1-I1-T2", False),
    "wrong vague intention": ("P1-I1-T2", True),
    "right intention alone": ("P0-I2-T2", False),
    "explicit preference": ("P2-I0-T2", False),
    f"explicit preference, {RIGHT}": ("P2-I2-T2", False),
    "nothing known": (PRIOR.name, False),
    SHOWN: ("P1-I0-T3", False),
    f"{SHOWN}, {RIGHT}": ("P1-I2-T3", False),
}
_UNSEEN, _YES, _THOUGHT = "unseen wording", "yes or no", "chain of thought"
VARIANTS = (*tuple(_TITLES)[1:], _UNSEEN, _YES, _THOUGHT)
# Tasks whose own metrics are a table, with the most tokens of an answer.
_OTHERS = ("P1-I0-T0", "P1-I2-T0", "P2-I0-T0", "related-I1", "related-I2", "swap-I2", "swap-P2")
_TOKENS = 24
_TESTED_BY = "hr@1"


def measure(tested: Tested, directory: Path, baselines: Sequence[str]) -> dict[str, Any]:
    """All tables of a run: the first with "rows" and "comparisons", all in "tables" and "lines"."""
    begun, config, data = time.monotonic(), tested.config, tested.data
    everyone = np.arange(data.dataset.num_users)
    fitted = {name: fit_baseline(name, config, data.dataset, directory) for name in baselines}
    sets = random_sets(data, "test", config.candidates, everyone)
    main = _Table(tested, sets, fitted)
    tables = {f"{config.candidates - 1} random negatives": main.rows(_kinds(tested))}
    tables["normalization"] = main.rows(_normalizations(tested), baselines=False)
    few = [MODEL, RIGHT, WRONG]
    for by in config.eval.hard:
        sets = hard_sets(data, "test", config.candidates, cast(HardBy, by))
        hard = _Table(tested, sets, fitted)
        tables[f"hard negatives by {by}"] = hard.rows(
            {name: rank for name, rank in _kinds(tested).items() if name in few}
        )
    if config.eval.many:
        many = _Table(tested, random_sets(data, "test", config.eval.many, everyone), fitted)
        tables[f"{config.eval.many} candidates"] = many.rows(_grouped(tested))
    others = _other_tasks(tested)
    lines = [line for name, table in tables.items() for line in table_lines(name, table)]
    lines += [
        f"{name}: " + "  ".join(f"{metric} {value:.4f}" for metric, value in row.items())
        for name, row in others.items()
    ]
    first = next(iter(tables.values()))
    facts = protocol_of(config, data.dataset)
    # Every candidate is new to its user, and nothing is removed from a ranking.
    protocol = {k: v for k, v in facts.items() if k not in ("seen_items", "repeated_target")}
    return {
        "rows": first["rows"],
        "comparisons": first["comparisons"],
        "values": {name: values.tolist() for name, values in main.model.items()},
        "tables": tables | ({"other tasks": others} if others else {}),
        "protocol": protocol | {"ranking": f"{config.candidates - 1} random negatives"},
        "heading": (
            f"{data.dataset.interactions.name}: {len(everyone):,} users, each with the test item "
            f"among {config.candidates - 1} items that the user never met; an intention tells "
            "genres of the test item, so its rows are search and not recommendation"
        ),
        "lines": [*lines, f"measured in {time.monotonic() - begun:.0f} s"],
    }


class _Table:
    """Candidate sets, ranked in several ways."""

    def __init__(
        self,
        tested: Tested,
        sets: Sequence[Datum],
        fitted: Mapping[str, tuple[Score, int]],
    ) -> None:
        self._tested, self._sets, self._fitted = tested, sets, fitted
        self._candidates = np.stack([one.candidates for one in sets if one.candidates is not None])
        self.model: dict[str, np.ndarray] = {}

    def rows(self, kinds: Mapping[str, Rank], *, baselines: bool = True) -> dict[str, Any]:
        """Rows and paired tests against the row of the model: JSON-able."""
        measured = {}
        for name, rank in kinds.items():
            begun = time.monotonic()
            metrics = self._metrics(rank(self._sets))
            measured[name] = self._measured(metrics, self._tested.parameters, begun)
        for name, (score, parameters) in self._fitted.items() if baselines else ():
            begun = time.monotonic()
            scores = score_candidates(score, self._tested.data.dataset, "test", self._candidates)
            measured[name] = self._measured(self._metrics(scores), parameters, begun)
        self.model = dict(measured[MODEL].metrics)
        metric = f"{_TESTED_BY}{self._mark}"
        with_gains = {
            name: row
            if name == MODEL
            else dataclasses.replace(
                row,
                metrics={
                    **row.metrics,
                    f"gain_{metric}": row.metrics[metric] - self.model[metric],
                },
            )
            for name, row in measured.items()
        }
        return baseline_table(with_gains, self._tested.config, metric)

    @property
    def _mark(self) -> str:
        return f"|{self._candidates.shape[1] - 1}"

    def _metrics(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        ks = [k for k in self._tested.config.eval.ks if k < self._candidates.shape[1]]
        found = candidate_metrics(scores, self._sets, ks)
        return {
            f"{name}{self._mark}": values
            for name, values in found.items()
            if name.startswith(("hr", "ndcg"))
        }

    def _measured(
        self, metrics: Mapping[str, np.ndarray], parameters: int, begun: float
    ) -> Measured:
        return Measured(
            metrics=metrics,
            parameters=parameters,
            fit_seconds=self._tested.seconds,
            test_seconds=time.monotonic() - begun,
            items=self._candidates[:, :0],
        )


def _kinds(tested: Tested) -> dict[str, Rank]:
    """The rows of the main table, of the tasks that the run trains."""
    kinds: dict[str, Rank] = {
        name: _by_title(tested, task, wrong)
        for name, (task, wrong) in _TITLES.items()
        if task in tested.tasks
    }
    kinds[_UNSEEN] = lambda sets: tested.by_title(SEQUENTIAL, sets, wording="unseen")
    if "P1-I0-T0" in tested.tasks:
        kinds[_YES] = lambda sets: tested.by_yes("P1-I0-T0", sets)
    if "chain-P1-I0" in tested.tasks:
        kinds[_THOUGHT] = lambda sets: tested.by_thought("chain-P1-I0", sets)
    return kinds


def _by_title(tested: Tested, task: str, wrong: bool, by: Normalization | None = None) -> Rank:
    def rank(sets: Sequence[Datum]) -> np.ndarray:
        shown = with_wrong_wishes(sets, tested.data.wishes) if wrong else sets
        return tested.by_title(task, shown, normalization=by)

    return rank


def _normalizations(tested: Tested) -> dict[str, Rank]:
    """Every normalization, without an intention and with the right one."""
    kinds: dict[str, Rank] = {MODEL: _by_title(tested, SEQUENTIAL, False)}
    ways: list[Normalization] = ["sum", "mean"]
    if PRIOR.name in tested.tasks:
        ways.append("pmi")
    for name, task in (("no intention", SEQUENTIAL), (RIGHT, _TITLES[RIGHT][0])):
        if task in tested.tasks:
            kinds |= {f"{by}, {name}": _by_title(tested, task, False, by) for by in ways}
    return kinds


def _grouped(tested: Tested) -> dict[str, Rank]:
    """The rows of many candidates: winners of groups ranked again, and all of them at once."""
    size = tested.config.candidates
    kinds: dict[str, Rank] = {}
    for name in (MODEL, RIGHT, WRONG, SHOWN):
        task, wrong = _TITLES[name]
        if task in tested.tasks:
            kinds[name] = functools.partial(in_groups, _by_title(tested, task, wrong), size=size)
    kinds["model, all at once"] = _by_title(tested, SEQUENTIAL, False)
    return kinds


def _other_tasks(tested: Tested) -> dict[str, dict[str, float]]:
    """Metrics of tasks that are not answered by a title, about all test users."""
    rows = {}
    options = AnswerOptions(max_tokens=_TOKENS, ks=(1,))
    for name in _OTHERS:
        if (task := tested.tasks.get(name)) is not None:
            examples = task.source.held_out(
                tested.data, "test", task.source.units(tested.data, "test")
            )
            questions = ask(task, task.wordings["seen"], tested.data, examples)
            rows[name] = measure_task(task, tested.prompted, questions, options)
    return rows
