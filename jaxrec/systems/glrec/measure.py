"""What is measured of a trained run: answers, their dependence on the order, and the selector.

Shapes: `N` questions, `M` paths, `U` users.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxrec.data import ClickWindows
from jaxrec.systems.glrec.graph import BehaviorGraph
from jaxrec.systems.glrec.questions import PathQuestions
from jaxrec.texts import clicks as click_table

# Answers to questions: the gap between the logits of the first answer and the second, `[N]`.
Gaps = Callable[[PathQuestions], np.ndarray]


def order_spread(questions: PathQuestions, gaps: Gaps, most: int) -> np.ndarray:
    """How much the answer to a question depends on the order of its paths: `[N]`.

    Each question is asked with its paths in all orders, or in `most` random ones, and the spread is
    the standard deviation of the probability of the first answer. It is nan for a question with
    fewer than two paths.

    Args:
      questions: N questions.
      gaps: answers questions.
      most: most orders of a question.
    """
    rng = np.random.default_rng(0)
    spread = np.full(len(questions), np.nan)
    sizes = np.array([len(paths) for paths in questions.paths])
    for size in np.unique(sizes[sizes >= 2]).tolist():
        rows = np.flatnonzero(sizes == size)
        some = questions.take(rows)
        answers = []
        for order in _orders(size, most, rng):
            gap = gaps(some.ordered([order] * len(rows))).astype(np.float64)
            answers.append(1 / (1 + np.exp(-gap)))
        spread[rows] = np.std(answers, axis=0)
    return spread


def _orders(size: int, most: int, rng: np.random.Generator) -> list[list[int]]:
    """All orders of some paths, or `most` different random ones, the ranked one first."""
    if size <= 6:
        every = [list(order) for order in itertools.permutations(range(size))]
        if len(every) <= most:
            return every
        return [every[0], *(every[1 + at] for at in rng.permutation(len(every) - 1)[: most - 1])]
    drawn = [list(range(size))]
    while len(drawn) < most:
        order = rng.permutation(size).tolist()
        if order not in drawn:
            drawn.append(order)
    return drawn


def mean_by_user(values: np.ndarray, users: np.ndarray) -> np.ndarray:
    """The mean value of each user who has one, `[U]`, in the order of their numbers.

    Args:
      values: `[N]`, nan for none.
      users: `[N]`.

    Example:
      >>> import numpy as np
      >>> from jaxrec.systems.glrec.measure import mean_by_user
      >>> mean_by_user(np.array([1.0, 3.0, np.nan, 5.0]), np.array([4, 4, 4, 2])).tolist()
      [5.0, 2.0]
    """
    known = ~np.isnan(values)
    _, place = np.unique(users[known], return_inverse=True)
    return np.bincount(place, values[known]) / np.bincount(place)


def control_scores(
    train: ClickWindows, questions: PathQuestions, graph: BehaviorGraph, liked_from: int
) -> dict[str, np.ndarray]:
    """Score questions without a model: `[N]` each.

    Point-wise questions have the controls of TALLRec, see `texts.clicks.controls`. In pair-wise
    ones the number of liked titles says nothing, as both items have the same history, and the item
    mean is the difference of both means. "likes in the graph" is the share of likes among all edges
    of the item asked about, with one like and one dislike added, and "likes in the paths" that
    among the edges of the prompt's paths.

    Args:
      train: windows to learn from.
      questions: N questions.
      graph: without held-out edges.
      liked_from: the lowest type of edge that means a like.
    """
    windows = questions.windows
    pair = (questions.other >= 0).all()
    scores: dict[str, np.ndarray] = {}
    if pair:
        means = [
            click_table.controls(train, _asking(windows, items))["item mean"]
            for items in (windows.target, questions.other)
        ]
        scores["item mean"] = means[0] - means[1]
    else:
        scores |= click_table.controls(train, windows)
    share = [_share(graph.users_of(item)[1], liked_from) for item in range(len(graph.starts) - 1)]
    scores["likes in the graph"] = np.array(share)[windows.target]
    if pair:
        scores["likes in the graph"] -= np.array(share)[questions.other]
    if any(questions.paths):
        told = [
            _told(paths, int(item), liked_from)
            for paths, item in zip(questions.paths, windows.target, strict=True)
        ]
        others = [
            _told(paths, int(item), liked_from) if item >= 0 else 0.0
            for paths, item in zip(questions.paths, questions.other, strict=True)
        ]
        scores["likes in the paths"] = np.array(told) - np.array(others)
    return scores


def _asking(windows: ClickWindows, items: np.ndarray) -> ClickWindows:
    parts = {name: getattr(windows, name) for name in ("user", "history", "liked", "label")}
    return ClickWindows(target=items, **parts)


def _share(kinds: Any, liked_from: int) -> float:
    kinds = np.asarray(kinds)
    return float((np.count_nonzero(kinds >= liked_from) + 1) / (len(kinds) + 2))


def _told(paths: Any, item: int, liked_from: int) -> float:
    """The share of likes among the edges of an item in paths."""
    kinds = [
        kind
        for path in paths
        for (_, other), kind in zip(path.edges(), path.kinds, strict=True)
        if other == item
    ]
    return _share(kinds, liked_from)


def add_by_user(report: dict[str, Any], name: str, values: np.ndarray, users: np.ndarray) -> None:
    """Add a metric of the model that is a mean over users to a table of `texts.clicks.table`.

    Args:
      report: the table, which is changed.
      name: of the metric.
      values: `[N]`, nan for a question without one.
      users: `[N]`.
    """
    own = mean_by_user(values, users)
    row: Mapping[str, Any] = report["rows"]["model"]
    drawn = np.random.default_rng(0).integers(0, len(own), (1000, len(own)))
    low, high = np.quantile(own[drawn].mean(axis=1), [0.025, 0.975])
    row["metrics"][name] = float(own.mean())
    row["intervals"][name] = [float(low), float(high)]
    report["values"][name] = own.tolist()
