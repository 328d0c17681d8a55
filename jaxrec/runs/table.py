"""One table of systems: metrics with intervals over users, and paired tests against the model."""

from collections.abc import Mapping
from typing import Any

from jaxrec.eval import (
    average,
    bootstrap_interval,
    holm,
    paired_bootstrap,
)
from jaxrec.runs.config import METRIC
from jaxrec.runs.measured import Measured

MODEL = "model"


def baseline_table(
    measured: Mapping[str, Measured], config: Any, metric: str = METRIC
) -> dict[str, Any]:
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


def table_lines(name: str, baseline_table: Mapping[str, Any]) -> list[str]:
    """A table in a line a system: its metrics with their intervals."""
    found = [f"{name}:"]
    for system, row in baseline_table["rows"].items():
        shown = [
            "{} {:.4f} [{:.3f}, {:.3f}]".format(metric, value, *row["intervals"][metric])
            for metric, value in row["metrics"].items()
            if not metric.startswith("mrr")
        ]
        found.append(f"  {system}: {'  '.join(shown)}")
    return found
