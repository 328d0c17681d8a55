"""Settings that several systems read, in classes small enough that no system ignores a field.

A system's config has `decode: RankConfig` (or a subclass) and `eval: BaselinesConfig` (or a
subclass), so users set `--decode.filter-seen` and `--eval.ks` in the same way for every system.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.core import ConfigError, nearest
from jaxrec.eval import Repeated, check_repeated, removed_items

# The validation metric that ranks checkpoints; higher is better.
METRIC = "ndcg@10"
# Baselines that count interactions and have no settings.
COUNTING = ("popularity", "item_knn", "markov", "cooccurrence", "als")
# Baselines that read the items' texts in place of a learned table (GRU-BERT and DROS-BERT).
# `ids.text_fields` and `ids.text_encoder` say which texts, and how they are encoded.
TEXTUAL = ("gru4rec_text", "dros_text")
# Baselines that are trained. Each name is also the name of its settings in a generative config.
TRAINED = ("sasrec", "gru4rec", "caser", "bert4rec", "dros", "bpr", "neumf", *TEXTUAL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankConfig:
    """Which items a ranking leaves out.

    Attributes:
      filter_seen: never recommend what is in the user's history.
      repeated_target: how a measurement with `filter_seen` treats users who come back to an item,
        so that their target stands in their history. "ranked": the target takes part in the
        ranking, like the items that the user has not met (RecBole's rule). "missed": the target is
        removed like all seen items, so that these users count as misses. The rule is the same for
        generated lists, scores and baselines, in validation and test.

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(RankConfig):
    """How a beam search finds items.

    Attributes:
      beams: K, the beam width and the length of the longest list.
      batch_size: users per call.

    Example:
      >>> SearchConfig(beams=20).filter_seen
      True
    """

    beams: int = 50
    batch_size: int = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselinesConfig:
    """How a ranking is measured, and which baselines stand beside it.

    Attributes:
      ks: cut-offs of HR, NDCG and MRR. They must include 10, because NDCG@10 selects checkpoints.
      baselines: names from `COUNTING` and `TRAINED`; some systems accept only `COUNTING`.
      resamples: number of bootstrap resamples of the users.

    Raises:
      ConfigError: an unknown baseline, cut-offs without 10, or no resamples.

    Example:
      >>> BaselinesConfig(baselines=("popularity",)).ks
      (5, 10)
    """

    ks: tuple[int, ...] = (5, 10)
    baselines: tuple[str, ...] = ("popularity", "item_knn", "markov", "cooccurrence")
    resamples: int = 2000

    def __post_init__(self) -> None:
        known = COUNTING + TRAINED
        for name in self.baselines:
            if name not in known:
                raise ConfigError(
                    f"no baseline {name!r} in eval.baselines{nearest(name, known)}; "
                    f"known: {', '.join(known)}"
                )
        if 10 not in self.ks or min(self.ks) < 1:
            raise ConfigError(f"eval.ks must be positive and include 10, got {self.ks}")
        check_least(self, resamples=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampledEvalConfig(BaselinesConfig):
    """A `BaselinesConfig` of a system whose validations may use a sample of the users.

    Attributes:
      valid_users: users of each validation during training, sampled once; 0 for all.

    Example:
      >>> SampledEvalConfig(valid_users=500).resamples
      2000
    """

    valid_users: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, valid_users=0)


def check_least(config: object, **least: int) -> None:
    """Reject evaluation settings below their smallest value.

    Args:
      config: has the settings as attributes; messages call it "eval".
      **least: smallest value by setting.

    Raises:
      ConfigError: naming the setting and its value.
    """
    for name, low in least.items():
        if getattr(config, name) < low:
            raise ConfigError(f"eval.{name} must be at least {low}, got {getattr(config, name)}")


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
