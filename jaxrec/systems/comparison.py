"""The generative model and its baselines under one protocol, in one table.

Leave-one-out, the full catalogue ranked for every user, seen items left out if the run says so,
tied scores at their mean rank, percentile bootstrap intervals over users, and a paired test of the
model against each baseline with Holm's correction.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

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
from jaxrec.decode import Recommender
from jaxrec.decode.recommend import bucket
from jaxrec.eval import (
    Ties,
    average,
    bootstrap_interval,
    evaluate,
    holm,
    list_metrics,
    max_plus_one_rate,
    paired_bootstrap,
    top_lists,
)
from jaxrec.ids import pad_items
from jaxrec.peft import Tuning, size_of
from jaxrec.systems import item_text
from jaxrec.systems.config import METRIC, TEXTUAL, TRAINED, Config
from jaxrec.systems.dataset import Dataset, training_source
from jaxrec.systems.measured import Measured
from jaxrec.systems.model import start_tokens
from jaxrec.train import FitResult, ProgressBar

Stage = Literal["valid", "test"]
_COUNTING = {
    "popularity": popularity,
    "item_knn": item_knn,
    "markov": markov,
    "cooccurrence": cooccurrence,
    "als": mf_als,
}
MODEL = "model"
TIES: Ties = "midrank"


def batches(
    dataset: Dataset,
    stage: Stage,
    filter_seen: bool,
    size: int = 256,
    users: np.ndarray | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Users in batches of one shape, for `eval.evaluate`: history, user, target, seen, valid.

    All users, or those with the numbers `users`.
    """
    histories, targets = dataset.split.history(stage), dataset.split.target(stage)
    length = bucket(max(len(history) for history in histories))
    chosen = np.arange(len(histories)) if users is None else users
    for start in range(0, len(chosen), size):
        rows = chosen[np.minimum(np.arange(start, start + size), len(chosen) - 1)]
        history = pad_items([histories[row] for row in rows], length)
        batch = {
            "history": history,
            "user": rows.astype(np.int32),
            "target": targets[rows],
            "valid": np.arange(start, start + size) < len(chosen),
        }
        yield batch | ({"seen": history} if filter_seen else {})


def measure_model(
    recommender: Recommender, config: Config, dataset: Dataset, fit_seconds: float
) -> tuple[Measured, dict[str, Any]]:
    """Generate for every test user.

    Returns:
      The measurement, and facts about the lists: "items" `[U, K]`, "scores" `[U, K]`, and the
      counts "invalid_items" (no such item, or one that was to be left out) and "repeated_items".
    """
    histories, targets = dataset.split.history("test"), dataset.split.target("test")
    started = time.monotonic()
    with ProgressBar("recommend", len(histories), "user") as bar:
        items, scores = recommender.recommend(
            histories,
            histories if config.decode.filter_seen else None,
            bar.update,
            start_tokens(config, dataset),
        )
    seconds = time.monotonic() - started
    measured = Measured(
        list_metrics(items, targets, config.eval.ks),
        size_of(Tuning(recommender.params, None)).total,
        fit_seconds,
        seconds,
        items[:, : max(config.eval.ks)],
    )
    seen = histories if config.decode.filter_seen else [items[:0] for items in histories]
    return measured, {"items": items, "scores": scores} | faults(items, seen, dataset.num_items)


def faults(items: np.ndarray, barred: list[np.ndarray], num_items: int) -> dict[str, int]:
    """Count what a constrained search must never give.

    Args:
      items: `[U, K]`, -1 in unfilled places.
      barred: U arrays of items that were to be left out.
      num_items: I.
    """
    invalid = repeated = 0
    for row, out in zip(items, barred, strict=True):
        real = row[row != -1]
        invalid += int(((real < 0) | (real >= num_items) | np.isin(real, out)).sum())
        repeated += len(real) - len(np.unique(real))
    return {"invalid_items": invalid, "repeated_items": repeated}


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
    return rank(score, config, dataset, parameters, fitted - started)


