"""Which users and items are kept: the k-core, and samples of users.

The k-core keeps only users and items with enough interactions, until nothing changes. Removing a
rare item can make a user rare, so one pass is not enough; the published statistics of MovieLens,
Amazon and MovieTweetings subsets are those of the iterated filter.
"""

import dataclasses

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data.interactions import Interactions


def k_core(
    interactions: Interactions, k: int, *, users: bool = True, items: bool = True
) -> Interactions:
    """Keep the largest part in which every user and every item has at least `k` interactions.

    Args:
        interactions: what to filter.
        k: least number of interactions; 0 and 1 remove only users and items without any.
        users: whether users must reach `k`.
        items: whether items must reach `k`.

    Returns:
        The rest, users and items renumbered densely in the same order.

    Raises:
        DataError: nothing is left.
    """
    if k < 0:
        raise ConfigError(f"k-core of k={k}; k must be 0 or more")
    keep = np.ones(len(interactions), bool)
    while True:
        few = np.zeros(len(interactions), bool)
        if users:
            counts = np.bincount(interactions.user[keep], minlength=interactions.num_users)
            few |= counts[interactions.user] < k
        if items:
            counts = np.bincount(interactions.item[keep], minlength=interactions.num_items)
            few |= counts[interactions.item] < k
        if not (few & keep).any():
            break
        keep &= ~few
    if not keep.any():
        raise DataError(
            f"nothing left after {k}-core of {interactions.name!r} ({len(interactions):,} "
            f"interactions, {interactions.num_users:,} users, {interactions.num_items:,} items); "
            "lower k"
        )
    return interactions.select(keep).compact()


def keep_users(interactions: Interactions, keep: np.ndarray) -> Interactions:
    """Return the rows of the users where `keep` ([U] bool) holds, users renumbered, items not."""
    rows = interactions.select(keep[interactions.user])
    number = np.cumsum(keep) - 1
    return dataclasses.replace(
        rows,
        user=number[rows.user].astype(np.int32),
        user_ids=rows.user_ids[keep],
        user_fields={k: v[keep] for k, v in rows.user_fields.items()},
    )


def sample_users(interactions: Interactions, count: int, seed: int = 0) -> Interactions:
    """Keep `count` users drawn without replacement, in their order; the catalogue stays whole.

    Raises:
        ConfigError: fewer users than that, or none asked for.
    """
    if not 1 <= count <= interactions.num_users:
        raise ConfigError(
            f"a sample of {count:,} users out of {interactions.num_users:,} of "
            f"{interactions.name!r}; it must lie between 1 and their number"
        )
    keep = np.zeros(interactions.num_users, bool)
    keep[np.random.default_rng(seed).choice(interactions.num_users, count, replace=False)] = True
    return keep_users(interactions, keep)
