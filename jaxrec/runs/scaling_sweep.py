"""The trainings of a sweep as points of a scaling law.

A system whose runs can be points counts in its evaluation report: "parameters" and
"parameters_without_vocabulary" in the row of the model, and the "trained_tokens". The loss is a
metric of that row.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import DataError, mismatch, read_json
from jaxrec.runs.directory import is_run
from jaxrec.runs.quick import WARNING, is_quick
from jaxrec.runs.scaling_points import PointColumns, Points, choose_columns, make_points
from jaxrec.runs.sweep_rows import MODEL_ONLY, WITH_BASELINES, same_protocol
from jaxrec.runs.table import MODEL


class _Row(TypedDict):
    """What is read of the row of the model."""

    metrics: dict[str, Any]
    parameters: float
    parameters_without_vocabulary: float


class _Report(TypedDict):
    """What is read of a run's report."""

    rows: dict[str, Any]
    trained_tokens: float


def read_sweep_points(directory: Path, columns: PointColumns | None = None) -> Points:
    """Read the trainings below a sweep's directory.

    Args:
      directory: of the sweep; each directory in it that holds a run is a training.
      columns: which metrics and numbers of the reports to read; None finds them by usual names.

    Raises:
      DataError: there are no runs, a run is not measured, its system reports no sizes, or the runs
        were measured on different data.
    """
    runs = sorted(path for path in directory.iterdir() if path.is_dir() and is_run(path))
    if not runs:
        raise DataError(
            f"{directory}: no runs in this directory; give that of jaxrec sweep, or a table"
        )
    reports = {run.name: _report(run) for run in runs}
    first: Mapping[str, Any] = next(iter(reports.values()))
    for name, report in reports.items():
        same_protocol(first.get("protocol", {}), report.get("protocol", {}), name)
    if any(map(is_quick, runs)):
        print(WARNING)
    numbers = {name: _numbers(report) for name, report in reports.items()}
    known = list(dict.fromkeys(key for row in numbers.values() for key in row))
    wanted = choose_columns(directory, known, columns)
    values: dict[str, list[float]] = {role: [] for role in wanted}
    for name, row in numbers.items():
        for role, key in wanted.items():
            if key not in row:
                raise DataError(
                    f"{directory / name}: the report has no {key!r}, which other runs have; "
                    "measure the run again, or choose other columns"
                )
            values[role].append(row[key])
    return make_points({role: np.array(v) for role, v in values.items()}, str(directory))


def _report(run: Path) -> dict[str, Any]:
    for name in (MODEL_ONLY, WITH_BASELINES):
        if (run / name).exists():
            fix = "only a system that counts parameters and tokens can be fitted; give a table"
            report: dict[str, Any] = read_json(run / name, _Report, fix=fix)
            row = report["rows"].get(MODEL, {})
            if problem := mismatch(row, _Row, f"the row {MODEL!r}"):
                raise DataError(f"{run / name}: {problem}; {fix}")
            return report
    raise DataError(f"{run}: the run is not measured yet; let jaxrec sweep finish")


def _numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """Metrics and counts of a run, by the names that `choose_columns` knows."""
    row = report["rows"][MODEL]
    metrics = {n: float(v) for n, v in row["metrics"].items() if isinstance(v, int | float)}
    return metrics | {
        "params": row["parameters_without_vocabulary"],
        "total_params": row["parameters"],
        "tokens": report["trained_tokens"],
    }
