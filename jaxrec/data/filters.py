"""k-core: keep only users and items with enough interactions, until nothing changes.

Removing a rare item can make a user rare, so one pass is not enough; the published statistics of
MovieLens, Amazon and MovieTweetings subsets are those of the iterated filter.
"""

import numpy as np

from jaxrec.core.errors import ConfigError, DataError
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
