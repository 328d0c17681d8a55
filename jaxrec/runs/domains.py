"""Data sets side by side, for models that learn in some and are used in another.

Sources are one domain: their catalogues follow one another, and their users' histories mix in every
batch. Of the target only some users may be known, as where little has been seen of it yet.

Shapes: `I` items, `E` width of text vectors.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrec.core import DataError
from jaxrec.data import DataConfig, Dataset, load_dataset
from jaxrec.eval import average, evaluate
from jaxrec.items import text as item_text
from jaxrec.runs.protocol import TIES, ranking_batches


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """Items under one numbering, and the histories that are known.

    Attributes:
      parts: the data sets, whose items follow one another.
      users: of each part those that are known.
      vectors: `[I, E]` of the items' texts.
    """

    parts: Sequence[Dataset]
    users: Sequence[np.ndarray]
    vectors: np.ndarray

    @property
    def num_items(self) -> int:
        """I."""
        return sum(part.num_items for part in self.parts)

    @functools.cached_property
    def histories(self) -> list[np.ndarray]:
        """Known training histories."""
        first = np.cumsum([0, *(part.num_items for part in self.parts)])
        return [
            part.split.train.sequences()[user] + start
            for part, start, users in zip(self.parts, first, self.users, strict=False)
            for user in users
        ]

    @property
    def met(self) -> np.ndarray:
        """Items of known training histories, in order."""
        return np.unique(np.concatenate(self.histories))

    def validate(
        self,
        score: Callable[[Mapping[str, Any]], jax.Array],
        filter_seen: bool,
        ks: tuple[int, ...],
    ) -> dict[str, float]:
        """Metrics of the validation items of known users, each among the items of its part.

        Args:
          score: of "history" `[B, H]` in the domain's numbers to `[B, I]`.
          filter_seen: leave out what users have seen.
          ks: cut-offs.
        """
        first, found = 0, []
        for part, users in zip(self.parts, self.users, strict=True):
            start, end = first, first + part.num_items

            def ranked(batch: Mapping[str, Any], start: int = start, end: int = end) -> jax.Array:
                history = np.where(batch["history"] >= 0, batch["history"] + start, -1)
                return score({"history": history})[:, start:end]

            rows = ranking_batches(part, "valid", filter_seen, users=users)
            found.append(evaluate(ranked, rows, ks, TIES))
            first = end
        return average({name: np.concatenate([f[name] for f in found]) for name in found[0]})


def load_domains(
    target: DataConfig,
    sources: Sequence[str],
    share: float,
    seed: int,
    text_fields: Sequence[str],
    text_encoder: str,
    vectors: np.ndarray | None = None,
) -> tuple[Domain | None, Domain]:
    """Read the sources, None where there are none, and the target, with vectors of their texts.

    Args:
      target: data set.
      sources: names of data sets that are filtered and split like the target.
      share: of the target's users that are known; see `known_users`.
      seed: of the draw.
      text_fields: item fields that make the vectors; those that the data lack are left out.
      text_encoder: see `item_text.encoder_of`.
      vectors: `[I, E]` of all items' texts, those of the sources first, which a run has kept; None
        to encode the texts.

    Raises:
      DataError: not found, or malformed; or vectors of other items.
      ConfigError: a text encoder that is none.
    """
    encoder = item_text.encoder_of(text_encoder, "text_encoder") if vectors is None else None
    configs = [
        dataclasses.replace(target, name=name, from_file="", item_table="") for name in sources
    ]
    parts = [load_dataset(config) for config in (*configs, target)]
    texts: list[str] = []
    for part in parts:
        items = part.interactions.items
        texts += items.text(*(name for name in text_fields if name in items.fields))
    if vectors is None:
        # One space for all: TF-IDF has to see all texts at once.
        vectors = item_text.encode(texts, encoder, dim=128)
    if len(vectors) != len(texts):
        raise DataError(
            f"{len(vectors):,} text vectors were kept for {len(texts):,} items of "
            f"{', '.join([*sources, target.name])}; restore the data, or give another --run-dir"
        )
    *others, goal = parts
    cut = len(texts) - goal.num_items
    known = known_users(goal.num_users, share, seed)
    second = Domain([goal], [known], vectors[cut:])
    if not others:
        return None, second
    return Domain(others, [np.arange(other.num_users) for other in others], vectors[:cut]), second


def known_users(users: int, share: float, seed: int) -> np.ndarray:
    """A share of the users, at least one, drawn by the seed, in order."""
    count = max(1, round(share * users))
    return np.sort(np.random.default_rng([seed, 5]).choice(users, count, replace=False))
