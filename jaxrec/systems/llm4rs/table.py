"""The table of LLM4RS: every form of asking beside the baselines, with compliance and cost.

Metrics are means over users of the means over a user's instances. Intervals and tests resample
users, because the instances of a user are alike.

Shapes: `N` instances, `A` candidates, `U` users.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.eval import bootstrap_interval, holm, paired_bootstrap
from jaxrec.prompting import LanguageModel
from jaxrec.runs import MODEL
from jaxrec.systems.llm4rs.answers import Answered, ask_form, random_level
from jaxrec.systems.llm4rs.baselines import Rated, baseline_scores
from jaxrec.systems.llm4rs.config import Llm4rsConfig
from jaxrec.systems.llm4rs.instances import Instances
from jaxrec.systems.llm4rs.prompts import Prompter
from jaxrec.texts import Datum, candidate_metrics, shuffle_candidates, target_places

METRIC = "ndcg@3"
_SHOWN = ("ndcg@3", "mrr@3", "hr@1")
RANDOM, ORACLE = "random", "oracle"
# The baseline that knows no user: what a recommender has to add to it.
_REFERENCE = "item-mean"


def measure(
    config: Llm4rsConfig,
    model: LanguageModel,
    prompter: Prompter,
    instances: Instances,
    baselines: Sequence[str],
) -> dict[str, Any]:
    """Ask the model in every form, and measure it beside baselines.

    Args:
      config: of the run.
      model: the language model.
      prompter: writes the prompts.
      instances: what is asked about.
      baselines: names of baselines.

    Returns:
      What `System.evaluate` returns.

    Raises:
      ConfigError: an unknown baseline, or what the model rejects.
      DataError: a baseline that cannot score the instances.
      ServiceError: a service failed too often; the same command resumes the study.
    """
    data, settings = instances.test, config.eval
    rated = Rated.of(instances.data, instances.fit, instances.threshold)
    seed = config.train.seed
    # Baselines are fitted first: their errors come before anything is paid.
    beside = {name: baseline_scores(name, rated, data, seed) for name in baselines}
    found: dict[str, Answered] = {}
    for answers in settings.answers:
        for form in settings.forms:
            name = f"{form}-wise, {answers}"
            found[name] = ask_form(
                model,
                prompter,
                data,
                form,
                answers,
                batch=settings.batch,
                failures=settings.failures,
            )
    first = next(iter(found))
    values = {name: _by_user(answered.scores, data) for name, answered in found.items()}
    rows = {name: _row(values[name], settings.resamples) for name in found}
    for name, answered in found.items():
        rows[name]["metrics"] |= _costs(answered, rows[name]["metrics"][METRIC], data)
    reference = _REFERENCE if _REFERENCE in beside else next(iter(beside), "")
    for name, scores in beside.items():
        values[name] = _by_user(scores, data)
        rows[name] = _row(values[name], settings.resamples)
    if reference:
        _compare(rows, values, reference, list(found), settings.resamples)
    rows[RANDOM] = _row(_by_user(np.zeros((len(data), _count(data))), data), settings.resamples)
    truth = np.eye(_count(data))[target_places(data)]
    rows[ORACLE] = _row(_by_user(truth, data), settings.resamples)
    tables: dict[str, Any] = {}
    if settings.shuffles:
        tables["places"] = {"rows": _places(config, model, prompter, data)}
    if settings.curve:
        tables["training data"] = {"rows": _curve(config, rated, data)}
    report = {
        "rows": {MODEL: rows[first]} | {name: row for name, row in rows.items() if name != first},
        "comparisons": _comparisons(values, first, list(beside), settings.resamples),
        "values": {name: by_user.tolist() for name, by_user in values[first].items()},
        "tables": tables,
        "protocol": dict(instances.describe()) | {"prompt": dataclasses.asdict(config.prompt)},
        "heading": (
            f"{instances.data.name}: {len(data):,} instances of {len(set(_users(data))):,} users, "
            f"{_count(data)} candidates, {config.prompt.demonstrations} demonstrations; the row of "
            f"the model is its {first} answers"
        ),
    }
    lines = [*published_table(rows, settings.forms), *_lines(found, tables)]
    return report | {"lines": lines}


def published_table(rows: Mapping[str, Mapping[str, Any]], forms: Sequence[str]) -> list[str]:
    r"""Write NDCG@3 and MRR@3 as the paper does, with the forms beside each other.

    Args:
      rows: of the report, by name.
      forms: of the model.

    Returns:
      Lines of a Markdown table.

    Example:
      >>> row = {"metrics": {"ndcg@3": 0.5, "mrr@3": 0.4}}
      >>> print("\n".join(published_table({"random": row, "list-wise, free": row}, ["list"])))
      | NDCG@3 (MRR@3) | list-wise | any |
      |---|---|---|
      | random |  | .5000 (.4000) |
      | free | .5000 (.4000) |  |
    """

    def cell(name: str) -> str:
        metrics = rows[name]["metrics"] if name in rows else {}
        if not metrics:
            return ""
        return "{:.4f} ({:.4f})".format(metrics[METRIC], metrics["mrr@3"]).replace("0.", ".")

    kinds = dict.fromkeys(name.split(", ")[1] for name in rows if "-wise, " in name)
    others = [name for name in rows if "-wise, " not in name and name != ORACLE]
    titles = [f"{form}-wise" for form in forms]
    lines = [["NDCG@3 (MRR@3)", *titles, "any"]]
    lines += [[name, *("" for _ in forms), cell(name)] for name in others]
    lines += [[kind, *(cell(f"{title}, {kind}") for title in titles), ""] for kind in kinds]
    head, *body = ["| " + " | ".join(cells) + " |" for cells in lines]
    return [head, "|---" * len(lines[0]) + "|", *body]


def _count(data: Sequence[Datum]) -> int:
    return len(np.asarray(data[0].candidates))


def _users(data: Sequence[Datum]) -> list[int]:
    """User numbers; an instance of nobody known is a user of its own."""
    return [datum.user if datum.user >= 0 else -1 - place for place, datum in enumerate(data)]


def _by_user(scores: np.ndarray, data: Sequence[Datum]) -> dict[str, np.ndarray]:
    """Means over each user's instances: metric to `[U]`, users in ascending order."""
    users = np.unique(_users(data), return_inverse=True)[1]
    counts = np.bincount(users)
    metrics = candidate_metrics(scores, data, (1, 3))
    return {name: np.bincount(users, metrics[name]) / counts for name in _SHOWN}


