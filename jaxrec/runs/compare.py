"""Several systems on one data set with several seeds, in one table (`jaxrec compare`).

Accuracy with intervals over users and seeds, paired tests of every system against one with Holm's
correction, what the lists are like apart from their hits, and accuracy where users or items are
cold. Training is resumed and measurements are kept, so a comparison that was cut short goes on.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest, to_json
from jaxrec.data import SEPARATOR, Dataset
from jaxrec.eval import (
    Catalogue,
    crossed_interval,
    crossed_test,
    holm,
    list_quality,
    thirds,
)
from jaxrec.items import IdConfig
from jaxrec.runs import baselines
from jaxrec.runs.config import COUNTING, METRIC, TEXTUAL, TRAINED
from jaxrec.runs.directory import TEST_FILE, check_run
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import known_share, protocol_of
from jaxrec.runs.system import Options, system_of
from jaxrec.train import TrainConfig

# Fields of an item that hold a list of names, by which lists are called diverse; the first there.
_LABELS = ("genres", "categories")


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """A system's measurements, one a seed, on the same users."""

    name: str
    seeds: Sequence[Measured]

    def values(self, metric: str) -> np.ndarray:
        """`[S, U]`."""
        return np.stack([measured.metrics[metric] for measured in self.seeds])


def with_seed(config: Any, seed: int) -> Any:
    """The config with this seed for all stages of its training and, if it has any, its IDs."""
    changed = {
        field.name: dataclasses.replace(value, seed=seed)
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), TrainConfig | IdConfig)
    }
    return dataclasses.replace(config, **changed)


def check_config(name: str, config: Any) -> None:
    """Reject a config that gives no lists to compare.

    Raises:
      ConfigError: a system, or tasks, that recommend no next items.
    """
    system = system_of(config)
    if not hasattr(system, "rank") or not getattr(config, "ranks", True):
        raise ConfigError(
            f"{name} is a {system.CONFIG.__name__} that ranks no next items, so it cannot be "
            "compared with systems that do; see jaxrec eval for its own table"
        )


def measure_config(config: Any, dataset: Dataset, directory: Path) -> Measured:
    """Train and measure a config that `check_config` takes, or read what that gave before.

    Raises:
      ConfigError: settings that contradict an earlier run.
    """
    system = system_of(config)
    facts = protocol_of(config, dataset)
    path = directory / TEST_FILE
    if not path.exists():
        system.train(config, directory, Options())
        system.rank(config, directory).save(path, facts)
    else:
        check_run(config, dataset, directory)
    return load(path, facts)


