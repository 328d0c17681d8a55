"""A recommender in use whose scores can be checked by eye, for examples and tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data import Dataset, Interactions, ItemTable, leave_one_out
from jaxrec.runs import ScoringRanker, kept_of
from jaxrec.serve import ItemNames, OpenRecommender


def four_films() -> OpenRecommender:
    """Return a recommender of four films, whose scores are the same for everybody.

    Two users, "ann" and "bob", have seen three of them each.

    Example:
      >>> four_films()
      OpenRecommender('four_films', 4 items, 2 users)
    """
    films = {"7": "Alien", "9": "Heat", "12": "Fargo", "50": "Brazil"}
    table = ItemTable(np.array([*films]), {"title": np.array([*films.values()], object)})
    data = Interactions.from_columns(
        user=["ann"] * 3 + ["bob"] * 3, item=["7", "9", "50", "50", "12", "9"], items=table
    )
    kept = kept_of(Dataset(data, leave_one_out(data)))
    assert kept is not None
    ranker = ScoringRanker(
        score=_same, variables=jnp.array([0.1, 0.4, 0.2, 0.3]), num_items=4, max_items=5
    )
    names = ItemNames.of(kept.items, "films")
    return OpenRecommender(directory=Path("four_films"), ranker=ranker, names=names, kept=kept)


def _same(variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
    return jnp.tile(variables, (len(batch["history"]), 1))
