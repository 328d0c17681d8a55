"""Fit one baseline on the training interactions and measure it by the shared protocol."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.baselines import (
    cooccurrence,
    item_knn,
    markov,
    mf_als,
    pairwise,
    popularity,
    sequential,
)
from jaxrec.data import Dataset, training_source
from jaxrec.eval import (
    average,
    evaluate,
    top_lists,
)
from jaxrec.items import text as item_text
from jaxrec.runs.config import METRIC, TEXTUAL, TRAINED
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import TIES, ranking_batches
from jaxrec.train import FitResult, Validation

_COUNTING = {
    "popularity": popularity,
    "item_knn": item_knn,
    "markov": markov,
    "cooccurrence": cooccurrence,
    "als": mf_als,
}


def measure_baseline(
    name: str,
    config: Any,
    dataset: Dataset,
    directory: Path,
    histories: Sequence[np.ndarray] | None = None,
) -> Measured:
    """Fit one baseline on the training interactions and rank the test targets.

    Args:
      name: of the baseline; the settings of one that is trained are the attribute of this name.
      config: of a run; beside that only "eval" and "decode.filter_seen" are read.
      dataset: its data.
      directory: of the run.
      histories: what a baseline that counts counts, in place of all training histories.
    """
    started = time.monotonic()
    score: Callable[[Mapping[str, np.ndarray]], jax.Array]
    if name in TRAINED:
        score, parameters = _trained(name, config, dataset, directory)
    else:
        module = _COUNTING[name]
        known = dataset.split.train.sequences() if histories is None else histories
        params = module.fit(known, dataset.num_items)
        score, parameters = functools.partial(jax.jit(module.scores), params), 0
    fitted = time.monotonic()
    return rank_by_scores(score, config, dataset, parameters, fitted - started)


def rank_by_scores(
    score: Callable[[Mapping[str, np.ndarray]], jax.Array],
    config: Any,
    dataset: Dataset,
    parameters: int,
    fit_seconds: float,
) -> Measured:
    """Rank the test targets, and list the best items of each user, by scores of all items.

    Args:
      score: from a batch of `batches` to `[B, I]`.
      config: of a run; only "eval" and "decode.filter_seen" are read.
      dataset: its data.
      parameters: of the scoring model.
      fit_seconds: that its fitting took.
    """
    ks, filter_seen, started = config.eval.ks, config.decode.filter_seen, time.monotonic()
    metrics = evaluate(score, ranking_batches(dataset, "test", filter_seen), ks, TIES)
    seconds = time.monotonic() - started
    items = top_lists(score, ranking_batches(dataset, "test", filter_seen), max(ks))
    return Measured(
        metrics=metrics,
        parameters=parameters,
        fit_seconds=fit_seconds,
        test_seconds=seconds,
        items=items,
    )


def _trained(
    name: str, config: Any, dataset: Dataset, directory: Path
) -> tuple[Callable[..., Any], int]:
    settings, items = getattr(config, name), dataset.num_items
    fit: Callable[..., FitResult]
    if isinstance(settings, pairwise.PairwiseConfig):
        fit, users = pairwise.fit_pairwise, dataset.num_users
        plain = functools.partial(
            pairwise.scores, config=settings, num_users=users, num_items=items
        )
    else:
        fit = sequential.fit_sequential
        if name in TEXTUAL:
            text = item_text.wide(config.ids, dataset, directory / "baselines")
            fit = functools.partial(fit, text=text)
        plain = functools.partial(sequential.scores, config=settings, num_items=items)
    score = jax.jit(plain)

    def validate(params: Any) -> dict[str, float]:
        rows = ranking_batches(dataset, "valid", config.decode.filter_seen)
        return average(evaluate(functools.partial(score, params), rows, config.eval.ks, TIES))

    result = fit(
        settings,
        training_source(dataset, directory / "data"),
        items,
        Validation(validate, METRIC),
        directory / "baselines" / name,
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    return functools.partial(score, result.params), size
