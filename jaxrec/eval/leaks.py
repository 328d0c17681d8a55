"""Trivial rules that reveal a leak through item numbers or order.

A data set whose ties in time are broken by item id, or whose ids were given in order of time, lets
a rule that knows nothing but numbers find the held-out item. On sound data both rates stay at
chance, about 1 / I for I items, and so they do after any relabelling of the items.
"""

from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.core import DataError


def max_plus_one_rate(histories: Sequence[np.ndarray], targets: np.ndarray) -> float:
    """Share of users whose target is the largest item number in their history plus one.

    Args:
      histories: one int array a user, items in order of time; an empty one is never a hit.
      targets: int [U].

    Raises:
      DataError: no users, or not one history a target.
    """
    return _rate(histories, targets, lambda history: history.max())


def last_plus_one_rate(histories: Sequence[np.ndarray], targets: np.ndarray) -> float:
    """Share of users whose target is the last item number of their history plus one.

    Args:
      histories: one int array a user, items in order of time; an empty one is never a hit.
      targets: int [U].

    Raises:
      DataError: no users, or not one history a target.
    """
    return _rate(histories, targets, lambda history: history[-1])


def _rate(
    histories: Sequence[np.ndarray],
    targets: np.ndarray,
    pick: Callable[[np.ndarray], np.integer],
) -> float:
    if len(histories) != len(targets) or not len(targets):
        raise DataError(f"{len(histories)} histories for {len(targets)} targets")
    hits = [
        len(history) > 0 and int(pick(np.asarray(history))) + 1 == int(target)
        for history, target in zip(histories, targets, strict=True)
    ]
    return float(np.mean(hits))
