"""Settings that several systems read, in classes small enough that no system ignores a field.

A system's config has `decode: RankConfig` (or a subclass) and `eval: BaselinesConfig` (or a
subclass), so users set `--decode.filter-seen` and `--eval.ks` in the same way for every system.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from jaxrec.core import ConfigError, Count, Whole, check_ranges, nearest

# The validation metric that ranks checkpoints; higher is better.
METRIC = "ndcg@10"
# Baselines that count interactions and have no settings.
COUNTING = ("popularity", "item_knn", "markov", "cooccurrence", "als")
# Baselines that read the items' texts in place of a learned table (GRU-BERT and DROS-BERT).
# `ids.text_fields` and `ids.text_encoder` say which texts, and how they are encoded.
TEXTUAL = ("gru4rec_text", "dros_text")
# Baselines that are trained. Each name is also the name of its settings in a generative config.
TRAINED = ("sasrec", "gru4rec", "caser", "bert4rec", "dros", "bpr", "neumf", *TEXTUAL)


# Most users of a validation by default. NDCG@10 of more users is little more precise: a sample of
# 5,000 has a standard error of about .003, and differences between checkpoints one that is less.
_VALIDATED = 5000


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankConfig:
    """Which items a ranking leaves out.

    Attributes:
      filter_seen: never recommend what is in the user's history.

    Example:
      >>> RankConfig().filter_seen
      True
    """

    filter_seen: bool = True


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
      ConfigError: an unknown baseline, cut-offs without 10, or a number out of range.

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
