"""A table of systems: metrics with intervals over users, and paired tests against the model."""

from collections.abc import Mapping
from typing import Any

from jaxrec.eval import average, bootstrap_interval, holm, paired_bootstrap
from jaxrec.runs.config import METRIC
from jaxrec.runs.measured import Measured

# Name of the row that is the run itself.
MODEL = "model"


def baseline_table(
    measured: Mapping[str, Measured], config: Any, metric: str = METRIC
) -> dict[str, Any]:
    """Compare the model of a run with its baselines.

    Args:
      measured: measurements by name; `MODEL` is the run's own.
      config: the config of the run; only `eval.resamples` and, if there is one,
        `train.seed` are read.
      metric: the metric of the tests.

    Returns:
      JSON-able: "rows" by name, each with "metrics", percentile bootstrap "intervals" over users,
      "parameters" and seconds; and "comparisons", a paired test of the model against each other
      row, with Holm's correction.

    Example:
      >>> import numpy as np
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> def measured(values):
      ...     return Measured(
      ...         metrics={"ndcg@10": np.array(values)},
      ...         parameters=0,
      ...         fit_seconds=0.0,
      ...         test_seconds=0.0,
      ...         items=np.zeros((4, 0), np.int32),
      ...     )
      >>> systems = {MODEL: measured([1.0, 0, 1, 0]), "markov": measured([0.0, 0, 1, 0])}
      >>> baseline_table(systems, SasrecRunConfig())["comparisons"][0]["difference"]
      0.25
    """
    # A system that counts has no seed.
    seed = getattr(getattr(config, "train", None), "seed", 0)
    resamples = config.eval.resamples
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


def left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """Say which baselines a table lacks, and why; see `measure_baselines`.

    Example:
      >>> left_out_lines({"item_knn": "it does not fit in memory"})
      ['item_knn is left out: it does not fit in memory']
    """
    return [f"{name} is left out: {reason}" for name, reason in left_out.items()]


def table_lines(name: str, table: Mapping[str, Any]) -> list[str]:
    """Write a table as text, with one line per system and without MRR.

    Args:
      name: of the table; it stands in the first line.
      table: as `baseline_table` returns it; also "left_out", reasons by name, if it has that.

    Example:
      >>> row = {"metrics": {"hr@10": 0.2}, "intervals": {"hr@10": [0.1, 0.3]}}
      >>> table_lines("seen items kept", {"rows": {"model": row}})
      ['seen items kept:', '  model: hr@10 0.2000 [0.100, 0.300]']
    """
    lines = [f"{name}:"]
    for system, row in table["rows"].items():
        shown = [
            "{} {:.4f} [{:.3f}, {:.3f}]".format(metric, value, *row["intervals"][metric])
            for metric, value in row["metrics"].items()
            if not metric.startswith("mrr")
        ]
        lines.append(f"  {system}: {'  '.join(shown)}")
    lines += [f"  {line}" for line in left_out_lines(table.get("left_out", {}))]
    return lines
