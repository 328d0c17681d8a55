"""`jaxrec compare CONFIG|RUN ...`: several systems on one data set, in one table.

Configs are trained and measured, once a seed, below `--run-dir`; runs are read as they are.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markdown import Markdown

from jaxrec.cli.arguments import load_config_file, parse
from jaxrec.core import ConfigError, locked, to_json, write_text
from jaxrec.data import load_dataset
from jaxrec.eval import markdown, replace_section
from jaxrec.runs import TEST_FILE, Compared, compare, heading, known_share, load_run, protocol_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare systems on one data set.

    Attributes:
      systems: config files, and run directories that `jaxrec eval` has measured.
      seeds: trainings of each config and of each trained baseline, with seeds 0, 1, ...
      baselines: names of baselines to stand beside; their settings are those of the first config.
      against: the system that all others are tested against; "" for the first.
      run_dir: where configs and baselines are trained, and `comparison.json` is written.
      write: a Markdown file whose section between the comparison's two marks the tables replace.
    """

    systems: Annotated[tuple[Path, ...], tyro.conf.Positional]
    seeds: int = 1
    baselines: tuple[str, ...] = ()
    against: str = ""
    run_dir: Path = Path("runs/compare")
    write: Path | None = None


def run(arguments: list[str]) -> None:
    """Train what is missing, measure, print, and write."""
    options = parse(Arguments, arguments, prog="jaxrec compare")
    if options.seeds < 1:
        raise ConfigError(f"--seeds must be at least 1, got {options.seeds}")
    configs = _configs(options.systems)
    names = [*options.baselines, *configs]
    reference = options.against or names[0]
    if reference not in names:
        raise ConfigError(f"--against {reference!r} is none of {', '.join(names)}")
    for name, config in configs.items():
        compare.check_config(name, config)
    first = next(iter(configs.values()))
    for name in options.baselines:
        compare.check_baseline(name, first)
    for name, config in configs.items():
        _check_same(first, config, name)
    if options.write is not None:
        replace_section(options.write, None)
    dataset = load_dataset(first.data)
    facts = protocol_of(first, dataset)
    print(heading(facts))
    systems = []
    with locked(options.run_dir):
        for name in options.baselines:
            count = options.seeds if name in compare.TRAINED else 1
            systems.append(
                Compared(
                    name,
                    [
                        compare.measure_baseline(
                            name, first, dataset, options.run_dir / f"baselines-{seed}", seed
                        )
                        for seed in range(count)
                    ],
                )
            )
        for path, (name, config) in zip(options.systems, configs.items(), strict=True):
            if path.is_dir():
                found = [compare.load(path / TEST_FILE, facts)]
            else:
                found = [
                    compare.measure_config(
                        compare.with_seed(config, seed), dataset, options.run_dir / f"{name}-{seed}"
                    )
                    for seed in range(options.seeds)
                ]
            systems.append(Compared(name, found))
    report = compare.table(systems, dataset, reference) | {"protocol": facts}
    text = markdown(report)
    write_text(options.run_dir / "comparison.json", to_json(report))
    Console(width=max(Console().width, 150)).print(Markdown(text))
    if options.write is not None:
        replace_section(options.write, text)
        print(f"wrote the tables into {options.write}")


def _configs(paths: tuple[Path, ...]) -> dict[str, Any]:
    """Names and configs of what is to be compared, all read before any work."""
    if not paths:
        raise ConfigError("nothing to compare; give config files or run directories")
    found: dict[str, Any] = {}
    for path in paths:
        name = path.name if path.is_dir() else path.stem
        if name in found:
            raise ConfigError(f"two systems are called {name}; rename a config file or a run")
        found[name] = load_run(path) if path.is_dir() else load_config_file(path)
    return found


def _check_same(first: Any, config: Any, name: str) -> None:
    """Reject systems that are not measured alike, before anything is trained."""
    for part in ("data", "eval.ks", "decode.filter_seen"):
        one, other = first, config
        for word in part.split("."):
            one, other = getattr(one, word, None), getattr(other, word, None)
        if one != other:
            raise ConfigError(
                f"{name} has other settings of {part} than the first system ({other!r}, not "
                f"{one!r}), so the two cannot stand in one table; change one"
            )
    shares = known_share(first), known_share(config)
    if shares[0] != shares[1]:
        raise ConfigError(
            f"{name} knows the histories of a share {shares[1]:g} of the users and the first "
            f"system of {shares[0]:g}, so the two cannot stand in one table; change share"
        )
