"""Fit one baseline on the training interactions and measure it by the shared protocol."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.sparse

from jaxrec.baselines import (
    cooccurrence,
    item_knn,
    markov,
    mf_als,
    pairwise,
    popularity,
    sequential,
)
from jaxrec.core import Interrupted, JaxrecError, is_out_of_memory
from jaxrec.data import Dataset, training_source
from jaxrec.eval import average
from jaxrec.ids import pad_items
from jaxrec.items import text as item_text
from jaxrec.runs.config import METRIC, TEXTUAL, TRAINED
from jaxrec.runs.directory import run_identity
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import list_users, rank_users
from jaxrec.train import FitResult, Start, Validation

# From a batch of `ranking_batches` to scores of all items, `[B, I]`.
Score = Callable[[Mapping[str, np.ndarray]], jax.Array]

# Histories that are scored at once.
_SCORED = 128

# The modules of `COUNTING`: `fit`, and `scores` of its parameters and a batch.
COUNTED: dict[str, Any] = {
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
    """Fit one baseline on the training interactions and rank the test items.

    Args:
      name: name of the baseline, from `COUNTING` or `TRAINED`.
      config: the config of a run. A trained baseline reads its settings from the attribute `name`;
        beside that only `eval.ks`, `decode` and, for texts, `ids` are read.
      dataset: its data.
      directory: of the run; a trained baseline is kept below `baselines/`.
      histories: what a counting baseline counts; None for all training histories.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> measured = measure_baseline("popularity", SasrecRunConfig(), dataset, Path("unused"))
      >>> measured.items.shape
      (12, 10)
    """
    started = time.monotonic()
    score, parameters = fit_baseline(name, config, dataset, directory, histories)
    fitted = time.monotonic()
    return rank_by_scores(score, config, dataset, parameters, fitted - started)


def fit_baseline(
    name: str,
    config: Any,
    dataset: Dataset,
    directory: Path,
    histories: Sequence[np.ndarray] | None = None,
) -> tuple[Score, int]:
    """Fit one baseline on the training interactions, or read a trained one from its checkpoint.

    The arguments are those of `measure_baseline`.

    Returns:
      What maps a batch of `ranking_batches` to scores of all items, `[B, I]`, and the number of the
      baseline's parameters.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> score, parameters = fit_baseline("popularity", SasrecRunConfig(), dataset, Path("unused"))
      >>> score({"history": np.array([[3]])}).shape, parameters
      ((1, 14), 0)
    """
    if name in TRAINED:
        return _fit_trained(name, config, dataset, directory)
    known = dataset.split.train.sequences() if histories is None else histories
    return _fit_counting(name, known, dataset.num_items), 0


def _fit_counting(name: str, known: Sequence[np.ndarray], num_items: int) -> Score:
    module = COUNTED[name]
    params = module.fit(known, num_items)
    # A sparse table is read on the host.
    sparse = any(scipy.sparse.issparse(value) for value in params.values())
    return functools.partial(module.scores if sparse else jax.jit(module.scores), params)


def counting_scores(name: str, dataset: Dataset, histories: Sequence[np.ndarray]) -> np.ndarray:
    """Fit a counting baseline on the training interactions, and score all items after histories.

    Args:
      name: name of the baseline, from `COUNTING`.
      dataset: its data.
      histories: N arrays of item numbers, oldest first.

    Returns:
      `[N, I]` float64.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> counting_scores("popularity", dataset, [np.array([3]), np.array([1, 2])]).shape
      (2, 14)
    """
    score = _fit_counting(name, dataset.split.train.sequences(), dataset.num_items)
    longest = max((len(history) for history in histories), default=1)
    rows = pad_items(histories, max(longest, 1))
    # One shape for all parts, so that a baseline on the device is compiled once.
    parts = []
    for first in range(0, len(rows), _SCORED):
        part = rows[first : first + _SCORED]
        filled = np.pad(part, ((0, _SCORED - len(part)), (0, 0)), constant_values=-1)
        parts.append(np.asarray(score({"history": filled}), np.float64)[: len(part)])
    return np.concatenate(parts)


def measure_baselines(
    names: Sequence[str],
    config: Any,
    dataset: Dataset,
    directory: Path,
    histories: Sequence[np.ndarray] | None = None,
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Measure several baselines; one that cannot run does not take the others with it.

    Args:
      names: names from `COUNTING` or `TRAINED`.
      config: see `measure_baseline`, like the other arguments.
      dataset: the data.
      directory: of the run.
      histories: what a counting baseline counts.

    Returns:
      The measurements by name, and the reason for each baseline that is left out.

    Raises:
      Interrupted: the user stopped the training of a baseline.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> given = SasrecRunConfig(), dataset, Path("unused")
      >>> measured, left_out = measure_baselines(["popularity", "markov"], *given)
      >>> list(measured), left_out
      (['popularity', 'markov'], {})
    """
    measured, left_out = {}, {}
    for name in names:
        try:
            measured[name] = measure_baseline(name, config, dataset, directory, histories)
        except Interrupted:
            raise
        except JaxrecError as error:
            left_out[name] = str(error)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            left_out[name] = f"out of memory ({' '.join(str(error).split())[:200]})"
    return measured, left_out


