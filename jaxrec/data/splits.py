"""Leave-one-out and global-time splits, and the rule for interactions at the same time.

On MovieLens half of a user's neighbouring interactions carry the same timestamp, so the order
within ties decides what the target is: between item IDs ascending and descending, HR@10 of one and
the same model moves by some 45 % (old and popular items have low IDs). Hence one stated rule, and
the others only as controls.
"""

import dataclasses
from typing import Literal

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data.filters import keep_users
from jaxrec.data.interactions import Interactions

TIE_RULE = "each user's interactions sorted stably by (timestamp, original row)"

Tie = Literal["row", "random", "item_asc", "item_desc"]
_TIES: tuple[str, ...] = ("row", "random", "item_asc", "item_desc")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """Leave-one-out: each user's last item is the test, the one before it the validation target.

    Attributes:
        train: what is left; U users, each with at least one row. The catalogue stays whole, so an
            item may occur in a target only.
        valid_target: [U] int32, second last item of each user.
        test_target: [U] int32, last item of each user.
        tie: how interactions at the same time were ordered.
        dropped_users: users left out for having fewer than 3 interactions.
    """

    train: Interactions
    valid_target: np.ndarray
    test_target: np.ndarray
    tie: str = "row"
    dropped_users: int = 0

    def history(self, stage: Literal["valid", "test"]) -> list[np.ndarray]:
        """Return what a model may see of each user, oldest first: U arrays of int32.

        "valid" is the training history, "test" the same and the validation item at its end.
        """
        train = self.train.sequences()
        if stage == "valid":
            return train
        if stage != "test":
            raise ConfigError(f"stage {stage!r}; use 'valid' or 'test'")
        return [
            np.concatenate([items, self.valid_target[u : u + 1]]) for u, items in enumerate(train)
        ]

    def target(self, stage: Literal["valid", "test"]) -> np.ndarray:
        """Return the items to predict, [U] int32."""
        if stage not in ("valid", "test"):
            raise ConfigError(f"stage {stage!r}; use 'valid' or 'test'")
        return self.valid_target if stage == "valid" else self.test_target


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TimeSplit:
    """Global-time split: train before `valid_time`, validation before `test_time`, test from it on.

    All parts keep the numbers of users and items; a user or an item may have no row in a part.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    valid_time: int
    test_time: int


def leave_one_out(
    interactions: Interactions,
    *,
    tie: Tie = "row",
    seed: int = 0,
    short_users: Literal["error", "drop"] = "error",
) -> Split:
    """Hold out each user's last two items.

    Args:
        interactions: what to split.
        tie: order within the same time; anything but "row" is a control (see `order_ties`).
        seed: for tie="random".
        short_users: what to do about users with fewer than 3 interactions, who cannot give a
            target twice and keep a history: refuse, or leave them out (and count them).

    Raises:
        DataError: a user is too short and `short_users` is "error", or no user is left.
    """
    ordered = order_ties(interactions, tie, seed)
    counts = np.diff(ordered.offsets)
    short = counts < 3
    if short.any() and short_users == "error":
        user = int(np.flatnonzero(short)[0])
        raise DataError(
            f"{interactions.name}: {short.sum():,} of {len(counts):,} users have fewer than 3 "
            f"interactions (user {ordered.user_ids[user]!s} has {counts[user]}); filter with "
            "k_core or use short_users='drop'"
        )
    if short.all():
        raise DataError(f"{interactions.name}: no user has 3 interactions; nothing to split")
    if short.any():
        ordered = keep_users(ordered, ~short)
    ends = ordered.offsets[1:]
    keep = np.ones(len(ordered), bool)
    keep[ends - 1] = keep[ends - 2] = False
    return Split(
        train=ordered.select(keep),
        valid_target=ordered.item[ends - 2],
        test_target=ordered.item[ends - 1],
        tie=tie,
        dropped_users=int(short.sum()),
    )


def global_time_split(interactions: Interactions, valid_time: int, test_time: int) -> TimeSplit:
    """Split everyone's interactions at two moments, so that training never sees the future.

    Args:
        interactions: what to split; its times must be seconds.
        valid_time: first second of validation; train is everything before.
        test_time: first second of test. `time_quantile` gives moments by share.

    Raises:
        DataError: the source tells only the order, or a part would be empty.
    """
    _check_seconds(interactions)
    if valid_time >= test_time:
        raise ConfigError(f"valid_time {valid_time} is not before test_time {test_time}")
    time = interactions.time
    masks = {
        "train": time < valid_time,
        "valid": (time >= valid_time) & (time < test_time),
        "test": time >= test_time,
    }
    for part, mask in masks.items():
        if not mask.any():
            raise DataError(
                f"{interactions.name}: the {part} part is empty with valid_time {valid_time} and "
                f"test_time {test_time}; times run from {time.min()} to {time.max()}"
            )
    parts = {part: interactions.select(mask) for part, mask in masks.items()}
    return TimeSplit(**parts, valid_time=valid_time, test_time=test_time)


@dataclasses.dataclass(frozen=True, eq=False)
class RowSplit:
    """Rows of an `Interactions` in three parts, int64 each, ascending."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def random_split(
    interactions: Interactions, valid: float = 0.1, test: float = 0.1, seed: int = 0
) -> RowSplit:
    """Split rows at random, as rating prediction does; every user and item has a training row.

    Rows are drawn for test, validation and training in this order. Then, of each user and item that
    training lacks, one row is moved there.

    Args:
        interactions: what to split.
        valid: share of the rows.
        test: likewise.
        seed: of the draw.

    Raises:
        ConfigError: shares that leave nothing to train on.
    """
    if min(valid, test) < 0 or valid + test >= 1:
        raise ConfigError(f"shares valid {valid} and test {test} leave nothing to train on")
    rows = len(interactions)
    order = np.random.default_rng(seed).permutation(rows)
    part = np.zeros(rows, np.int8)
    ends = round(test * rows), round((test + valid) * rows)
    part[order[: ends[0]]], part[order[ends[0] : ends[1]]] = 2, 1
    for column in (interactions.user, interactions.item):
        lacking = np.setdiff1d(column, column[part == 0])
        _, first = np.unique(column, return_index=True)
        part[first[np.isin(column[first], lacking)]] = 0
    return RowSplit(*(np.flatnonzero(part == number) for number in range(3)))