def _row(values: Mapping[str, np.ndarray], resamples: int) -> dict[str, dict[str, Any]]:
    intervals = {
        name: bootstrap_interval(by_user, resamples=resamples) for name, by_user in values.items()
    }
    return {
        "metrics": {name: i.mean for name, i in intervals.items()},
        "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
    }


def _costs(answered: Answered, value: float, data: Sequence[Datum]) -> dict[str, float]:
    """Share of legal answers, what an instance takes, and the gain over random for it."""
    totals, gain = answered.totals, value - random_level(data)[METRIC]
    tokens = totals.tokens / len(data)
    costs = {
        "compliance": float(answered.legal.mean()),
        "failed": float(totals.failed),
        "prompts": totals.prompts / len(data),
        "tokens": tokens,
    }
    if tokens:
        costs["gain_per_1000_tokens"] = 1000 * gain / tokens
    if totals.usage.cost:
        costs["cost"] = totals.usage.cost / len(data)
        costs["gain_per_cost"] = gain / costs["cost"]
    return costs


def _compare(
    rows: Mapping[str, dict[str, Any]],
    values: Mapping[str, Mapping[str, np.ndarray]],
    reference: str,
    names: Sequence[str],
    resamples: int,
) -> None:
    """Add to rows of the model how far they are above a baseline, with the interval of that."""
    metric = f"over_{reference.replace('-', '_')}"
    for name in names:
        test = paired_bootstrap(
            values[name][METRIC], values[reference][METRIC], resamples=resamples
        )
        rows[name]["metrics"][metric] = test.difference
        rows[name]["intervals"][metric] = [test.low, test.high]


