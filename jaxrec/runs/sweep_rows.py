"""The rows that one training of a sweep's variant gives to the table.

A system that ranks gives one value per user of each metric. Any other system gives the metrics of
the table that its `evaluate` makes, with their intervals over users. If that report has "values",
which are by metric one value per user of the model, its variants can be tested too.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import (
    ConfigError,
    DataError,
    flatten,
    read_json,
    to_json,
    write_text,
)
from jaxrec.data import load_dataset
from jaxrec.eval import bootstrap_interval
from jaxrec.runs import compare
from jaxrec.runs.directory import TEST_FILE, load_run
from jaxrec.runs.evaluation import configured_baselines, evaluate_run
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import comparable, protocol_of
from jaxrec.runs.quick import marked
from jaxrec.runs.system import Options, system_of
from jaxrec.runs.table import MODEL
from jaxrec.train import memory_explained

# What `jaxrec eval` measures, and the same without baselines.
WITH_BASELINES, MODEL_ONLY = "eval.json", "model.json"
# Facts of a protocol that decide whether two measurements may stand in one table.
_FACTS = (
    *("fingerprint", "users", "items", "test", "test_users", "known_share"),
    *("seen_items", "repeated_target"),
)


class _Rows(TypedDict):
    """What is read of an `eval.json`."""

    rows: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """One row with one seed.

    Attributes:
      metrics: the mean of each metric.
      intervals: [low, high] of each metric over users, where known.
      values: one value per user, `[U]`, of the metrics that are means over users.
      parameters: size of the model; 0 where there is none, or it is not known.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, Sequence[float]]
    values: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    parameters: int = 0


def measure_variant(
    config: Any, directory: Path, *, all_rows: bool, quick: bool = False
) -> tuple[dict[str, Row], Mapping[str, Any]]:
    """Train and measure one variant with one seed, or read what that gave before.

    Args:
      config: of any system, with its seed.
      directory: of the run.
      all_rows: measure as `jaxrec eval` does, and return the rows of baselines and tables too.
      quick: whether this is a quick run.

    Returns:
      Rows by name, where "" is the model's own row, and what they were measured on.

    Raises:
      ConfigError: the directory holds a run with other settings.
    """
    config = resolved(config)
    with marked(directory, quick):
        return _measure(config, directory, all_rows)


def train_start(directory: Path, config: Any, *, quick: bool = False) -> None:
    """Train a run that variants start from, unless it is trained already.

    Args:
      directory: of the run.
      config: of any system.
      quick: train a quick run; a full one that is there already serves as well.

    Raises:
      ConfigError: the directory holds a run with other settings, or a quick one for a full sweep.
    """
    config = resolved(config)
    if (directory / "train.json").exists():
        if quick:
            return
        try:
            with marked(directory, False):
                check_settings(config, directory)
        except ConfigError as error:
            raise ConfigError(f"the sweep starts from {directory}: {error}") from error
        print(f"starts from {directory}, which is trained already")
        return
    print(f"train {directory}, which the variants start from")
    with marked(directory, quick):
        system_of(config).train(config, directory, Options())


def resolved(config: Any) -> Any:
    """The config as its run directory holds it.

    A system whose runs add settings, such as the shape of a base model, offers `resolve`.
    """
    resolve = getattr(system_of(config), "resolve", None)
    return config if resolve is None else resolve(config)


def _measure(
    config: Any, directory: Path, all_rows: bool
) -> tuple[dict[str, Row], Mapping[str, Any]]:
    if _ranks(config) and not all_rows:
        dataset = load_dataset(config.data)
        measured = compare.measure_config(config, dataset, directory)
        return {"": _of_measured(measured)}, protocol_of(config, dataset)
    report = _evaluated(config, directory, baselines=all_rows)
    rows = report_rows(report) if all_rows else {"": _of_row(report["rows"][MODEL])}
    if _ranks(config) and (directory / TEST_FILE).exists():
        rows[""] = _of_measured(Measured.load(directory / TEST_FILE)[0])
    elif "values" in report:
        values = {name: np.asarray(v, np.float64) for name, v in report["values"].items()}
        rows[""] = dataclasses.replace(rows[""], values=values)
    return rows, report.get("protocol", {})


