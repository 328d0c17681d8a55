"""Negative sampling: unseen items of a user, all with equal probability."""

import itertools

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Windows


class Unseen:
    """Draws unseen items for many users at once, without rejection.

    Let m_0 < m_1 < ... be the items that a user has seen. The r-th unseen item comes after exactly
    those m_k for which m_k - k <= r. With a separate range of numbers for each user these
    bounds are one ascending array, so one binary search serves a whole batch.
    """

    def __init__(self, windows: Windows, num_items: int) -> None:
        """Collect the items that each user of the training histories has met.

        Raises:
          DataError: a user has met every item.
        """
        parts = itertools.pairwise(windows.offsets)
        met = [np.unique(windows.items[start:end]) for start, end in parts]
        self.free = num_items - np.array([len(items) for items in met])
        if not self.free.all():
            raise DataError(
                f"user {int(self.free.argmin())} has met all {num_items} items, so no negative can "
                "be drawn; use an objective without negatives, or leave the user out"
            )
        self._apart = num_items + 1
        bounds = [
            items - np.arange(len(items)) + user * self._apart for user, items in enumerate(met)
        ]
        self._bounds = np.concatenate(bounds)
        self._before = np.concatenate([[0], np.cumsum([len(items) for items in met])])

    def draw(self, rng: np.random.Generator, users: np.ndarray, count: int) -> np.ndarray:
        """Draw with replacement: `[n]` users to `[n, count]` int32 items."""
        users = np.asarray(users, np.int64)[:, None]
        r = rng.integers(0, self.free[users], (len(users), count))
        place = np.searchsorted(self._bounds, r + users * self._apart, side="right")
        return (r + place - self._before[users]).astype(np.int32)
