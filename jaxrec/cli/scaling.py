"""`jaxrec scaling fit FILE | plan --flops C`: scaling laws of trainings, and what a budget buys."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from jaxrec.cli.arguments import parse
from jaxrec.core import (
    ConfigError,
    Count,
    Positive,
    PositiveShare,
    Seed,
    Whole,
    check_writable,
    nearest,
    write_bytes,
)
from jaxrec.runs import (
    LAWS,
    Fit,
    Frontier,
    PointColumns,
    Points,
    check_format,
    device_peak,
    draw_fit,
    drop_highest,
    envelope,
    fit_law,
    isoflop,
    make_plan,
    read_points,
    read_sweep_points,
)

_VERBS = {
    "fit": "fit a law to the trainings of a table or of a sweep",
    "plan": "show the best size and data of a budget, and the days that it takes",
}
_FRONTIERS = {
    "isoflop": "N* = k C^a, through the minima of parabolas at each budget",
    "envelope": "N* = k C^a, through the best runs of training curves",
}
_ALL = (*LAWS, *_FRONTIERS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitArguments:
    """Fit a scaling law, print its constants with 95 % intervals, and end with a JSON line.

    Attributes:
      source: a table (CSV, JSON lines, Parquet) with a row for each training, or the directory of
        `jaxrec sweep`.
      law: chinchilla, kaplan, kaplan-steps, params, tokens or compute, which predict the loss;
        isoflop or envelope, which find the best size of each budget. By default chinchilla for a
        table and params for a sweep.
      columns: the names of the columns; usual names are found.
      drop_highest: leave out the trainings whose loss is at least the K-th largest. By default 0,
        and 5 for the data of Besiroglu et al., as they do.
      delta: where the Huber loss turns linear; by default 0.001 for chinchilla and 0.01 for kaplan.
      resamples: bootstrap resamples for the intervals; 0 leaves the intervals out.
      seed: seed of the resamples.
      flops_tolerance: how far the budgets of one parabola of isoflop may differ.
      plot: where a figure is written: a file that ends with .png, .svg or .pdf.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE|SWEEP")]
    law: str = ""
    columns: PointColumns = PointColumns()
    drop_highest: Whole | None = None
    delta: Positive | None = None
    resamples: Whole = 1000
    seed: Seed = 0
    flops_tolerance: Positive = 0.05
    plot: Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanArguments:
    """Show the compute-optimal size and data of a budget, and end with a JSON line.

    Attributes:
      flops: the budget C in floating-point operations, such as 1e21.
      constants: epoch, paper or paper-tex (Chinchilla), kaplan (closed form), kaplan-empirical, or
        a JSON file with the last line of `jaxrec scaling fit`.
      hardware: a device, such as h100, for the days of training.
      peak_flops: FLOP/s of a device that `hardware` does not know.
      devices: how many devices train.
      mfu: share of the peak that the training reaches.
    """

    flops: Positive
    constants: str = "epoch"
    hardware: str = ""
    peak_flops: Positive | None = None
    devices: Count = 1
    mfu: PositiveShare = 0.4


def run(arguments: list[str]) -> None:
    """Run the verb, which is the first word.

    Raises:
      ConfigError: an unknown verb, option, law or device, or a budget that is not positive.
      DataError: the file or the sweep cannot be read, or does not determine the law.
    """
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help"):
        print("usage: jaxrec scaling fit FILE|SWEEP [--law LAW] ... | plan --flops C ...\n")
        print("\n".join(f"  {name:<5} {about}" for name, about in _VERBS.items()))
        return
    if verb not in _VERBS:
        raise ConfigError(f"no verb {verb!r}{nearest(verb, _VERBS)}; verbs: {', '.join(_VERBS)}")
    if verb == "fit":
        _fit(parse(FitArguments, rest, prog="jaxrec scaling fit"))
    else:
        _plan(parse(PlanArguments, rest, prog="jaxrec scaling plan"))