def _ranks(config: Any) -> bool:
    return hasattr(system_of(config), "rank") and getattr(config, "ranks", True)


def _evaluated(config: Any, directory: Path, *, baselines: bool) -> Mapping[str, Any]:
    """The report of a trained run; both stages are skipped where they are complete."""
    path = directory / (WITH_BASELINES if baselines else MODEL_ONLY)
    names = list(configured_baselines(config)) if baselines else []
    if path.exists():
        check_settings(config, directory)
        report = read_json(path, _Rows)
        # `jaxrec eval` may have measured the run beside others.
        if report.get("baselines", names) == names:
            return report
    else:
        with memory_explained(config):
            system_of(config).train(config, directory, Options())
    write_text(path, to_json(evaluate_run(config, directory, names)))
    return read_json(path)


def check_settings(config: Any, directory: Path) -> None:
    """Check that a complete run has these settings; the data are not read.

    Raises:
      ConfigError: other settings.
      DataError: no run there.
    """
    old = load_run(directory)
    if type(old) is not type(config):
        changed = [f"system was {old.system} and is {config.system}"]
    else:
        pairs = zip(flatten(old), flatten(config), strict=True)
        changed = [f"{name} was {a!r} and is {b!r}" for (name, a), (_, b) in pairs if a != b]
    if changed:
        raise ConfigError(
            f"{directory} holds a run with other settings ({'; '.join(changed[:3])}); "
            "give another --run-dir, or the same settings to read it"
        )


def report_rows(report: Mapping[str, Any]) -> dict[str, Row]:
    """All rows of an evaluation report, "" for the model and "TABLE, ROW" in further tables.

    Args:
      report: has "rows", and perhaps "tables": by name, either tables of such rows or plain metrics
        by row.

    Example:
      >>> table = {"rating": {"item mean": {"rmse": 1.02}}}
      >>> rows = report_rows({"rows": {"model": {"metrics": {"auc": 0.7}}}, "tables": table})
      >>> {name: row.metrics for name, row in rows.items()}
      {'': {'auc': 0.7}, 'rating, item mean': {'rmse': 1.02}}
    """
    rows = {"" if name == MODEL else name: _of_row(row) for name, row in report["rows"].items()}
    for table, content in report.get("tables", {}).items():
        named = content.get("rows", content)
        # The report repeats its first table.
        if named != report["rows"]:
            rows |= {f"{table}, {name}": _of_row(row) for name, row in named.items()}
    return rows


def _of_row(row: Mapping[str, Any]) -> Row:
    return Row(
        metrics=row.get("metrics", row),
        intervals=row.get("intervals", {}),
        parameters=row.get("parameters", 0),
    )


def _of_measured(measured: Measured) -> Row:
    intervals = {name: bootstrap_interval(v) for name, v in measured.metrics.items()}
    return Row(
        metrics={name: interval.mean for name, interval in intervals.items()},
        intervals={name: [i.low, i.high] for name, i in intervals.items()},
        values=measured.metrics,
        parameters=measured.parameters,
    )


def same_protocol(first: Mapping[str, Any], facts: Mapping[str, Any], name: str) -> None:
    """Reject a variant that was measured on other data than the first one.

    Raises:
      DataError: naming the facts that differ.
    """
    first, facts = comparable(first), comparable(facts)
    differing = [
        f"{fact} {facts.get(fact)}, not {first.get(fact)}"
        for fact in _FACTS
        if facts.get(fact) != first.get(fact)
    ]
    if differing:
        raise DataError(
            f"variant {name!r} was measured on other data than the first one "
            f"({'; '.join(differing)}), so the two cannot stand in one table; give both the same "
            "data, or another --run-dir"
        )
