"""Will the user like the next item? Windows over ratings, and the published splits of them.

A window is `H` items in a row of one user, each liked or not, and the item after them. (TALLRec,
Bao et al., RecSys 2023, section 4.1; on MovieLens-100K an item is liked if its rating is above 3.)

Shapes: `N` windows, `H` items of a history.
"""

import dataclasses
import itertools

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data.instructions import Instruction
from jaxrec.data.interactions import Interactions

YES, NO = "Yes.", "No."
INSTRUCTION = (
    "Given the user's preference and unpreference, identify whether the user will like the target "
    "{kind} by answering {answers}."
)
_ANSWERS = ('"Yes." or "No."', '"No." or "Yes."')
# Windows of the published movie split: the last of the file, cut in three (its repository's data).
_PUBLISHED = (8000, 1000, 1000)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClickWindows:
    """Windows in the order of the users' first appearance in the file, oldest first.

    Attributes:
      user: `[N]` int32.
      history: `[N, H]` int32, oldest first.
      liked: `[N, H]` bool, of the history.
      target: `[N]` int32.
      label: `[N]` bool, whether the target is liked.
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
    """All windows of all users.

    Args:
      data: interactions with ratings.
      history: H.
      threshold: an item is liked if its rating is above.

    Raises:
      ConfigError: `history` is below 1.
      DataError: no ratings, or no user with more than H items.
    """
    if history < 1:
        raise ConfigError(f"history must be at least 1, got {history}")
    if np.isnan(data.rating).any():
        raise DataError(
            f"{data.name} has interactions without a rating, so nothing says what was liked; give "
            "data.rating_column, or data with ratings"
        )
    starts = np.flatnonzero(np.r_[True, data.user[1:] != data.user[:-1]])
    counts = np.diff(np.r_[starts, len(data.user)])
    # Users as the file brings them up, which is what the published split cuts.
    first_row = np.minimum.reduceat(data.row, starts)
    rows = []
    for place in np.argsort(first_row, kind="stable"):
        begin, most = starts[place], counts[place] - history
        rows.append(begin + np.arange(max(most, 0))[:, None] + np.arange(history + 1))
    found = np.concatenate(rows)
    if not len(found):
        raise DataError(f"no user of {data.name} has more than {history} items")
    liked = data.rating > threshold
    return ClickWindows(
        user=data.user[found[:, -1]],
        history=data.item[found[:, :-1]],
        liked=liked[found[:, :-1]],
        target=data.item[found[:, -1]],
        label=liked[found[:, -1]],
    )


def published_split(windows: ClickWindows) -> tuple[ClickWindows, ClickWindows, ClickWindows]:
    """The last 10,000 windows, cut in 8,000 to train on, 1,000 for validation and 1,000 for test.

    Of MovieLens-100K these are the published files. Two users lie on both sides of a cut, and the
    test windows are of 16 users alone.

    Raises:
      DataError: fewer windows.
    """
    total = sum(_PUBLISHED)
    if len(windows) < total:
        raise DataError(
            f"the published split takes {total:,} windows, and there are {len(windows)}"
        )
    ends = np.cumsum((len(windows) - total, *_PUBLISHED)).tolist()
    train, valid, test = (windows.take(slice(*both)) for both in itertools.pairwise(ends))
    return train, valid, test


def split_users(
    windows: ClickWindows, seed: int = 0
) -> tuple[ClickWindows, ClickWindows, ClickWindows]:
    """All windows of 80, 10 and 10 % of the users: no user is on two sides.

    Raises:
      DataError: fewer than ten users.
    """
    users = np.unique(windows.user)
    if len(users) < 10:
        raise DataError(f"a split by users needs at least 10 of them, got {len(users)}")
    drawn = np.random.default_rng(seed).permutation(users)
    parts = np.split(drawn, [len(users) * 8 // 10, len(users) * 9 // 10])
    train, valid, test = (windows.take(np.isin(windows.user, part)) for part in parts)
    return train, valid, test


def random_parts(count: int, history: int, rng: np.random.Generator) -> np.ndarray:
    """`[count, history]` bool: which items of each history stay, a random number of random ones."""
    order = rng.permuted(np.tile(np.arange(history), (count, 1)), axis=1)
    return order < rng.integers(0, history + 1, (count, 1))


def click_prompts(
    windows: ClickWindows,
    titles: list[str],
    *,
    kept: np.ndarray | None = None,
    kind: str = "movie",
    swapped: bool = False,
) -> list[Instruction]:
    """Windows as the questions of the published files.

    Args:
      windows: what to ask about.
      titles: of all items.
      kept: `[N, H]` bool, the items of the histories that are named; None for all.
      kind: what an item is called.
      swapped: name the answers in the other order, as a control.
    """
    instruction = INSTRUCTION.format(kind=kind, answers=_ANSWERS[swapped])
    quoted = [f'"{title}"' for title in titles]
    found = []
    kept = np.ones_like(windows.liked) if kept is None else kept
    for history, liked, named, target, label in zip(
        windows.history, windows.liked, kept, windows.target, windows.label, strict=True
    ):
        pairs = list(zip(history[named].tolist(), liked[named].tolist(), strict=True))
        yes, no = (", ".join(quoted[i] for i, like in pairs if like == w) for w in (True, False))
        asked = (
            f"User Preference: {yes}\nUser Unpreference: {no}\n"
            f"Whether the user will like the target {kind} {quoted[target]}?"
        )
        found.append(Instruction(instruction, asked, YES if label else NO))
    return found
