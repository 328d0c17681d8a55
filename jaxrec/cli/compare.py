"""`jaxrec compare CONFIG|RUN ...`: several systems on one data set, in one table.

Every row is measured twice, with seen items removed and kept. The last line is the report as JSON.

Configs are trained and measured below `--run-dir`, once per seed. A trained run is ranked in its
own directory, unless `jaxrec eval` did so before.
"""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markdown import Markdown

from jaxrec.cli.arguments import parse
from jaxrec.cli.configs import config_name, config_names, find_config
from jaxrec.cli.loading import load_config_file
from jaxrec.core import (
    ConfigError,
    Count,
    DataError,
    check_name,
    check_writable,
    locked,
    nearest,
    printable,
    to_json,
    write_text,
)
from jaxrec.data import DataConfig, Dataset, load_dataset, with_name
from jaxrec.eval import markdown, replace_section
from jaxrec.runs import (
    WARNING,
    Compared,
    Measured,
    check_alike,
    compare,
    heading,
    is_quick,
    load_run,
    marked,
    near_run,
    protocol_of,
    resolved,
)


@dataclasses.dataclass(frozen=True)
class Data:
    """Where all configs are trained and measured.

    Attributes:
      name: a data set to use instead of that of the configs, see `jaxrec list data`; "" for theirs.
    """

    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare systems on one data set.

    Attributes:
      systems: names of configs (jaxrec list configs), config files, and directories of trained
        runs.
      seeds: trainings of each config and of each trained baseline, with seeds 0, 1, ...
      baselines: names of baselines to add as rows; the first config has their settings.
      against: the row that all others are tested against; the first by default.
      run_dir: where configs and baselines are trained and comparison.json is written;
        runs/compare by default, then the name of other data, and "quick" if it is.
      write: a Markdown file; the tables replace its section between the comparison's two marks.
      quick: train each config for about a minute; the figures mean nothing.
      data: another data set for all configs.
    """

    systems: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CONFIG|RUN ...")
    ]
    seeds: Count = 1
    baselines: tuple[str, ...] = ()
    against: str = ""
    run_dir: Path | None = None
    write: Path | None = None
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    data: Data = Data()


@dataclasses.dataclass(frozen=True)
class System:
    """One system to compare: its config, and its run directory where it is trained already."""

    config: Any
    directory: Path | None


def run(arguments: list[str]) -> None:
    """Train what is missing, then measure, print and write the tables."""
    options = parse(Arguments, arguments, prog="jaxrec compare")
    systems = _systems(options.systems, options.quick, options.data.name)
    names = [*options.baselines, *systems]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(
            f"two rows are called {twice[0]}; name each baseline once, and rename a config file or "
            "a run that has the name of a baseline"
        )
    reference = options.against or names[0]
    if reference not in names:
        raise ConfigError(f"--against {reference!r} is none of {', '.join(names)}")
    for name, system in systems.items():
        compare.check_config(name, system.config)
    first = next(iter(systems.values())).config
    for name in options.baselines:
        compare.check_baseline(name, first)
    for name, system in systems.items():
        check_alike(first, system.config, name)
    words = ["compare", *filter(None, [Path(options.data.name).stem]), *["quick"] * options.quick]
    directory = options.run_dir or Path("runs") / "-".join(words)
    check_name(directory)
    check_writable(directory)
    if options.write is not None:
        replace_section(options.write, None)
        check_writable(options.write.absolute().parent, "--write")
    quick = options.quick or any(s.directory and is_quick(s.directory) for s in systems.values())
    if quick:
        print(WARNING)
    dataset = _load(first.data, options.data.name)
    facts = protocol_of(first, dataset)
    print(heading(facts))
    with locked(directory):
        rows = [
            _measure_baseline(name, first, dataset, directory, options.seeds)
            for name in options.baselines
        ]
        for name, system in systems.items():
            if system.directory is not None:
                measured = [compare.measure_run(system.config, dataset, system.directory)]
                others = [compare.measure_other(system.config, dataset, system.directory)]
                rows.append(Compared(name, measured, others))
                continue
            place = str(directory / name.replace("/", "-"))
            measured, others = [], []
            for seed in range(options.seeds):
                run_dir = Path(f"{place}-{seed}")
                print(f"{name}, training {seed + 1} of {options.seeds}: {printable(str(run_dir))}")
                with marked(run_dir, options.quick):
                    config = resolved(compare.with_seed(system.config, seed))
                    measured.append(compare.measure_config(config, dataset, run_dir))
                    others.append(compare.measure_other(config, dataset, run_dir))
            rows.append(Compared(name, measured, others))
    report = compare.table(rows, dataset, reference) | {"protocol": facts}
    text = markdown(report)
    if quick:
        report, text = {"warning": WARNING} | report, f"{WARNING}.\n\n{text}"
    saved = to_json(report)
    write_text(directory / "comparison.json", saved)
    Console(width=max(Console().width, 150)).print(Markdown(text))
    if options.write is not None:
        replace_section(options.write, text)
        print(f"wrote the tables into {options.write}")
    print(f"saved in {directory / 'comparison.json'}")
    print(json.dumps(json.loads(saved)))


def _measure_baseline(
    name: str, config: Any, dataset: Dataset, directory: Path, seeds: int
) -> Compared:
    """The measurements of a baseline: one per seed where it is trained, else one."""
    measured: dict[bool, list[Measured]] = {False: [], True: []}
    for seed in range(seeds if name in compare.TRAINED else 1):
        place = directory / f"baselines-{seed}"
        for other, found in measured.items():
            found.append(compare.measure_baseline(name, config, dataset, place, seed, other=other))
    return Compared(name, measured[False], measured[True])


def _systems(words: tuple[str, ...], quick: bool, data: str) -> dict[str, System]:
    """What is compared, by the names of the rows; all configs are read before any work."""
    if not words:
        raise ConfigError("nothing to compare; give configs or run directories")
    systems: dict[str, System] = {}
    for word in words:
        path = Path(word)
        if path.is_dir() and word not in config_names():
            name, system = path.resolve().name, System(load_run(path), path)
            compare.check_config(name, system.config)
            compare.check_trained(path)
            if data and system.config.data.name != data:
                raise ConfigError(
                    f"--data.name {data} has no meaning for the run {word}, which was trained on "
                    f"{system.config.data.name}; leave one of them out, or give the run's config"
                )
        else:
            if path.suffix != ".py" and not path.is_file() and word not in config_names():
                near = nearest(word, config_names()) or near_run(path)
                known = "onfigs: jaxrec list configs; runs: the directories that --run-dir named"
                raise ConfigError(
                    f"{word!r} is neither a config nor a run{f'{near} C' if near else '; c'}{known}"
                )
            path = find_config(word)
            name, config = config_name(path), load_config_file(path, quick=quick)
            compare.check_config(name, config)
            system = System(_on(data, config), None)
        if name in systems:
            raise ConfigError(f"two systems are called {name}; rename a config file or a run")
        systems[name] = system
    return systems


def _load(config: DataConfig, asked: str) -> Dataset:
    """The data; a message about options of columns says where they belong."""
    try:
        return load_dataset(config)
    except DataError as error:
        if not asked or not re.search(r"--(data\.|from-file)", str(error)):
            raise
        raise DataError(
            f"{error}; jaxrec compare has only --data.name, so set the others as data=DataConfig() "
            "in copies of the configs (jaxrec copy), and leave --data.name out"
        ) from error


def _on(data: str, config: Any) -> Any:
    """A config with another data set, "" for its own."""
    return dataclasses.replace(config, data=with_name(config.data, data)) if data else config
