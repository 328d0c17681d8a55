"""`jaxrec sweep CONFIG [--seeds N] [--SETTING VALUE ...]`: named variants of a run, in one table.

The variants are what `get_sweep()` of the config file returns. They run one after the other, and
the same command resumes. The last line on standard output is the table as JSON.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markdown import Markdown

from jaxrec.cli.arguments import override, parse_known
from jaxrec.cli.configs import find_config, run_name
from jaxrec.cli.loading import change_variants, load_sweep_file
from jaxrec.core import (
    ConfigError,
    Count,
    Seed,
    check_name,
    keep_memory,
    locked,
    to_json,
    write_text,
)
from jaxrec.runs import WARNING, is_run, run_sweep, sweep_markdown

# Characters of a line in a file or a pipe, which have no width of their own.
_FILE_WIDTH = 150


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train and measure the variants of a config's sweep.

    All other options, such as --train.steps 100, change that setting of every variant.

    Attributes:
      config: the name of a config with a sweep (jaxrec list configs), or the path of a file.
      seeds: trainings of each variant.
      first_seed: the seed of the first training; the next ones count up from it.
      only: names of the variants to run, in the order of the table; all by default.
      run_dir: where the variants are trained and sweep.json is written; runs/NAME-sweep by default.
      quick: train each variant for about a minute; the figures mean nothing.
    """

    config: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CONFIG")]
    seeds: Count = 1
    first_seed: Seed = 0
    only: tuple[str, ...] = ()
    run_dir: Path | None = None
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


def run(arguments: list[str]) -> None:
    """Run what is missing of the sweep, then print its table and the table as one JSON line."""
    options, rest = parse_known(Arguments, arguments, prog="jaxrec sweep")
    path = find_config(options.config)
    sweep = load_sweep_file(path, quick=options.quick)
    if options.only:
        sweep = sweep.only(options.only)
    if rest:
        prog = "jaxrec sweep CONFIG"
        sweep = change_variants(sweep, lambda _, config: override(config, rest, prog=prog))
    ending = "-sweep-quick" if options.quick else "-sweep"
    directory = options.run_dir or Path(f"runs/{run_name(path)}{ending}")
    check_name(directory)
    if is_run(directory):
        raise ConfigError(f"{directory} holds a run, not a sweep; give another --run-dir")
    keep_memory()
    if options.quick:
        print(WARNING)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with locked(directory):
        report = run_sweep(sweep, directory, seeds, quick=options.quick)
        if options.quick:
            report = {"warning": WARNING} | report
        write_text(directory / "sweep.json", to_json(report))
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, _FILE_WIDTH))
    console.print(Markdown(sweep_markdown(report, console.width)))
    print(f"saved in {directory / 'sweep.json'}; single runs: jaxrec eval {directory}/VARIANT-SEED")
    print(json.dumps(report))