def check_baseline(name: str, config: Any) -> None:
    """Reject a baseline that there is not, whose settings the config has not, or that knows more.

    Raises:
      ConfigError: naming the nearest one.
    """
    known = COUNTING + TRAINED
    if name not in known:
        raise ConfigError(f"no baseline {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    if name in TRAINED and not hasattr(config, name):
        raise ConfigError(
            f"the settings of {name} are read of the first config, and a "
            f"{type(config).__name__} has none; put a generative config first"
        )
    share = known_share(config)
    if share < 1:
        raise ConfigError(
            f"{name} would know all users, and the first config a share of them (share {share}); "
            "set share to 1, or see jaxrec eval, whose baselines know no more users"
        )


def measure_baseline(
    name: str, config: Any, dataset: Dataset, directory: Path, seed: int
) -> Measured:
    """The same for a baseline with its settings in `config`; counts need no seed."""
    facts = protocol_of(config, dataset)
    if name in TRAINED:
        settings = getattr(config, name)
        settings = dataclasses.replace(
            settings, train=dataclasses.replace(settings.train, seed=seed)
        )
        config = dataclasses.replace(config, **{name: settings})
        facts |= {"settings": to_json(dataclasses.asdict(settings))}
    if name in TEXTUAL:
        facts |= {"texts": [config.ids.text_encoder, *config.ids.text_fields]}
    path = directory / f"{name}.npz"
    if not path.exists():
        baselines.measure_baseline(name, config, dataset, directory).save(path, facts)
    return load(path, facts)


def load(path: Path, facts: Mapping[str, object]) -> Measured:
    """Read a measurement.

    Raises:
      DataError: it was made on other data or under another protocol.
    """
    measured, found = Measured.load(path)
    differing = [name for name in {**facts, **found} if found.get(name) != facts.get(name)]
    if set(differing) - {"source"}:
        raise DataError(
            f"{path} was measured otherwise: its {', '.join(differing)} differ; measure it again "
            "(jaxrec eval), or compare in another --run-dir"
        )
    return measured


def table(systems: Sequence[Compared], dataset: Dataset, reference: str) -> dict[str, Any]:
    """Everything that is printed: JSON-able.

    Args:
      systems: what is compared, in the order of the table.
      dataset: on which.
      reference: name of the system that all others are tested against.

    Returns:
      "rows" by name: "metrics" and "intervals", "quality", "slices", "seeds", "parameters" and
      seconds, means over seeds; "comparisons": tests of `METRIC`, paired over users, over seeds.
    """
    histories = dataset.split.history("test")
    catalogue = catalogue_of(dataset)
    groups = slices(dataset)
    rows = {}
    for system in systems:
        metrics = {name: system.values(name) for name in system.seeds[0].metrics}
        intervals = {name: crossed_interval(values) for name, values in metrics.items()}
        quality = [list_quality(m.items[:, :10], catalogue, histories) for m in system.seeds]
        each = metrics[METRIC].mean(axis=0)
        rows[system.name] = {
            "metrics": {name: found.mean for name, found in intervals.items()},
            "intervals": {name: [found.low, found.high] for name, found in intervals.items()},
            "by_seed": {name: values.mean(axis=1).tolist() for name, values in metrics.items()},
            "quality": {name: float(np.mean([q[name] for q in quality])) for name in quality[0]},
            "slices": {name: float(each[mask].mean()) for name, mask in groups.items()},
            "seeds": len(system.seeds),
            "parameters": round(_mean(system, "parameters")),
            "fit_seconds": _mean(system, "fit_seconds"),
            "test_seconds": _mean(system, "test_seconds"),
        }
    return {"rows": rows, "comparisons": _tests(systems, reference), "reference": reference}


def _mean(system: Compared, name: str) -> float:
    return float(np.mean([getattr(measured, name) for measured in system.seeds]))


def _tests(systems: Sequence[Compared], reference: str) -> list[dict[str, Any]]:
    values = {system.name: system.values(METRIC) for system in systems}
    others = [name for name in values if name != reference]
    tests = [crossed_test(values[name], values[reference]) for name in others]
    return [
        {
            "system": name,
            "difference": test.difference,
            "interval": [test.low, test.high],
            "p": test.p,
            "p_holm": float(p),
        }
        for name, test, p in zip(others, tests, holm([test.p for test in tests]), strict=True)
    ]


def catalogue_of(dataset: Dataset) -> Catalogue:
    """Training counts, and names such as genres as 0 and 1 where the items have them."""
    counts = np.bincount(dataset.split.train.item, minlength=dataset.num_items)
    fields = dataset.interactions.items.fields
    field = next((name for name in _LABELS if name in fields), None)
    if field is None:
        return Catalogue(counts)
    names = [set(filter(None, text.split(SEPARATOR))) for text in fields[field].tolist()]
    column = {name: at for at, name in enumerate(sorted(set().union(*names)))}
    if not column:
        return Catalogue(counts)
    features = np.zeros((len(names), len(column)), np.float32)
    for item, mine in enumerate(names):
        features[item, [column[name] for name in mine]] = 1
    return Catalogue(counts, features)


def slices(dataset: Dataset) -> dict[str, np.ndarray]:
    """Users by the length of their history, and by how often their target occurs in training."""
    counts = np.bincount(dataset.split.train.item, minlength=dataset.num_items)
    length = np.array([len(history) for history in dataset.split.history("test")])
    target = counts[dataset.split.target("test")]
    found = {f"history {name}": mask for name, mask in thirds(length)}
    return found | {f"target met {name} times": mask for name, mask in thirds(target)}