def time_quantile(interactions: Interactions, share: float) -> int:
    """Return the moment before which about `share` of all interactions happened, in seconds."""
    _check_seconds(interactions)
    if not 0 < share < 1:
        raise ConfigError(f"share {share} of the interactions; must be between 0 and 1")
    return int(np.quantile(interactions.time, share, method="higher"))


def order_ties(interactions: Interactions, tie: Tie, seed: int = 0) -> Interactions:
    """Reorder what happened at the same time to the same user; everything else stays.

    "row" is the rule (original row), "random" a seeded shuffle, "item_asc" and "item_desc" go by
    the natural order of item IDs. All but "row" are controls, to show what the order is worth.
    """
    key: np.ndarray
    if tie == "row":
        key = interactions.row
    elif tie == "random":
        key = np.random.default_rng(seed).permutation(len(interactions))
    elif tie == "item_asc":
        key = interactions.item
    elif tie == "item_desc":
        key = -interactions.item
    else:
        raise ConfigError(f"tie {tie!r}; use one of {', '.join(_TIES)}")
    order = np.lexsort((key, interactions.time, interactions.user))
    columns = {
        c: getattr(interactions, c)[order] for c in ("user", "item", "rating", "time", "row")
    }
    return dataclasses.replace(interactions, **columns)


@dataclasses.dataclass(frozen=True)
class TieShare:
    """How much of a data set's order rests on the tie rule.

    Attributes:
        neighbours: share of a user's neighbouring interactions that have the same time.
        last_two: share of users whose last two interactions have the same time, which is to say
            whose targets the rule chooses.
    """

    neighbours: float
    last_two: float


def tie_share(interactions: Interactions) -> TieShare:
    """Count ties in time; 0 where there are no neighbours. See `TieShare`."""
    same_user = np.diff(interactions.user) == 0
    same_time = (np.diff(interactions.time) == 0) & same_user
    ends = interactions.offsets[1:][np.diff(interactions.offsets) >= 2]
    return TieShare(
        neighbours=float(same_time.sum() / max(same_user.sum(), 1)),
        last_two=float(same_time[ends - 2].mean()) if len(ends) else 0.0,
    )


def _check_seconds(interactions: Interactions) -> None:
    if interactions.time_unit != "s":
        raise DataError(
            f"{interactions.name}: the source tells only the order of a user's interactions, not "
            "their times; use leave_one_out"
        )
