"""Filter users and items: the iterated k-core, and samples of users.

The k-core filter removes users and items with too few interactions until nothing changes. Removing
a rare item can make a user rare, so one pass is not enough. The published statistics of subsets of
MovieLens, Amazon and MovieTweetings are those of the iterated filter.
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
        interactions: the interactions to filter.
        k: smallest number of interactions; 0 and 1 remove only users and items without any.
        users: whether users must reach `k`.
        items: whether items must reach `k`.

    Returns:
        The remaining interactions, with users and items renumbered densely in the same order.

    Raises:
        ConfigError: `k` is negative.
        DataError: nothing is left.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1, 2, 2, 3], item=["a", "b", "a", "b", "c"])
        >>> small = k_core(data, 2)
        >>> small.num_users, small.items.ids.tolist()
        (2, ['a', 'b'])
    """
    if k < 0:
        raise ConfigError(f"the k of a k-core must be 0 or more, got {k}")
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
            f"nothing left after {k}-core of {interactions.source or interactions.name!r} "
            f"({len(interactions):,} interactions, {interactions.num_users:,} users, "
            f"{interactions.num_items:,} items); lower k with --data.min-count; 0 is no filter"
        )
    return interactions.select(keep).compact()


def keep_users(interactions: Interactions, keep: np.ndarray) -> Interactions:
    """Return the rows of users for whom `keep` ([U] bool) is True; only users are renumbered.

    Example:
        >>> data = Interactions.from_columns(user=["u", "v"], item=["a", "b"])
        >>> keep_users(data, np.array([False, True])).user_ids.tolist()
        ['v']
    """
    rows = interactions.select(keep[interactions.user])
    number = np.cumsum(keep) - 1
    return dataclasses.replace(
        rows,
        user=number[rows.user].astype(np.int32),
        user_ids=rows.user_ids[keep],
        user_fields={k: v[keep] for k, v in rows.user_fields.items()},
    )


def sample_users(interactions: Interactions, count: int, seed: int = 0) -> Interactions:
    """Keep a random sample of `count` users, in their order; the catalogue stays whole.

    Raises:
        ConfigError: `count` is not between 1 and the number of users.

    Example:
        >>> data = Interactions.from_columns(user=[1, 2, 3], item=["a", "b", "c"])
        >>> sample = sample_users(data, 2)
        >>> sample.num_users, sample.num_items
        (2, 3)
    """
    if not 1 <= count <= interactions.num_users:
        raise ConfigError(
            f"cannot sample {count:,} of the {interactions.num_users:,} users of "
            f"{interactions.name!r}; --data.sample-users must be between 1 and "
            f"{interactions.num_users:,}"
        )
    keep = np.zeros(interactions.num_users, bool)
    keep[np.random.default_rng(seed).choice(interactions.num_users, count, replace=False)] = True
    return keep_users(interactions, keep)
