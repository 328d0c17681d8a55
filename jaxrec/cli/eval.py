"""`jaxrec eval RUN`: the model and its baselines under one protocol, in one table."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import parse
from jaxrec.cli.functions import evaluate_run
from jaxrec.cli.run_argument import read_run
from jaxrec.core import ConfigError, quoted
from jaxrec.runs import WARNING, is_quick, system_of

# Facts that a row may have, and how they are written.
_FACTS = {"parameters": "{:,}", "fit_seconds": "{:.0f}", "test_seconds": "{:.1f}"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure a run beside its baselines.

    Attributes:
      run: the run directory.
      baselines: names of the baselines to fit and measure beside the run; those of its config by
        default.
      no_baselines: measure the run alone.
    """

    run: Annotated[Path, tyro.conf.Positional]
    baselines: tuple[str, ...] | None = None
    no_baselines: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


def run(arguments: list[str]) -> None:
    """Evaluate a run, write `eval.json`, and print the table."""
    options = parse(Arguments, arguments, prog="jaxrec eval")
    directory, chosen = options.run, options.baselines
    if chosen is not None and (options.no_baselines or not chosen):
        raise ConfigError(
            "--baselines needs names, such as popularity markov; for none of them give "
            "--no-baselines alone"
        )
    show(evaluate_run(directory, baselines=() if options.no_baselines else chosen))
    if is_quick(directory):
        print(WARNING)
    if hasattr(system_of(read_run(directory)), "report"):
        print(f"next: jaxrec report {quoted(directory)}")


def show(report: Mapping[str, Any]) -> None:
    """Print the main table of a report, its tests and its lines of text.

    Args:
      report: as `System.evaluate` returns it.
    """
    print(report["heading"])
    names = [name for name in report["rows"]["model"]["metrics"] if not name.startswith("mrr")]
    facts = [name for name in _FACTS if any(name in row for row in report["rows"].values())]
    table = Table("system", *names, *(name.replace("_", " ") for name in facts))
    for name, row in report["rows"].items():
        cells = [_cell(row, metric) for metric in names]
        shown = [_FACTS[fact].format(row[fact]) if fact in row else "" for fact in facts]
        table.add_row(name, *cells, *shown)
    Console(width=max(Console().width, 150)).print(table)
    for row in report["comparisons"]:
        print(
            f"model - {row['baseline']}: {row['metric']} {row['difference']:+.4f} "
            f"[{row['interval'][0]:+.4f}, {row['interval'][1]:+.4f}], p {row['p_holm']:.3f} (Holm)"
        )
    for line in report["lines"]:
        print(line)


def _cell(row: Mapping[str, Any], metric: str) -> str:
    """A metric with its interval, if it has one; "" for a metric that the row does not have."""
    if metric not in row["metrics"]:
        return ""
    mean = f"{row['metrics'][metric]:.4f}"
    if metric not in row["intervals"]:
        return mean
    return "{} [{:.3f}, {:.3f}]".format(mean, *row["intervals"][metric])