def _fit(options: FitArguments) -> None:
    if options.law and options.law not in _ALL:
        raise ConfigError(
            f"no law {options.law!r}{nearest(options.law, _ALL)}; laws: {', '.join(_ALL)}"
        )
    if options.plot is not None:
        check_format(options.plot.suffix.lstrip("."))
        check_writable(options.plot.parent, "--plot")
    sweep = options.source.is_dir()
    reader = read_sweep_points if sweep else read_points
    read = reader(options.source, options.columns)
    law = options.law or ("params" if sweep else "chinchilla")
    count = read.drops if options.drop_highest is None else options.drop_highest
    points = drop_highest(read, count)
    if len(points) < len(read):
        print(
            f"left out the {len(read) - len(points)} trainings of {len(read)} with the highest "
            "losses; --drop-highest 0 keeps them"
        )
    fit, frontier = _estimate(law, points, options)
    _show(fit, "")
    result = fit.to_json() | {"dropped": len(read) - len(points)}
    if points.total is not None and points.params is not None:
        whole = dataclasses.replace(points, params=points.total, total=None)
        other = _estimate(law, whole, options)[0]
        _show(other, ", N with embeddings")
        result["total"] = other.to_json()
    if options.plot is not None:
        kind = options.plot.suffix.lstrip(".")
        write_bytes(options.plot, draw_fit(fit, points, frontier, kind))
        print(f"wrote {options.plot}")
    print(json.dumps(result))


def _estimate(law: str, points: Points, options: FitArguments) -> tuple[Fit, Frontier | None]:
    draws = {"resamples": options.resamples, "seed": options.seed}
    if law == "isoflop":
        frontier = isoflop(points, tolerance=options.flops_tolerance, **draws)
        return frontier.fit, frontier
    if law == "envelope":
        frontier = envelope(points, **draws)
        return frontier.fit, frontier
    return fit_law(law, points, delta=options.delta, **draws), None


def _show(fit: Fit, about: str) -> None:
    formula = _FRONTIERS[fit.law] if fit.law in _FRONTIERS else LAWS[fit.law].formula
    print(f"{formula}{about}: {fit.points} trainings")
    table = Table("constant", "value", "95 % interval")
    for name, value in fit.values.items():
        interval = fit.intervals.get(name)
        shown = "" if interval is None else f"{interval[0]:.5g} to {interval[1]:.5g}"
        table.add_row(name, f"{value:.6g}", shown)
    Console().print(table)
    held = fit.held_out_error
    print(f"objective {fit.objective:.7g}, R² of the logarithms {fit.r_squared:.4f}")
    if held is not None:
        print(f"largest model, predicted from the others: loss off by {100 * held:.2f} %")
    for note in fit.notes:
        print(note)


def _plan(options: PlanArguments) -> None:
    if options.hardware and options.peak_flops is not None:
        raise ConfigError(
            f"--hardware {options.hardware} and --peak-flops {options.peak_flops:g} both give "
            "FLOP/s; give one of them"
        )
    peak = device_peak(options.hardware) if options.hardware else options.peak_flops
    plan = make_plan(
        options.flops,
        constants=options.constants,
        peak=peak,
        devices=options.devices,
        mfu=options.mfu,
    )
    best = plan.best
    table = Table("compute-optimal", f"{options.flops:g} FLOP, constants {options.constants}")
    table.add_row("parameters N", f"{best.params:.4g}")
    table.add_row("tokens D", f"{best.tokens:.4g}")
    table.add_row("tokens per parameter", f"{best.tokens / best.params:.1f}")
    table.add_row("predicted loss", f"{best.loss:.4f} nats a token")
    if plan.batch_tokens is not None:
        table.add_row("critical batch", f"{plan.batch_tokens:.3g} tokens")
    if plan.shape is not None:
        shape = plan.shape
        table.add_row(
            "shape",
            f"{shape['layers']} layers of width {shape['width']}, {shape['heads']} heads "
            f"({shape['params']:.4g} parameters in the layers)",
        )
    if plan.days is not None and peak is not None:
        name = options.hardware or f"a device of {peak:g} FLOP/s"
        table.add_row("days", f"{plan.days:.3g} on {options.devices} x {name}, MFU {options.mfu:g}")
    Console().print(table)
    print(json.dumps(plan.to_json() | {"devices": options.devices, "mfu": options.mfu}))
