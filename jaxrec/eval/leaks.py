"""Trivial rules that reveal a leak through item numbers or the order of items.

If a data set breaks ties in time by item id, or numbers items in order of time, a rule that only
reads item numbers finds the held-out item. On sound data both rates stay at chance, about 1 / I for
I items, also after any relabelling of the items.
"""

from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.core import DataError


def max_plus_one_rate(histories: Sequence[np.ndarray], targets: np.ndarray) -> float:
    """Share of users whose target is the largest item number of their history plus one.

    Args:
      histories: one int array per user, items in chronological order; an empty one is never a hit.
      targets: int [U].

    Raises:
      DataError: there are no users, or the number of histories differs from that of targets.

    Example:
      >>> import numpy as np
      >>> max_plus_one_rate([np.array([8, 2]), np.array([3])], np.array([9, 7]))
      0.5
    """
    return _rate(histories, targets, lambda history: history.max())


def last_plus_one_rate(histories: Sequence[np.ndarray], targets: np.ndarray) -> float:
    """Share of users whose target is the last item number of their history plus one.

    Args:
      histories: one int array per user, items in chronological order; an empty one is never a hit.
      targets: int [U].

    Raises:
      DataError: there are no users, or the number of histories differs from that of targets.

    Example:
      >>> import numpy as np
      >>> last_plus_one_rate([np.array([8, 2]), np.array([3])], np.array([9, 4]))
      0.5
    """
    return _rate(histories, targets, lambda history: history[-1])


def _rate(
    histories: Sequence[np.ndarray],
    targets: np.ndarray,
    pick: Callable[[np.ndarray], np.integer],
) -> float:
    if len(histories) != len(targets) or not len(targets):
        raise DataError(
            f"{len(histories)} histories for {len(targets)} targets; expected one history per "
            "target, and at least one"
        )
    hits = [
        len(history) > 0 and int(pick(np.asarray(history))) + 1 == int(target)
        for history, target in zip(histories, targets, strict=True)
    ]
    return float(np.mean(hits))
