"""Click windows: will a user like the next item? Windows over ratings, and their splits.

A window is `H` consecutive items of one user, each liked or not, and the item after them (TALLRec,
Bao et al., RecSys 2023, section 4.1; on MovieLens-100K an item is liked if its rating is above 3).

Shapes: `N` windows, `H` items of a history.
"""

import dataclasses
import itertools

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data.interactions import Interactions

# Sizes of the published movie split: the last windows of the file in three parts (the data of
# TALLRec's repository).
_PUBLISHED = (8000, 1000, 1000)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClickWindows:
    """Windows in the order in which users first appear in the file, oldest first.

    Attributes:
      user: `[N]` int32 user numbers.
      history: `[N, H]` int32 item numbers, oldest first; shorter ones are padded on the left with
        -1.
      liked: `[N, H]` bool, which items of the history the user liked.
      target: `[N]` int32, the item after the history.
      label: `[N]` bool, whether the user liked the target.
    """

    user: np.ndarray
    history: np.ndarray
    liked: np.ndarray
    target: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        """N."""
        return len(self.target)

    def take(self, rows: np.ndarray | slice) -> "ClickWindows":
        """Some windows."""
        return ClickWindows(
            **{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)}
        )


def click_windows(data: Interactions, history: int = 10, threshold: float = 3.0) -> ClickWindows:
    """Cut all windows of all users.

    Args:
      data: interactions with ratings.
      history: H.
      threshold: an item is liked if its rating is above this.

    Raises:
      ConfigError: `history` is below 1.
      DataError: interactions without ratings, or no user with more than H items.

    Example:
      >>> from jaxrec.data import click_windows
      >>> from jaxrec.testing import tiny_interactions
      >>> click_windows(tiny_interactions(), history=3).history.shape[1]
      3
    """
    if history < 1:
        raise ConfigError(f"history must be at least 1, got {history}")
    if np.isnan(data.rating).any():
        raise DataError(
            f"{data.name} has interactions without a rating, so nothing tells what was liked; give "
            "data.rating_column, or data with ratings"
        )
    starts = np.flatnonzero(np.r_[True, data.user[1:] != data.user[:-1]])
    counts = np.diff(np.r_[starts, len(data.user)])
    # Users in the order of the file, which is what the published split cuts.
    first_row = np.minimum.reduceat(data.row, starts)
    rows = []
    for place in np.argsort(first_row, kind="stable"):
        begin, most = starts[place], counts[place] - history
        rows.append(begin + np.arange(max(most, 0))[:, None] + np.arange(history + 1))
    windows = np.concatenate(rows)
    if not len(windows):
        raise DataError(
            f"no user of {data.name} has more than {history} items, so there is no window; lower "
            "history"
        )
    liked = data.rating > threshold
    return ClickWindows(
        user=data.user[windows[:, -1]],
        history=data.item[windows[:, :-1]],
        liked=liked[windows[:, :-1]],
        target=data.item[windows[:, -1]],
        label=liked[windows[:, -1]],
    )


def published_split(windows: ClickWindows) -> tuple[ClickWindows, ClickWindows, ClickWindows]:
    """Take the last 10,000 windows: 8,000 for training, 1,000 for validation and 1,000 for test.

    For MovieLens-100K these are the published files. Two users lie on both sides of a cut, and the
    test windows come from only 16 users.

    Raises:
      DataError: fewer than 10,000 windows.
    """
    total = sum(_PUBLISHED)
    if len(windows) < total:
        raise DataError(
            f"the published split takes {total:,} windows, and there are only {len(windows):,}; "
            "use the split by users"
        )
    ends = np.cumsum((len(windows) - total, *_PUBLISHED)).tolist()
    train, valid, test = (windows.take(slice(*both)) for both in itertools.pairwise(ends))
    return train, valid, test


def split_users(
    windows: ClickWindows, seed: int = 0
) -> tuple[ClickWindows, ClickWindows, ClickWindows]:
    """Split the users 80, 10 and 10 %, with all windows of a user on one side.

    Args:
      windows: what to split.
      seed: seed of the draw.

    Raises:
      DataError: fewer than ten users.

    Example:
      >>> from jaxrec.data import click_windows, split_users
      >>> from jaxrec.testing import tiny_interactions
      >>> parts = split_users(click_windows(tiny_interactions(users=40), history=3))
      >>> [len(set(part.user.tolist())) for part in parts]
      [32, 4, 4]
    """
    users = np.unique(windows.user)
    if len(users) < 10:
        raise DataError(f"a split by users needs at least 10 users, got {len(users)}")
    drawn = np.random.default_rng(seed).permutation(users)
    parts = np.split(drawn, [len(users) * 8 // 10, len(users) * 9 // 10])
    train, valid, test = (windows.take(np.isin(windows.user, part)) for part in parts)
    return train, valid, test


def random_parts(count: int, history: int, rng: np.random.Generator) -> np.ndarray:
    """Choose a random number of random items of each history: `[count, history]` bool.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import random_parts
      >>> random_parts(2, 4, np.random.default_rng(0)).shape
      (2, 4)
    """
    order = rng.permuted(np.tile(np.arange(history), (count, 1)), axis=1)
    return order < rng.integers(0, history + 1, (count, 1))
