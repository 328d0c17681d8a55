"""Compare several systems on one data set with several seeds (`jaxrec compare`).

The table has accuracy with intervals over users and seeds, paired tests of every system against one
with Holm's correction, properties of the lists beyond accuracy, and accuracy on cold users and
items. Trainings resume and measurements are saved, so an interrupted comparison can be continued.
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
from jaxrec.runs.config import COUNTING, METRIC, TEXTUAL, TRAINED, with_filter_seen
from jaxrec.runs.directory import OTHER_FILE, TEST_FILE, check_run, read_training
from jaxrec.runs.measured import Measured
from jaxrec.runs.protocol import comparable, known_share, protocol_of
from jaxrec.runs.system import Options, system_of
from jaxrec.train import TrainConfig, memory_explained

# Item fields that hold a list of names; the first that exists measures the diversity of lists.
_LABELS = ("genres", "categories")


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """The measurements of one system on the same users, one per seed.

    Attributes:
      name: what the table calls the system.
      seeds: the measurements.
      others: the same with seen items removed if `seeds` has them kept, and kept if removed; ()
        for none.

    Example:
      >>> one = Measured(
      ...     metrics={"hr@10": np.array([1.0, 0.0])},
      ...     parameters=0,
      ...     fit_seconds=0.0,
      ...     test_seconds=0.0,
      ...     items=np.zeros((2, 0), np.int32),
      ... )
      >>> Compared("markov", [one, one]).values("hr@10").shape
      (2, 2)
    """

    name: str
    seeds: Sequence[Measured]
    others: Sequence[Measured] = ()

    def values(self, metric: str) -> np.ndarray:
        """Return a metric of each seed and user, `[S, U]`."""
        return np.stack([measured.metrics[metric] for measured in self.seeds])


def with_seed(config: Any, seed: int) -> Any:
    """Return the config with another seed for all stages of its training and for its IDs.

    A config of a system that trains nothing has a setting `seed` of its own, which is replaced too.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> with_seed(SasrecRunConfig(), 7).train.seed
      7
    """
    changed: dict[str, Any] = {
        field.name: dataclasses.replace(value, seed=seed)
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), TrainConfig | IdConfig)
    }
    if hasattr(config, "seed"):
        changed["seed"] = seed
    return dataclasses.replace(config, **changed)


def check_config(name: str, config: Any) -> None:
    """Reject a config whose runs have no ranked lists to compare.

    Raises:
      ConfigError: a system, or tasks of it, that do not rank the next item.
    """
    system = system_of(config)
    if not hasattr(system, "rank") or not getattr(config, "ranks", True):
        raise ConfigError(
            f"{name} is a {system.CONFIG.__name__} that ranks no next items, so it cannot be "
            "compared with systems that do; see jaxrec eval for its own table"
        )


def measure_config(config: Any, dataset: Dataset, directory: Path) -> Measured:
    """Train and measure a config, or read its measurement if there is one.

    Args:
      config: a config that `check_config` accepts.
      dataset: its data.
      directory: of the run.

    Raises:
      ConfigError: the directory holds a run with other settings.
    """
    system = system_of(config)
    facts = protocol_of(config, dataset)
    path = directory / TEST_FILE
    if not path.exists():
        with memory_explained(config):
            system.train(config, directory, Options())
        system.rank(config, directory).save(path, facts)
    else:
        check_run(config, dataset, directory)
    return load(path, facts)


def measure_other(config: Any, dataset: Dataset, directory: Path) -> Measured:
    """Rank by a trained run with seen items removed if its config keeps them, and vice versa.

    Args:
      config: the config of the run.
      dataset: its data.
      directory: of the run.

    Raises:
      DataError: not trained yet, or measured on other data or under another protocol.
    """
    removes = config.decode.filter_seen
    facts = protocol_of(with_filter_seen(config, not removes), dataset)
    path = directory / OTHER_FILE
    if not path.exists():
        system_of(config).rank(config, directory, filter_seen=not removes).save(path, facts)
    return load(path, facts)


def check_trained(directory: Path) -> None:
    """Reject a run that can be neither read nor ranked, because it is not trained to its end.

    Raises:
      DataError: see `read_training`.
    """
    if not (directory / TEST_FILE).exists():
        read_training(directory)


def measure_run(config: Any, dataset: Dataset, directory: Path) -> Measured:
    """Rank the test items by a trained run, or read its measurement if there is one.

    Args:
      config: the config of the run.
      dataset: its data.
      directory: of the run.

    Raises:
      DataError: not trained yet, or measured on other data or under another protocol.
    """
    facts, path = protocol_of(config, dataset), directory / TEST_FILE
    if not path.exists():
        system_of(config).rank(config, directory).save(path, facts)
    return load(path, facts)


def check_baseline(name: str, config: Any) -> None:
    """Reject a baseline that cannot stand beside the systems of a comparison.

    Raises:
      ConfigError: an unknown baseline, a trained baseline without settings in the config, or one
        that would be trained on more users than the systems are.
    """
    known = COUNTING + TRAINED
    if name not in known:
        raise ConfigError(f"no baseline {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    if name in TRAINED and not hasattr(config, name):
        raise ConfigError(
            f"the settings of {name} come from the first config, and a "
            f"{type(config).__name__} does not have them; put a generative config first"
        )
    share = known_share(config)
    if share < 1:
        raise ConfigError(
            f"{name} would be trained on all users, and the first config only on a share of them "
            f"(share {share}); set share to 1, or use jaxrec eval, whose baselines know the same "
            "users"
        )


def measure_baseline(
    name: str, config: Any, dataset: Dataset, directory: Path, seed: int, *, other: bool = False
) -> Measured:
    """Fit and measure a baseline, or read its measurement if there is one.

    Args:
      name: name of the baseline.
      config: the config that has its settings.
      dataset: the data.
      directory: where the baseline and its measurement are kept.
      seed: seed of its training; a counting baseline needs none.
      other: measure it with seen items removed if the config keeps them, and vice versa.

    Raises:
      DataError: a measurement that was made on other data or under another protocol.
    """
    asked = with_filter_seen(config, config.decode.filter_seen != other)
    facts = protocol_of(asked, dataset)
    if name in TRAINED:
        settings = getattr(config, name)
        settings = dataclasses.replace(
            settings, train=dataclasses.replace(settings.train, seed=seed)
        )
        asked = dataclasses.replace(asked, **{name: settings})
        facts |= {"settings": to_json(dataclasses.asdict(settings))}
    if name in TEXTUAL:
        facts |= {"texts": [config.ids.text_encoder, *config.ids.text_fields]}
    path = directory / (f"{name}-other.npz" if other else f"{name}.npz")
    if not path.exists():
        baselines.measure_baseline(name, asked, dataset, directory).save(path, facts)
    return load(path, facts)


def load(path: Path, facts: Mapping[str, object]) -> Measured:
    """Read a measurement.

    Args:
      path: the file that `Measured.save` wrote.
      facts: the protocol that it must have; see `protocol_of`.

    Raises:
      DataError: it was made on other data or under another protocol.
    """
    measured, saved = Measured.load(path)
    facts, saved = comparable(facts), comparable(saved)
    differing = [name for name in {**facts, **saved} if saved.get(name) != facts.get(name)]
    if set(differing) - {"source"}:
        raise DataError(
            f"{path} was measured under another protocol: its {', '.join(differing)} differ; "
            "measure it again (jaxrec eval), or compare in another --run-dir"
        )
    return measured


def table(systems: Sequence[Compared], dataset: Dataset, reference: str) -> dict[str, Any]:
    """Compute everything that a comparison prints.

    Args:
      systems: what is compared, in the order of the table.
      dataset: the data.
      reference: name of the system that all others are tested against.

    Returns:
      JSON-able: "rows" by name, with "metrics", "intervals", "other" and "other_intervals" (seen
      items removed if "metrics" has them kept, and vice versa), "quality", "slices", "seeds",
      "parameters" and seconds, which are means over seeds; and "comparisons", tests of `METRIC`
      that are paired over users and cover all seeds.
    """
    histories = dataset.split.history("test")
    catalogue = catalogue_of(dataset)
    groups = slices(dataset)
    rows = {}
    for system in systems:
        metrics = {name: system.values(name) for name in system.seeds[0].metrics}
        intervals = {name: crossed_interval(values) for name, values in metrics.items()}
        quality = [list_quality(m.items[:, :10], catalogue, histories) for m in system.seeds]
        per_user = metrics[METRIC].mean(axis=0)
        others = {
            name: crossed_interval(np.stack([m.metrics[name] for m in system.others]))
            for name in (metrics if system.others else ())
        }
        rows[system.name] = {
            "metrics": {name: interval.mean for name, interval in intervals.items()},
            "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
            "other": {name: interval.mean for name, interval in others.items()},
            "other_intervals": {name: [i.low, i.high] for name, i in others.items()},
            "by_seed": {name: values.mean(axis=1).tolist() for name, values in metrics.items()},
            "quality": {name: float(np.mean([q[name] for q in quality])) for name in quality[0]},
            "slices": {name: float(per_user[mask].mean()) for name, mask in groups.items()},
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
    """Return the training counts of items, and their genres or categories as 0 and 1 if any."""
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
    """Return masks of users by the length of their history and by the frequency of their target."""
    counts = np.bincount(dataset.split.train.item, minlength=dataset.num_items)
    length = np.array([len(history) for history in dataset.split.history("test")])
    target = counts[dataset.split.target("test")]
    groups = {f"history {name}": mask for name, mask in thirds(length)}
    return groups | {f"target met {name} times": mask for name, mask in thirds(target)}
