"""Negatives: items that a user has not met, all equally likely."""

import itertools

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Windows


class Unseen:
    """Draws for any users at once, without trying in vain.

    The r-th item that a user has not met lies behind as many met ones as have at most r of the
    others before them. Laid side by side for all users these bounds ascend, so that one binary
    search serves a whole batch.
    """

    def __init__(self, windows: Windows, num_items: int) -> None:
        """Count what each user of the training histories has not met.

        Raises:
          DataError: a user has met every item.
        """
        parts = itertools.pairwise(windows.offsets)
        met = [np.unique(windows.items[start:end]) for start, end in parts]
        self.free = num_items - np.array([len(items) for items in met])
        if not self.free.all():
            raise DataError(
                f"user {int(self.free.argmin())} has met all {num_items} items, so there is no "
                "negative to draw; use an objective without negatives, or leave the user out"
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