def _comparisons(
    values: Mapping[str, Mapping[str, np.ndarray]],
    first: str,
    names: Sequence[str],
    resamples: int,
) -> list[dict[str, Any]]:
    tests = [
        paired_bootstrap(values[first][METRIC], values[name][METRIC], resamples=resamples)
        for name in names
    ]
    return [
        {
            "baseline": name,
            "metric": METRIC,
            "difference": test.difference,
            "interval": [test.low, test.high],
            "p": test.p,
            "p_holm": float(p),
        }
        for name, test, p in zip(names, tests, holm([t.p for t in tests]), strict=True)
    ]


def _places(
    config: Llm4rsConfig, model: LanguageModel, prompter: Prompter, data: Sequence[Datum]
) -> dict[str, dict[str, Any]]:
    """Ask the list-wise form in other orders: how much a place changes the rank of the target.

    "rank_std" is the mean over instances of the standard deviation of the target's rank over the
    orders: 0 for a model that only reads the candidates. "place_share" of a row is the share of
    first ranks that the place gets, whatever stands there.
    """
    settings = config.eval
    answers = settings.answers[0]
    ranks, firsts = [], np.zeros(_count(data))
    for seed in range(settings.shuffles):
        shuffled = shuffle_candidates(data, seed)
        answered = ask_form(
            model,
            prompter,
            shuffled,
            "list",
            answers,
            batch=settings.batch,
            failures=settings.failures,
        )
        scores = answered.scores
        own = scores[np.arange(len(data)), target_places(shuffled)][:, None]
        # Tied candidates share their places.
        ranks.append((scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2)
        best = scores == scores.max(axis=1, keepdims=True)
        firsts += (best / best.sum(axis=1, keepdims=True)).sum(axis=0)
    spread = np.std(np.array(ranks), axis=0)
    interval = bootstrap_interval(spread, resamples=settings.resamples)
    share = firsts / firsts.sum()
    rows: dict[str, dict[str, Any]] = {
        "all": {
            "metrics": {"rank_std": interval.mean},
            "intervals": {"rank_std": [interval.low, interval.high]},
        }
    }
    for place, value in enumerate(share.tolist()):
        rows[f"place {place + 1}"] = {"metrics": {"place_share": value}, "intervals": {}}
    return rows


def _curve(config: Llm4rsConfig, rated: Rated, data: Sequence[Datum]) -> dict[str, dict[str, Any]]:
    """Fit factors on shares of the ratings."""
    rows = {}
    for name in ("mf", "ncf"):
        for share in config.eval.curve:
            part = rated.share(share, config.train.seed)
            scores = baseline_scores(name, part, data, config.train.seed)
            rows[f"{name}, {100 * share:g} %"] = _row(_by_user(scores, data), config.eval.resamples)
    return rows


def _lines(found: Mapping[str, Answered], tables: Mapping[str, Any]) -> list[str]:
    lines = ["metrics average over tied candidates; intervals by a bootstrap over users"]
    for name, answered in found.items():
        totals = answered.totals
        reasons = "; ".join(f"{why} ({n})" for why, n in list(totals.failures.items())[:3])
        illegal = 1 - float(answered.legal.mean())
        lines.append(
            f"{name}: {totals.prompts:,} prompts, {totals.tokens:,} tokens, "
            f"{100 * illegal:.2f} % of the answers cannot be read and count as a random ranking"
            + (f", {totals.failed} failed: {reasons}" if totals.failed else "")
            + (f", cost {totals.usage.cost:.4f}" if totals.usage.cost else "")
        )
    for name, table in tables.items():
        lines.append(f"{name}:")
        for row, content in table["rows"].items():
            shown = "  ".join(f"{m} {v:.4f}" for m, v in content["metrics"].items())
            lines.append(f"  {row}: {shown}")
    return lines
