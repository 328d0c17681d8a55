"""A sweep: named variants of a run, trained and measured one after the other into one table.

A config file's `get_sweep()` returns the variants as a dictionary, or as a `Sweep` that also says
how they are compared. Each variant is trained once per seed in a directory of its own. A variant
that is complete is read, and one that was cut short resumes, so the same command continues a sweep.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrec.core import ConfigError, check_types, flatten, nearest
from jaxrec.runs.compare import with_seed
from jaxrec.runs.config import METRIC
from jaxrec.runs.evaluation import can_evaluate
from jaxrec.runs.protocol import heading, known_share
from jaxrec.runs.sweep_rows import Row, measure_variant, same_protocol, train_start
from jaxrec.runs.sweep_table import sweep_report
from jaxrec.runs.system import system_of

# Settings that must be equal in one table, because they decide what is measured.
_MEASURED_ON = ("data", "eval.ks", "decode.filter_seen", "decode.repeated_target")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Named variants of a run, and how they are compared.

    Attributes:
      variants: the configs by the name of their row, in the order of the table.
      against: the row that all other variants are tested against; "" for the first.
      metrics: metrics of the paired tests. A test needs a value per user from both variants.
      pairs: further tests, each of a variant against another one than the reference.
      starts: configs of runs that the variants start from, by their directories, as the variants'
        settings (`tune.base`) name them. A start that is not trained yet is trained before the
        variants, once for each seed: a seed that is not the one in its config has a directory of
        its own, `DIRECTORY-SEED`, and the variants with that seed start from there. A start may
        itself begin with one that is listed before it.
      fixed_starts: train the starts once, with the seeds of their configs, for the variants of all
        seeds. Intervals then do not cover other trainings of the starts.
      all_rows: measure each variant as `jaxrec eval` does, with baselines and further tables, and
        add all of these rows. A row that is the same for every variant is added once.

    Example:
      >>> from jaxrec.systems.generative import Config
      >>> sweep = Sweep(variants={"long": Config(max_items=50), "short": Config(max_items=5)})
      >>> sweep.reference
      'long'
    """

    variants: Mapping[str, Any]
    against: str = ""
    metrics: tuple[str, ...] = (METRIC,)
    pairs: tuple[tuple[str, str], ...] = ()
    starts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fixed_starts: bool = False
    all_rows: bool = False

    @property
    def reference(self) -> str:
        """The row that all other variants are tested against."""
        return self.against or next(iter(self.variants))

    def only(self, names: Sequence[str]) -> "Sweep":
        """The sweep with some of its variants, in the order given.

        Raises:
          ConfigError: an unknown name; the message has the nearest one.
        """
        for name in names:
            if name not in self.variants:
                raise ConfigError(
                    f"no variant {name!r}{nearest(name, self.variants)}; variants: "
                    f"{', '.join(self.variants)}"
                )
        against = self.against if self.against in names else ""
        variants = {name: self.variants[name] for name in names}
        pairs = tuple(pair for pair in self.pairs if set(pair) <= set(names))
        return dataclasses.replace(self, variants=variants, against=against, pairs=pairs)


def make_sweep(value: Any) -> Sweep:
    """Check what a `get_sweep()` returned, before any work.

    Args:
      value: a `Sweep`, or a dictionary from names to configs.

    Raises:
      ConfigError: it is neither, a variant is no config of a system, names clash, or the variants
        are not measured on the same data by the same protocol.

    Example:
      >>> make_sweep({})
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: the sweep has no variants; return at least one config
    """
    if isinstance(value, Mapping):
        value = Sweep(variants=dict(value))
    if not isinstance(value, Sweep):
        raise ConfigError(
            f"get_sweep() must return a dictionary from names to configs, or a Sweep, "
            f"got {type(value).__name__}"
        )
    check_types(value, "Sweep.")
    if not value.variants:
        raise ConfigError("the sweep has no variants; return at least one config")
    places: dict[str, str] = {}
    for name, config in value.variants.items():
        _check_variant(name, config)
        place = folder(name)
        if place in places:
            raise ConfigError(
                f"variants {places[place]!r} and {name!r} would share the directory {place!r}; "
                "rename one"
            )
        places[place] = name
    for place, config in value.starts.items():
        if not hasattr(system_of(config), "train"):
            raise ConfigError(f"the sweep starts from {place}, whose system offers no train")
    if value.against and value.against not in value.variants:
        raise ConfigError(
            f"against is {value.against!r}, which is no variant"
            f"{nearest(value.against, value.variants)}; variants: {', '.join(value.variants)}"
        )
    for pair in value.pairs:
        for name in pair:
            if name not in value.variants:
                raise ConfigError(
                    f"the pair {pair} names {name!r}, which is no variant"
                    f"{nearest(name, value.variants)}; variants: {', '.join(value.variants)}"
                )
    first = value.variants[value.reference]
    for name, config in value.variants.items():
        check_alike(first, config, name)
    return value


