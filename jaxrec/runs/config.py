"""Settings that several systems read, in classes small enough that no system ignores a field.

A system's config has `decode: RankConfig` (or a subclass) and `eval: BaselinesConfig` (or a
subclass), so users set `--decode.filter-seen` and `--eval.ks` in the same way for every system.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.core import ConfigError, Count, Whole, check_ranges, nearest
from jaxrec.eval import Repeated, check_repeated, removed_items

# The validation metric that ranks checkpoints; higher is better.
METRIC = "ndcg@10"
# Baselines that count interactions and have no settings.
COUNTING = ("popularity", "item_knn", "markov", "cooccurrence", "als")
# Baselines that read the items' texts in place of a learned table (GRU-BERT and DROS-BERT).
# `ids.text_fields` and `ids.text_encoder` say which texts, and how they are encoded.
TEXTUAL = ("gru4rec_text", "dros_text")
# Baselines that are trained. Each name is also the name of its settings in a generative config.
TRAINED = (
    *("sasrec", "hstu", "gru4rec", "caser", "bert4rec", "dros", "bpr", "neumf"),
    *TEXTUAL,
)


# Most users of a validation by default. NDCG@10 of more users is little more precise: a sample of
# 5,000 has a standard error of about .003, and differences between checkpoints one that is less.
_VALIDATED = 5000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankConfig:
    """Which items a ranking leaves out.

    Attributes:
      filter_seen: never recommend what is in the user's history.
      repeated_target: how a measurement with `filter_seen` treats users who come back to an item,
        so that their target is in their history. "ranked": the target is ranked among the items
        that the user has not seen (RecBole's rule). "missed": the target is removed like all seen
        items, so these users count as misses. The rule is the same for generated lists, scores and
        baselines, in validation and test.

    Raises:
      ConfigError: an unknown rule.

    Example:
      >>> RankConfig().filter_seen
      True
    """

    filter_seen: bool = True
    repeated_target: Repeated = "ranked"

    def __post_init__(self) -> None:
        check_repeated(self.repeated_target, "decode.repeated_target")

    def removed(
        self, histories: Sequence[np.ndarray], targets: np.ndarray
    ) -> list[np.ndarray] | None:
        """Return the items that a measurement leaves out: U arrays; None for none.

        Args:
          histories: U arrays of item numbers.
          targets: `[U]` items to find.

        Example:
          >>> RankConfig().removed([np.array([4, 2])], np.array([4]))
          [array([2])]
        """
        if not self.filter_seen:
            return None
        return removed_items(histories, targets, self.repeated_target)


def with_filter_seen(config: Any, filter_seen: bool | None) -> Any:
    """Return a config with another `decode.filter_seen`; None for its own.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> with_filter_seen(SasrecRunConfig(), False).decode.filter_seen
      False
    """
    if filter_seen is None:
        return config
    return dataclasses.replace(
        config, decode=dataclasses.replace(config.decode, filter_seen=filter_seen)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(RankConfig):
    """How a beam search finds items.

    Attributes:
      beams: K, the beam width and the length of the longest list.
      batch_size: users per call.

    Raises:
      ConfigError: a number is out of range.

    Example:
      >>> SearchConfig(beams=20).filter_seen
      True
    """

    beams: Count = 50
    batch_size: Count = 128

    def __post_init__(self) -> None:
        check_ranges(self, "--decode.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselinesConfig:
    """How a ranking is measured, and which baselines stand beside it.

    Attributes:
      ks: cut-offs of HR, NDCG and MRR. They must include 10, because NDCG@10 selects checkpoints.
      baselines: names from `COUNTING` and `TRAINED`; some systems accept only `COUNTING`.
      resamples: number of bootstrap resamples of the users.

    Raises:
      ConfigError: an unknown baseline, cut-offs without 10, something twice, or a number out of
        range.

    Example:
      >>> BaselinesConfig(baselines=("popularity",)).ks
      (5, 10)
    """

    ks: tuple[Count, ...] = (5, 10)
    baselines: tuple[str, ...] = ("popularity", "item_knn", "markov", "cooccurrence")
    resamples: Count = 2000

    def __post_init__(self) -> None:
        check_ranges(self, "--eval.")
        known = COUNTING + TRAINED
        for name in self.baselines:
            if name not in known:
                raise ConfigError(
                    f"no baseline {name!r} in eval.baselines{nearest(name, known)}; "
                    f"known: {', '.join(known)}"
                )
        for setting in ("ks", "baselines"):
            given = getattr(self, setting)
            if len(set(given)) < len(given):
                raise ConfigError(
                    f"--eval.{setting} has something twice, got {given}; leave one out"
                )
        if 10 not in self.ks:
            raise ConfigError(f"--eval.ks must include 10, got {self.ks}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampledEvalConfig(BaselinesConfig):
    """A `BaselinesConfig` of a system whose validations may use a sample of the users.

    Attributes:
      valid_users: users of each validation during training, sampled once; 0 for all, and "auto"
        for all up to 5,000.

    Example:
      >>> SampledEvalConfig(valid_users=500).resamples
      2000
      >>> SampledEvalConfig().validated(943), SampledEvalConfig().validated(22363)
      (943, 5000)
    """

    valid_users: Literal["auto"] | Whole = "auto"

    def validated(self, users: int) -> int:
        """Number of users of a validation, of all `users`."""
        wanted = _VALIDATED if self.valid_users == "auto" else self.valid_users or users
        return min(wanted, users)


def unread_of(kind: type) -> Mapping[str, str]:
    """The settings that the system of a config class does not read.

    Args:
      kind: the config class, which names them in its class variable `unread`, if there are any.

    Returns:
      What to do instead, by the dotted name of the setting.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> dict(unread_of(SasrecRunConfig))
      {'model.train': 'set train instead'}
    """
    return getattr(kind, "unread", {})


def check_unread(config: Any) -> None:
    """Reject values of settings that a config's system does not read.

    Args:
      config: its class has `unread`, from the dotted name of a setting to what to do instead.

    Raises:
      ConfigError: such a setting has another value than its default.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> check_unread(SasrecRunConfig())
    """
    for name, instead in unread_of(type(config)).items():
        part = config
        *path, last = name.split(".")
        for word in path:
            part = getattr(part, word)
        (default,) = (f.default for f in dataclasses.fields(part) if f.name == last)
        if getattr(part, last) != default:
            raise ConfigError(f"{name} is not read by {config.system.split('.')[-1]}; {instead}")


def without_unread(kind: type, settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Drop what a system does not read from stored settings, where it may have any value.

    Args:
      kind: the config class.
      settings: nested settings of a `config.json`.
      prefix: stands before the names.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> without_unread(SasrecRunConfig, {"model": {"width": 8, "train": {"lr": 0.1}}})
      {'model': {'width': 8}}
    """
    unread = unread_of(kind)
    return {
        name: without_unread(kind, value, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in settings.items()
        if prefix + name not in unread
    }


def check_counting(baselines: Sequence[str], system: str) -> None:
    """Reject baselines that need settings of their own, for a system whose config has none.

    Args:
      baselines: names from `eval.baselines`.
      system: what messages call the system.

    Raises:
      ConfigError: naming the first such baseline.

    Example:
      >>> check_counting(("popularity", "markov"), "SASRec")
    """
    for name in baselines:
        if name not in COUNTING:
            raise ConfigError(
                f"eval.baselines of {system} must be of {', '.join(COUNTING)}, got {name!r}; "
                "compare with trained baselines by jaxrec compare"
            )
