"""The tables of a P5 run's conversations: Recall@k turn by turn, and whether a target is found.

The seeker of each test user answers the lists that the model itself gives (`texts.converse`), and
popularity talks with the same seekers. Every conversation goes on until the seeker has said
everything, so the lists of two turns are about the same users.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxrec.eval import list_metrics
from jaxrec.runs import MODEL, Measured, baseline_table
from jaxrec.systems.p5.questions import held_out_questions
from jaxrec.systems.p5.tested import UNSEEN, Tested, rank_all
from jaxrec.texts import Datum, PromptData, Questions, TextTask, ask, converse

P5Task = TextTask[PromptData]
Recommend = Callable[[Sequence[Datum]], np.ndarray]
POPULAR, POPULAR_FITTING = "popularity", "popularity within the genres asked for"


def conversation_tables(tested: Tested, task: P5Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows and paired tests of the last turn, and rows of plain numbers for each turn.

    Args:
      tested: the run.
      task: its conversation.

    Returns:
      The first is JSON-able as `baseline_table`. The second has for each system and turn Recall@k,
      which counts the lists of that turn, and success@k, which counts all lists until that turn.
    """
    config, data = tested.config, tested.data
    ks, filtered = config.eval.ks, config.decode.filter_seen
    planned = held_out_questions(data, task, "test", task.source.units(data, "test")).data
    targets = np.array([plan.item for plan in planned])

    def model(wording: str) -> Recommend:
        def recommend(said: Sequence[Datum]) -> np.ndarray:
            questions = ask(task, task.wordings[wording], data, said)
            return rank_all(tested, task, questions, filtered).items

        return recommend

    counts = np.bincount(data.dataset.split.train.item, minlength=data.dataset.num_items)

    def counted(fitting: bool) -> Recommend:
        def recommend(said: Sequence[Datum]) -> np.ndarray:
            seen = Questions(data=said, prompts=[""] * len(said)).seen
            left_out = config.decode.removed(seen, targets)
            return popular(data, said, counts, max(ks), left_out, fitting=fitting)

        return recommend

    systems: dict[str, Recommend] = {
        MODEL: model("seen"),
        UNSEEN: model("unseen"),
        POPULAR: counted(False),
        POPULAR_FITTING: counted(True),
    }
    last: dict[str, Measured] = {}
    by_turn: dict[str, dict[str, float]] = {}
    for name, recommend in systems.items():
        begun = time.monotonic()
        lists = converse(planned, recommend)
        mine = name in (MODEL, UNSEEN)
        last[name] = Measured(
            metrics=list_metrics(lists[-1], targets, ks),
            parameters=tested.parameters if mine else 0,
            fit_seconds=tested.seconds if mine else 0.0,
            test_seconds=time.monotonic() - begun,
            items=lists[-1],
        )
        by_turn |= {
            f"{name}, turn {turn}": row for turn, row in enumerate(turns(lists, targets, ks), 1)
        }
    return baseline_table(last, config), by_turn


def turns(
    lists: Sequence[np.ndarray], targets: np.ndarray, ks: Sequence[int]
) -> list[dict[str, float]]:
    """Recall@k and success@k of each turn.

    Args:
      lists: `[N, K]` of each turn.
      targets: `[N]`.
      ks: cut-offs.

    Example:
      >>> import numpy as np
      >>> lists = [np.array([[4, 2]]), np.array([[3, 2]])]
      >>> turns(lists, np.array([4]), ks=(1,))
      [{'recall@1': 1.0, 'success@1': 1.0}, {'recall@1': 0.0, 'success@1': 1.0}]
    """
    rows = []
    found = {k: np.zeros(len(targets), bool) for k in ks}
    for items in lists:
        row: dict[str, float] = {}
        for k in ks:
            hits = (items[:, :k] == targets[:, None]).any(axis=1)
            found[k] |= hits
            row |= {f"recall@{k}": float(hits.mean()), f"success@{k}": float(found[k].mean())}
        rows.append(row)
    return rows


def popular(
    data: PromptData,
    said: Sequence[Datum],
    counts: np.ndarray,
    size: int,
    left_out: Sequence[np.ndarray] | None,
    *,
    fitting: bool,
) -> np.ndarray:
    """The most popular items: `[N, size]`.

    Args:
      data: of the run.
      said: N conversations so far.
      counts: `[I]` training interactions.
      size: length of a list.
      left_out: N arrays of items that a list leaves out; None for none.
      fitting: put items with more of the genres that the seeker asked for first.
    """
    lists = np.full((len(said), size), -1, np.int64)
    for row, datum in enumerate(said):
        scores = counts.astype(np.float64)
        if fitting:
            wanted = [turn.number for turn in datum.turns if turn.kind == "genre"]
            scores += data.genres.table[:, wanted].sum(axis=1) * (counts.max() + 1.0)
        if left_out is not None:
            scores[left_out[row]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:size]
        lists[row, : len(best)] = np.where(np.isfinite(scores[best]), best, -1)
    return lists
