"""Several data sets side by side, for models that are trained in some and used in another.

All sources are one domain: their catalogues are concatenated, and the histories of their users mix
in every batch. The target may have only a share of known users, as in a cold start.

Shapes: `I` items, `E` width of text vectors.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrec.core import DataError
from jaxrec.data import DataConfig, Dataset, load_dataset, with_name
from jaxrec.eval import average
from jaxrec.items import text as item_text
from jaxrec.runs.config import RankConfig
from jaxrec.runs.protocol import rank_users


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Domain:
    """Items under one numbering, and the known histories.

    Attributes:
      parts: the data sets, whose items are concatenated.
      users: numbers of the known users of each part.
      vectors: `[I, E]` vectors of the items' texts.
      encoder: name of what encoded them; "" for vectors that a run has saved.
    """

    parts: Sequence[Dataset]
    users: Sequence[np.ndarray]
    vectors: np.ndarray
    encoder: str = ""

    @property
    def num_items(self) -> int:
        """I, over all parts."""
        return sum(part.num_items for part in self.parts)

    @functools.cached_property
    def histories(self) -> list[np.ndarray]:
        """Training histories of the known users, in the domain's item numbers."""
        first = np.cumsum([0, *(part.num_items for part in self.parts)])
        return [
            part.split.train.sequences()[user] + start
            for part, start, users in zip(self.parts, first, self.users, strict=False)
            for user in users
        ]

    @property
    def met(self) -> np.ndarray:
        """Numbers of the items in known training histories, in ascending order."""
        return np.unique(np.concatenate(self.histories))

    def validate(
        self,
        score: Callable[[Mapping[str, Any]], jax.Array],
        decode: RankConfig,
        ks: tuple[int, ...],
    ) -> dict[str, float]:
        """Rank the validation item of each known user among the items of its own part.

        Args:
          score: maps a batch with "history" `[B, H]`, in the domain's numbers, to `[B, I]`.
          decode: which items the ranking leaves out.
          ks: cut-offs.

        Returns:
          Means over users, by metric.
        """
        first, metrics = 0, []
        for part, users in zip(self.parts, self.users, strict=True):
            start, end = first, first + part.num_items

            def ranked(batch: Mapping[str, Any], start: int = start, end: int = end) -> jax.Array:
                history = np.where(batch["history"] >= 0, batch["history"] + start, -1)
                return score({"history": history})[:, start:end]

            metrics.append(rank_users(ranked, part, "valid", decode, ks, users))
            first = end
        return average(
            {name: np.concatenate([part[name] for part in metrics]) for name in metrics[0]}
        )


def load_domains(
    target: DataConfig,
    sources: Sequence[str],
    share: float,
    seed: int,
    text_fields: Sequence[str],
    text_encoder: str,
    vectors: np.ndarray | None = None,
) -> tuple[Domain | None, Domain]:
    """Read the source and target data sets, with vectors of their items' texts.

    Args:
      target: the target data set.
      sources: names of data sets that are filtered and split like the target.
      share: share of the target's users that are known; see `known_users`.
      seed: seed of the choice of known users.
      text_fields: item fields that make the vectors; fields that a data set lacks are left out.
      text_encoder: see `item_text.encoder_of`.
      vectors: `[I, E]` text vectors that a run has saved, those of the sources first; None to
        encode the texts.

    Returns:
      The domain of all sources, None without any, and the domain of the target.

    Raises:
      DataError: data that are missing or malformed, or vectors of other items.
      ConfigError: a text encoder that cannot be used.
    """
    if vectors is None:
        item_text.encoder_of(text_encoder, "text_encoder")  # named before any work if it is bad
    configs = [with_name(target, name) for name in sources]
    parts = [load_dataset(config) for config in (*configs, target)]
    texts: list[str] = []
    name = ""
    for part in parts:
        items = part.interactions.items
        texts += items.text(*(name for name in text_fields if name in items.fields))
    if vectors is None:
        # All domains share one space, so TF-IDF has to see all texts at once.
        encoder = item_text.encoder_of(text_encoder, "text_encoder", texts)
        vectors, name = item_text.encode(texts, encoder, dim=128), item_text.name_of(encoder)
    if len(vectors) != len(texts):
        raise DataError(
            f"the run has {len(vectors):,} text vectors for {len(texts):,} items of "
            f"{', '.join([*sources, target.name])}; restore the data, or give another --run-dir"
        )
    *others, goal = parts
    cut = len(texts) - goal.num_items
    known = known_users(goal.num_users, share, seed)
    second = Domain(parts=[goal], users=[known], vectors=vectors[cut:], encoder=name)
    if not others:
        return None, second
    users = [np.arange(other.num_users) for other in others]
    return Domain(parts=others, users=users, vectors=vectors[:cut], encoder=name), second


def known_users(users: int, share: float, seed: int) -> np.ndarray:
    """Sample a share of the users, at least one.

    Args:
      users: U, number of users.
      share: share to sample, in (0, 1].
      seed: seed of the sample.

    Returns:
      Their numbers, in ascending order.

    Example:
      >>> known_users(4, 1.0, seed=3)
      array([0, 1, 2, 3])
    """
    count = max(1, round(share * users))
    return np.sort(np.random.default_rng([seed, 5]).choice(users, count, replace=False))
