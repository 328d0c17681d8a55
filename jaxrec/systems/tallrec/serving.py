"""A trained TALLRec run in use: questions about a whole catalogue."""

import numpy as np

from jaxrec.data import ClickWindows, Interactions
from jaxrec.runs import RecommendRequest, find_user


def known_items(data: Interactions, request: RecommendRequest) -> tuple[int, np.ndarray]:
    """Return the number of the user of a request, and all items that they rated, oldest first.

    Raises:
      ConfigError: no such user.
    """
    user = find_user(data.user_ids, request.user, data.name)
    return user, data.item[data.user == user]


def catalogue_windows(
    data: Interactions, user: int, history: int, threshold: float
) -> ClickWindows:
    """Ask about every item after the newest ratings of a user.

    Args:
      data: interactions with ratings, each user's in order of time.
      user: number of the user.
      history: H, ratings that are shown; fewer if the user has fewer.
      threshold: an item is liked if its rating is above.

    Returns:
      I windows, one per item. Their labels are False and mean nothing.

    Example:
      >>> from jaxrec.testing import tiny_interactions
      >>> windows = catalogue_windows(tiny_interactions(users=5, items=12), 3, 4, 3.0)
      >>> windows.history.shape, windows.target.tolist() == list(range(12))
      ((12, 4), True)
    """
    rows = np.flatnonzero(data.user == user)[-history:]
    count = data.num_items

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.tile(values[None], (count, 1))

    return ClickWindows(
        user=np.full(count, user, np.int32),
        history=repeated(data.item[rows]),
        liked=repeated(data.rating[rows] > threshold),
        target=np.arange(count, dtype=np.int32),
        label=np.zeros(count, bool),
    )