def rank_by_scores(
    score: Score,
    config: Any,
    dataset: Dataset,
    parameters: int,
    fit_seconds: float,
) -> Measured:
    """Rank the test items by scores of the whole catalogue, and list each user's best items.

    Args:
      score: maps a batch of `ranking_batches` to `[B, I]`.
      config: the config of a run; only `eval.ks` and `decode` are read.
      dataset: its data.
      parameters: number of parameters of the scoring model.
      fit_seconds: seconds that fitting it took.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> def score(batch):
      ...     return jax.numpy.tile(jax.numpy.arange(14.0), (len(batch["user"]), 1))
      >>> measured = rank_by_scores(score, SasrecRunConfig(), dataset, 0, 0.0)
      >>> bool((measured.items[:, 0] >= measured.items[:, 1]).all())
      True
    """
    ks, decode, started = config.eval.ks, config.decode, time.monotonic()
    metrics = rank_users(score, dataset, "test", decode, ks)
    seconds = time.monotonic() - started
    items = list_users(score, dataset, "test", decode, max(ks))
    return Measured(
        metrics=metrics,
        parameters=parameters,
        fit_seconds=fit_seconds,
        test_seconds=seconds,
        items=items,
    )


def _fit_trained(name: str, config: Any, dataset: Dataset, directory: Path) -> tuple[Score, int]:
    """Train a baseline or read it from its checkpoint; return its scores and its size."""
    settings, items = getattr(config, name), dataset.num_items
    fit: Callable[..., FitResult]
    if isinstance(settings, pairwise.PairwiseConfig):
        fit, users = pairwise.fit_pairwise, dataset.num_users
        plain = functools.partial(
            pairwise.scores, config=settings, num_users=users, num_items=items
        )
    else:
        fit = functools.partial(sequential.fit_sequential, times=dataset.train_times)
        if name in TEXTUAL:
            text = item_text.wide(config.ids, dataset, directory / "baselines")
            fit = functools.partial(fit, text=text)
        plain = functools.partial(sequential.scores, config=settings, num_items=items)
    score = jax.jit(plain)

    def validate(params: Any) -> dict[str, float]:
        scored = functools.partial(score, params)
        return average(rank_users(scored, dataset, "valid", config.decode, config.eval.ks))

    result = fit(
        settings,
        training_source(dataset, directory / "data"),
        items,
        Validation(validate, METRIC, (dataset.num_users, "user")),
        directory / "baselines" / name,
        start=Start(run=run_identity(directory)),
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    return functools.partial(score, result.params), size