def _check_variant(name: Any, config: Any) -> None:
    if not isinstance(name, str) or not folder(name):
        raise ConfigError(f"variant {name!r} needs a name with a letter or a digit")
    try:
        system = system_of(config)
        check_types(config)
    except ConfigError as error:
        raise ConfigError(f"variant {name!r}: {error}") from error
    if not hasattr(system, "train") or not can_evaluate(config):
        raise ConfigError(
            f"variant {name!r}: its system {config.system} must offer train, and evaluate or rank"
        )


def check_alike(first: Any, config: Any, name: str) -> None:
    """Reject two systems that are not measured alike, before anything is trained.

    Args:
      first: config of the first system of a table.
      config: config of another system.
      name: what messages call the other system.

    Raises:
      ConfigError: other data, cut-offs, treatment of seen items, or share of known users.
    """
    for setting in _MEASURED_ON:
        one, other = first, config
        for word in setting.split("."):
            one, other = getattr(one, word, None), getattr(other, word, None)
        if one != other:
            raise ConfigError(
                f"{name} has other settings of {setting} than the first system "
                f"({_difference(one, other)}), so the two cannot stand in one table; change one"
            )
    shares = known_share(first), known_share(config)
    if shares[0] != shares[1]:
        raise ConfigError(
            f"{name} knows the histories of a share {shares[1]:g} of the users and the first "
            f"system of {shares[0]:g}, so the two cannot stand in one table; change share"
        )


def _difference(one: Any, other: Any) -> str:
    if not dataclasses.is_dataclass(one) or type(one) is not type(other):
        return f"{other!r}, not {one!r}"
    pairs = zip(flatten(one), flatten(other), strict=True)
    return "; ".join(f"{name} {b!r}, not {a!r}" for (name, a), (_, b) in pairs if a != b)


def folder(name: str) -> str:
    """The name of a variant's directory: its letters and digits, with hyphens for the rest.

    Example:
      >>> folder("codes, from scratch")
      'codes-from-scratch'
    """
    return re.sub(r"[^\w.+]+", "-", name).strip("-.")


def run_sweep(
    sweep: Sweep, directory: Path, seeds: Sequence[int], *, quick: bool = False
) -> dict[str, Any]:
    """Train and measure every variant with every seed, or read what is complete.

    Seeds are the outer loop, so a sweep that is stopped early has something of every variant.

    Args:
      sweep: what `make_sweep` returned.
      directory: parent of the run directories `NAME-SEED`.
      seeds: seeds of the trainings, at least one.
      quick: the variants are quick ones; their run directories are marked.

    Returns:
      "rows" and "tests" of `sweep_table.sweep_report`: JSON-able.

    Raises:
      ConfigError: a directory of a variant or of a start holds a run with other settings.
      DataError: variants that were measured on different data.
    """
    rows: dict[str, list[dict[str, Row]]] = {name: [] for name in sweep.variants}
    protocol: Mapping[str, Any] | None = None
    for seed in seeds:
        bases: dict[str, str] = {}
        for base, config in sweep.starts.items():
            own = config if sweep.fixed_starts else with_seed(config, seed)
            seeded = _starting_from(bases, own)
            bases[base] = base if seeded == config else f"{base}-{seed}"
            train_start(Path(bases[base]), seeded, quick=quick)
        for name, config in sweep.variants.items():
            place = directory / f"{folder(name)}-{seed}"
            config = _starting_from(bases, with_seed(config, seed))
            measured, facts = measure_variant(config, place, all_rows=sweep.all_rows, quick=quick)
            if protocol is None:
                protocol = facts
                if "seen_items" in facts:
                    print(heading(facts))
            same_protocol(protocol, facts, name)
            rows[name].append(measured)
            # Compiled programs hold memory maps, of which a process has a limited number.
            jax.clear_caches()
            shown = "  ".join(f"{m} {v:.4f}" for m, v in measured[""].metrics.items())
            print(f"{name}, seed {seed}: {shown}", flush=True)
    return sweep_report(rows, sweep.reference, sweep.metrics, sweep.pairs)


def _starting_from(bases: Mapping[str, str], config: Any) -> Any:
    """Replace the directories of starts, wherever a setting names one, by those of a seed."""
    changed = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            value = _starting_from(bases, value)
        elif isinstance(value, str):
            value = bases.get(value, value)
        changed[field.name] = value
    return dataclasses.replace(config, **changed)
