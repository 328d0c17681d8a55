"""Measure a trained run of any system, beside baselines that are chosen when it is measured."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError, name_list, name_text
from jaxrec.data import load_dataset
from jaxrec.runs.baselines import measure_baseline
from jaxrec.runs.directory import TEST_FILE
from jaxrec.runs.protocol import heading, known_share, protocol_of
from jaxrec.runs.system import offered, system_of
from jaxrec.runs.table import MODEL, baseline_table


def evaluate_run(
    config: Any, directory: Path, baselines: Sequence[str] | None = None
) -> dict[str, Any]:
    """Measure a trained run as its system does, or by its ranking if the system offers only that.

    Args:
      config: the config of the run.
      directory: of the run.
      baselines: names of the baselines beside it; None for those of the config.

    Returns:
      What `System.evaluate` returns, and the names of the baselines as "baselines".

    Raises:
      ConfigError: a system that can neither be evaluated nor ranks, or a baseline that cannot stand
        beside this run.
    """
    if baselines is None:
        names = configured_baselines(config)
    else:
        given = name_list(baselines, "baselines")
        names = tuple(name_text(name, "baselines") for name in given)
    check_baselines(config, names)
    if baselines and not getattr(config, "ranks", True):
        raise ConfigError(
            f"this run ranks no catalogue, so no baselines can stand beside it, got "
            f"{', '.join(names)}; leave them out"
        )
    if _only_ranks(config):
        report = _evaluate_ranking(config, directory, names)
    else:
        report = offered(config, "evaluate")(config, directory, baselines=names)
    return dict(report) | {"baselines": list(names)}


def can_evaluate(config: Any) -> bool:
    """Whether `evaluate_run` takes the runs of a config's system."""
    return hasattr(system_of(config), "evaluate") or _only_ranks(config)


def configured_baselines(config: Any) -> tuple[str, ...]:
    """The baselines that a config names as `eval.baselines`; none if it has no such setting.

    Example:
      >>> from jaxrec.systems.vqrec import VqRecConfig
      >>> configured_baselines(VqRecConfig())
      ('popularity', 'item_knn', 'markov')
    """
    return getattr(getattr(config, "eval", None), "baselines", ())


def check_baselines(config: Any, names: Sequence[str]) -> None:
    """Reject baselines that cannot stand beside a run; nothing is loaded.

    Raises:
      ConfigError: as the config class does, of `eval.baselines`; or a config without that setting.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> check_baselines(SasrecRunConfig(), ["markov"])
    """
    if not names:
        return
    if not hasattr(getattr(config, "eval", None), "baselines"):
        raise ConfigError(
            f"a {type(config).__name__} has no baselines to choose from (no setting "
            f"eval.baselines), got {', '.join(names)}; leave them out"
        )
    dataclasses.replace(config, eval=dataclasses.replace(config.eval, baselines=tuple(names)))


def _only_ranks(config: Any) -> bool:
    system = system_of(config)
    return not hasattr(system, "evaluate") and hasattr(system, "rank")


def _evaluate_ranking(config: Any, directory: Path, names: Sequence[str]) -> dict[str, Any]:
    """Evaluate a system that offers `rank` alone; also write `test.npz`."""
    if names and known_share(config) < 1:
        raise ConfigError(
            f"{names[0]} would be fitted on all users, and the run only on a share of them (share "
            f"{known_share(config)}); leave baselines out"
        )
    measured = offered(config, "rank")(config, directory)
    dataset = load_dataset(config.data)
    protocol = protocol_of(config, dataset)
    measured.save(directory / TEST_FILE, protocol)
    rows = {MODEL: measured}
    for name in names:
        rows[name] = measure_baseline(name, config, dataset, directory)
    return baseline_table(rows, config) | {
        "protocol": protocol,
        "heading": heading(protocol),
        "lines": [],
    }
