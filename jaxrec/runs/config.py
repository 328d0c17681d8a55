"""A whole run as one frozen value, which `configs/*.py` return and the command line overrides."""

import dataclasses
from typing import Literal

from jaxrec.core import ConfigError
from jaxrec.decode import Draws, ListStrategy

# Of the validation, by which checkpoints are ranked; higher is better.
METRIC = "ndcg@10"
COUNTING = ("popularity", "item_knn", "markov", "cooccurrence", "als")
# Each is also the name of its settings in `Config`.
# These read the items' texts in place of a learned table (GRU-BERT and DROS-BERT): which texts, and
# encoded by what, say `ids.text_fields` and `ids.text_encoder`.
TEXTUAL = ("gru4rec_text", "dros_text")
TRAINED = ("sasrec", "gru4rec", "caser", "bert4rec", "dros", "bpr", "neumf", *TEXTUAL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How items are generated.

    Attributes:
      strategy: "beam", the best items by an exact search; "sample", items that were drawn, as few
        as there are; "next_k", items one after the other, each appended to the history.
      beams: K, longest list, and the beam width.
      batch_size: users a call.
      normalize: log-probabilities over all codes of a level or over the legal ones.
      filter_seen: never recommend what is in the user's history.
      draws: of "sample".
      next_beams: of "next_k", width of the search for each item.
    """

    strategy: ListStrategy = "beam"
    beams: int = 50
    batch_size: int = 128
    normalize: Literal["codes", "legal"] = "codes"
    filter_seen: bool = True
    draws: Draws = Draws()
    next_beams: int = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """How systems are compared.

    Attributes:
      ks: cut-offs of HR, NDCG and MRR; 10 must be among them, as NDCG@10 selects checkpoints.
      baselines: what stands beside the model: of `COUNTING` and `TRAINED`.
      valid_users: users of a validation during training, drawn once; 0 for all.
      resamples: of the bootstrap over users.
      samples: users whose histories and recommendations the report shows.
      text_encoders: also measure every text encoder at hand, whether the IDs use it or not; those
        that they do not use encode all item texts for it.
    """

    ks: tuple[int, ...] = (5, 10)
    baselines: tuple[str, ...] = ("popularity", "item_knn", "markov", "cooccurrence", "sasrec")
    valid_users: int = 0
    resamples: int = 2000
    samples: int = 5
    text_encoders: bool = True

    def __post_init__(self) -> None:
        """Reject unknown baselines and missing cut-offs."""
        for name in self.baselines:
            if name not in COUNTING + TRAINED:
                raise ConfigError(
                    f"no baseline {name!r} in eval.baselines; known: {COUNTING + TRAINED}"
                )
        if 10 not in self.ks or min(self.ks) < 1:
            raise ConfigError(f"eval.ks must be positive and hold 10, got {self.ks}")
        for name, low in {"valid_users": 0, "resamples": 1, "samples": 0}.items():
            if getattr(self, name) < low:
                raise ConfigError(f"eval.{name} must be at least {low}, got {getattr(self, name)}")