def rank(
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
    metrics = evaluate(score, batches(dataset, "test", filter_seen), ks, TIES)
    seconds = time.monotonic() - started
    items = top_lists(score, batches(dataset, "test", filter_seen), max(ks))
    return Measured(metrics, parameters, fit_seconds, seconds, items)


def _trained(
    name: str, config: Config, dataset: Dataset, directory: Path
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
        rows = batches(dataset, "valid", config.decode.filter_seen)
        return average(evaluate(functools.partial(score, params), rows, config.eval.ks, TIES))

    result = fit(
        settings,
        training_source(dataset, directory / "data"),
        items,
        validate,
        directory / "baselines" / name,
        METRIC,
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(result.params["params"]))
    return functools.partial(score, result.params), size


def table(measured: Mapping[str, Measured], config: Any, metric: str = METRIC) -> dict[str, Any]:
    """Rows and paired tests: JSON-able.

    Args:
      measured: by name, that of the model among them.
      config: of a run; only "eval.resamples" and "train.seed" are read.
      metric: of the tests.
    """
    resamples, seed = config.eval.resamples, config.train.seed
    rows = {}
    for system_name, system in measured.items():
        intervals = {
            name: bootstrap_interval(values, resamples=resamples, seed=seed)
            for name, values in system.metrics.items()
        }
        rows[system_name] = {
            "metrics": average(system.metrics),
            "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
            "parameters": system.parameters,
            "fit_seconds": system.fit_seconds,
            "test_seconds": system.test_seconds,
        }
    others = [name for name in measured if name != MODEL]
    tests = [
        paired_bootstrap(
            measured[MODEL].metrics[metric],
            measured[name].metrics[metric],
            resamples=resamples,
            seed=seed,
        )
        for name in others
    ]
    adjusted = holm([test.p for test in tests])
    comparisons = [
        {
            "baseline": name,
            "metric": metric,
            "difference": test.difference,
            "interval": [test.low, test.high],
            "p": test.p,
            "p_holm": float(p),
        }
        for name, test, p in zip(others, tests, adjusted, strict=True)
    ]
    return {"rows": rows, "comparisons": comparisons}


def lines(name: str, table: Mapping[str, Any]) -> list[str]:
    """A table in a line a system: its metrics with their intervals."""
    found = [f"{name}:"]
    for system, row in table["rows"].items():
        shown = [
            "{} {:.4f} [{:.3f}, {:.3f}]".format(metric, value, *row["intervals"][metric])
            for metric, value in row["metrics"].items()
            if not metric.startswith("mrr")
        ]
        found.append(f"  {system}: {'  '.join(shown)}")
    return found


def samples(config: Config, dataset: Dataset, lists: Mapping[str, np.ndarray]) -> list[Any]:
    """Histories and recommendations of a few users, with titles: JSON-able."""
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


def protocol(config: Any, dataset: Dataset) -> dict[str, object]:
    """What a table is measured on: JSON-able.

    Args:
      config: of a run; only "decode.filter_seen" and "share" are read.
      dataset: its data.
    """
    share = known_share(config)
    known = {"known_share": share} if share < 1 else {}
    return (
        dataset.describe()
        | known
        | {
            "ranking": f"full catalogue of {dataset.num_items:,} items",
            "seen_items": "removed" if config.decode.filter_seen else "kept",
            "tied_scores": "at their mean rank",
        }
    )


def known_share(config: Any) -> float:
    """Share of the users whose histories a system may train on; 1 unless its config says less."""
    return getattr(config, "share", 1.0)


def heading(facts: Mapping[str, object]) -> str:
    """The same in a line."""
    known = f" (a share {facts['known_share']:g} known)" if "known_share" in facts else ""
    return (
        f"{facts['dataset']}, test: {facts['users']:,} users{known}, {facts['ranking']}, "
        f"seen items {facts['seen_items']}; ties in time: {facts['ties']}"
    )


def leak_audit(dataset: Dataset) -> dict[str, float]:
    """How often the trivial rule "highest number in the history plus one" is right, as a share."""
    return {
        "max_plus_one": max_plus_one_rate(
            dataset.split.history("test"), dataset.split.target("test")
        )
    }
