"""Measure a generative model: lists for all test users, invalid items, and sample lists."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrec.core import ProgressBar
from jaxrec.data import Dataset
from jaxrec.decode import Recommender
from jaxrec.eval import list_metrics
from jaxrec.peft import Tuning, size_of
from jaxrec.runs import Measured
from jaxrec.systems.generative.config import Config
from jaxrec.systems.generative.model import start_tokens


def measure_model(
    recommender: Recommender, config: Config, dataset: Dataset, fit_seconds: float
) -> tuple[Measured, dict[str, Any]]:
    """Generate a list for every test user.

    Args:
      recommender: a trained model.
      config: the config of its run.
      dataset: its data.
      fit_seconds: seconds that its training took.

    Returns:
      The measurement, and facts about the lists: "items" and "scores" `[U, K]`, and the counts
      "invalid_items" (items that do not exist or should have been left out) and "repeated_items".
    """
    histories, targets = dataset.split.history("test"), dataset.split.target("test")
    removed = config.decode.removed(histories, targets)
    started = time.monotonic()
    with ProgressBar("recommend", len(histories), "user") as bar:
        items, scores = recommender.recommend(
            histories,
            removed,
            bar.update,
            start_tokens(config, dataset),
        )
    seconds = time.monotonic() - started
    lists = filled_lists(items, max(config.eval.ks))
    measured = Measured(
        metrics=list_metrics(lists, targets, config.eval.ks),
        parameters=size_of(Tuning(recommender.params, None)).total,
        fit_seconds=fit_seconds,
        test_seconds=seconds,
        items=lists[:, : max(config.eval.ks)],
    )
    barred = [items[:0] for items in histories] if removed is None else removed
    return measured, {"items": items, "scores": scores} | faults(items, barred, dataset.num_items)


def filled_lists(items: np.ndarray, width: int) -> np.ndarray:
    """Return lists of at least `width` places; -1 fills places that a small catalogue leaves empty.

    Example:
      >>> filled_lists(np.array([[1, 0]]), 3).tolist()
      [[1, 0, -1]]
    """
    missing = max(width - items.shape[1], 0)
    return np.pad(items, ((0, 0), (0, missing)), constant_values=-1)


def faults(items: np.ndarray, barred: list[np.ndarray], num_items: int) -> dict[str, int]:
    """Count items that a constrained search must never generate.

    Args:
      items: `[U, K]`, -1 in unfilled places.
      barred: U arrays of items that lists must not hold.
      num_items: I.

    Returns:
      "invalid_items" and "repeated_items".

    Example:
      >>> faults(np.array([[4, 4, 1, -1]]), [np.array([1])], num_items=5)
      {'invalid_items': 1, 'repeated_items': 1}
    """
    invalid = repeated = 0
    for row, out in zip(items, barred, strict=True):
        real = row[row != -1]
        invalid += int(((real < 0) | (real >= num_items) | np.isin(real, out)).sum())
        repeated += len(real) - len(np.unique(real))
    return {"invalid_items": invalid, "repeated_items": repeated}


def samples(config: Config, dataset: Dataset, lists: Mapping[str, np.ndarray]) -> list[Any]:
    """Return the histories and recommendations of a few random users, with titles: JSON-able."""
    labels = dataset.interactions.items.labels()
    histories, targets = dataset.split.history("test"), dataset.split.target("test")
    count = min(config.eval.samples, len(histories))
    users = np.random.default_rng(0).choice(len(histories), count, replace=False)
    return [
        {
            "user": str(dataset.split.train.user_ids[user]),
            "history": [labels[item] for item in histories[user][-8:]],
            "target": labels[targets[user]],
            "recommendations": [
                {"title": labels[item], "score": float(score), "hit": bool(item == targets[user])}
                for item, score in zip(
                    lists["items"][user][:10], lists["scores"][user][:10], strict=True
                )
                if item >= 0
            ],
        }
        for user in np.sort(users)
    ]
