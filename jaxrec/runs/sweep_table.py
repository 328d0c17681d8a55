"""The figures of a sweep: means and intervals over users and seeds, and paired tests.

Shapes: `S` seeds, `U` users.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.eval import crossed_interval, crossed_test, holm
from jaxrec.runs.sweep_rows import Row


def sweep_report(
    rows: Mapping[str, Sequence[Mapping[str, Row]]],
    reference: str,
    metrics: Sequence[str],
    pairs: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Rows and paired tests of a sweep: JSON-able.

    Where a row has a value per user, its interval covers other users and other seeds
    (`crossed_interval`). Elsewhere it covers other users alone: it is the mean over seeds of the
    intervals of the single runs.

    Args:
      rows: for each variant and seed, rows by name, where "" is the model's own.
      reference: the variant that all others are tested against.
      metrics: metrics of the tests.
      pairs: further tests, of the first variant of each pair against the second.

    Returns:
      "rows": name, "metrics", "intervals", "by_seed" and "parameters"; "tests": of `a` minus `b`.

    Example:
      >>> ends = {"auc": [0.5, 0.9]}
      >>> seeds = [{"": Row(metrics={"auc": auc}, intervals=ends)} for auc in (0.6, 0.8)]
      >>> report = sweep_report({"all": seeds}, "all", ["auc"])
      >>> round(report["rows"][0]["metrics"]["auc"], 3), report["rows"][0]["intervals"]["auc"]
      (0.7, [0.5, 0.9])
    """
    return {
        "rows": [_over_seeds(name, seeds) for name, seeds in _named(rows)],
        "tests": _tests(
            {name: [s[""] for s in seeds] for name, seeds in rows.items()},
            reference,
            metrics,
            pairs,
        ),
    }


def _named(
    rows: Mapping[str, Sequence[Mapping[str, Row]]],
) -> list[tuple[str, list[Row]]]:
    """Each row of the table with its seeds: variants first, then the rows that come with them."""
    table = [(name, [seed[""] for seed in seeds]) for name, seeds in rows.items()]
    further = dict.fromkeys(part for seeds in rows.values() for part in seeds[0] if part)
    for part in further:
        having = {
            name: [seed[part] for seed in seeds]
            for name, seeds in rows.items()
            if all(part in seed for seed in seeds)
        }
        figures = [[row.metrics for row in seeds] for seeds in having.values()]
        if len(having) == len(rows) > 1 and all(each == figures[0] for each in figures):
            table.append((part, next(iter(having.values()))))
        else:
            table += [(f"{name}: {part}", seeds) for name, seeds in having.items()]
    return table


def _over_seeds(name: str, seeds: Sequence[Row]) -> dict[str, Any]:
    means, intervals = {}, {}
    names = [metric for metric in seeds[0].metrics if all(metric in s.metrics for s in seeds)]
    for metric in names:
        if all(metric in seed.values for seed in seeds):
            interval = crossed_interval(_values(seeds, metric))
            means[metric], intervals[metric] = interval.mean, [interval.low, interval.high]
            continue
        means[metric] = float(np.mean([seed.metrics[metric] for seed in seeds]))
        if all(metric in seed.intervals for seed in seeds):
            ends = np.mean([seed.intervals[metric] for seed in seeds], axis=0)
            intervals[metric] = ends.tolist()
    return {
        "name": name,
        "metrics": means,
        "intervals": intervals,
        "by_seed": {metric: [float(seed.metrics[metric]) for seed in seeds] for metric in names},
        "parameters": round(float(np.mean([seed.parameters for seed in seeds]))),
    }


def _values(seeds: Sequence[Row], metric: str) -> np.ndarray:
    """`[S, U]`."""
    return np.stack([seed.values[metric] for seed in seeds])


def _tests(
    variants: Mapping[str, Sequence[Row]],
    reference: str,
    metrics: Sequence[str],
    pairs: Sequence[tuple[str, str]],
) -> list[dict[str, Any]]:
    """Every variant minus the reference; Holm's correction is over the tests of one metric."""
    found = []
    wanted = [(name, reference) for name in variants if name != reference]
    wanted += [pair for pair in pairs if pair not in wanted]
    for metric in metrics:
        values = {
            name: _values(seeds, metric)
            for name, seeds in variants.items()
            if all(metric in seed.values for seed in seeds)
        }
        able = [(a, b) for a, b in wanted if a in values and b in values]
        tests = [crossed_test(values[a], values[b]) for a, b in able]
        adjusted = holm([test.p for test in tests])
        found += [
            {
                "a": a,
                "b": b,
                "metric": metric,
                "difference": test.difference,
                "low": test.low,
                "high": test.high,
                "p": test.p,
                "p_holm": float(p),
            }
            for (a, b), test, p in zip(able, tests, adjusted, strict=True)
        ]
    return found
