"""Leave-one-out, global-time and random splits, and the rule for interactions at the same time.

On MovieLens, half of a user's neighbouring interactions have the same timestamp, so the order
within ties decides which item is the target. Between ascending and descending item IDs, HR@10 of
the same model changes by about 45 % (old and popular items have low IDs). So there is one stated
rule, and other orders are only controls.
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
    """Leave-one-out: each user's last item is the test target, the one before it for validation.

    Attributes:
        train: all other interactions of U users, each with at least one row. The catalogue stays
            whole, so some items may only occur as targets.
        valid_target: [U] int32, second last item of each user.
        test_target: [U] int32, last item of each user.
        tie: how interactions at the same time are ordered.
        dropped_users: number of users who were left out because they have fewer than 3
            interactions.
        held_times: [U, 2] int64, times of the validation and the test target; None if not kept.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1, 1], item=["a", "b", "c"], time=[1, 2, 3])
        >>> split = leave_one_out(data)
        >>> split.history("test")[0].tolist(), split.target("test").tolist()
        ([0, 1], [2])
    """

    train: Interactions
    valid_target: np.ndarray
    test_target: np.ndarray
    tie: Tie = "row"
    dropped_users: int = 0
    held_times: np.ndarray | None = None

    def history(self, stage: Literal["valid", "test"]) -> list[np.ndarray]:
        """Return the history that a model may read for each user, oldest first: U int32 arrays.

        For "valid" it is the training history, and for "test" the validation item follows it.

        Raises:
            ConfigError: the stage is unknown.
        """
        train = self.train.sequences()
        if stage == "valid":
            return train
        if stage != "test":
            raise ConfigError(f"unknown stage {stage!r}; use 'valid' or 'test'")
        return [
            np.concatenate([items, self.valid_target[u : u + 1]]) for u, items in enumerate(train)
        ]

    def times(self, stage: Literal["valid", "test"]) -> list[np.ndarray] | None:
        """Return the seconds from the first item of each history to each of its items.

        They belong to `history(stage)`: U int32 arrays. None if the data only tell the order.

        Raises:
            ConfigError: the stage is unknown.
        """
        if stage not in ("valid", "test"):
            raise ConfigError(f"unknown stage {stage!r}; use 'valid' or 'test'")
        if self.train.time_unit != "s" or self.held_times is None:
            return None
        bounds = self.train.offsets[1:-1]
        found = []
        for user, part in enumerate(np.split(self.train.time, bounds)):
            last = self.held_times[user, :1] if stage == "test" else self.held_times[user, :0]
            found.append(elapsed(np.concatenate([part, last])))
        return found

    def target(self, stage: Literal["valid", "test"]) -> np.ndarray:
        """Return the items to predict, [U] int32.

        Raises:
            ConfigError: the stage is unknown.
        """
        if stage not in ("valid", "test"):
            raise ConfigError(f"unknown stage {stage!r}; use 'valid' or 'test'")
        return self.valid_target if stage == "valid" else self.test_target


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TimeSplit:
    """Global-time split: train before `valid_time`, validate before `test_time`, test from then on.

    All parts keep the numbers of users and items; a user or item may have no row in a part.
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
        interactions: the interactions to split.
        tie: order of interactions at the same time; all values but "row" are controls (see
            `order_ties`).
        seed: seed for tie="random".
        short_users: what to do with users who have fewer than 3 interactions and so cannot give two
            targets and a history: "error", or "drop" them and count them.

    Raises:
        DataError: a user has fewer than 3 interactions and `short_users` is "error", or no user is
            left.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1, 1], item=["a", "b", "c"], time=[1, 2, 3])
        >>> split = leave_one_out(data)
        >>> split.train.history(0).tolist(), split.valid_target.tolist(), split.test_target.tolist()
        ([0], [1], [2])
    """
    ordered = order_ties(interactions, tie, seed)
    counts = np.diff(ordered.offsets)
    short = counts < 3
    if short.any() and short_users == "error":
        user = int(np.flatnonzero(short)[0])
        raise DataError(
            f"{interactions.name}: {short.sum():,} of {len(counts):,} users have fewer than 3 "
            f"interactions (user {ordered.user_ids[user]!s} has {counts[user]}); drop them with "
            "--data.short-users drop, or filter with --data.min-count 3 or more"
        )
    if short.all():
        raise DataError(
            f"{interactions.name}: no user has 3 interactions, so there is nothing to split; give "
            "more interactions or filter less"
        )
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
        held_times=np.stack([ordered.time[ends - 2], ordered.time[ends - 1]], axis=1),
    )


def elapsed(times: np.ndarray) -> np.ndarray:
    """Return the seconds since the first of some times, as int32, at most 2^31 - 1 (68 years).

    Example:
        >>> elapsed(np.array([978300000, 978300060])).tolist()
        [0, 60]
    """
    gaps = times - times[:1]
    return np.clip(gaps, -(2**31) + 1, 2**31 - 1).astype(np.int32)


def global_time_split(interactions: Interactions, valid_time: int, test_time: int) -> TimeSplit:
    """Split all interactions at two moments, so that training never sees the future.

    Args:
        interactions: the interactions to split; their times must be seconds.
        valid_time: first second of validation; training has everything before it.
        test_time: first second of the test part. `time_quantile` gives a moment by share.

    Raises:
        ConfigError: `valid_time` is not before `test_time`.
        DataError: the source only tells the order, or a part would be empty.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1, 2], item=["a", "b", "a"], time=[1, 5, 9])
        >>> split = global_time_split(data, valid_time=3, test_time=6)
        >>> len(split.train), len(split.valid), len(split.test)
        (1, 1, 1)
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
    """Row numbers of an `Interactions` in three parts, int64, ascending."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def random_split(
    interactions: Interactions, valid: float = 0.1, test: float = 0.1, seed: int = 0
) -> RowSplit:
    """Split rows at random, as rating prediction does; every user and item has a training row.

    Rows are drawn for test, validation and training in this order. Then one row of each user and
    item that training lacks is moved there.

    Args:
        interactions: the interactions to split.
        valid: share of the rows for validation.
        test: share of the rows for the test part.
        seed: seed of the draw.

    Raises:
        ConfigError: a share is negative, or the shares leave nothing to train on.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1, 1, 1], item=["a", "a", "a", "a"])
        >>> parts = random_split(data, valid=0.25, test=0.25)
        >>> len(parts.train), len(parts.valid), len(parts.test)
        (2, 1, 1)
    """
    if min(valid, test) < 0 or valid + test >= 1:
        raise ConfigError(
            f"the shares valid={valid} and test={test} must not be negative and must leave rows to "
            "train on; their sum must be below 1"
        )
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
    """Return the time in seconds before which about `share` of all interactions happened.

    Raises:
        ConfigError: `share` is not between 0 and 1.
        DataError: the source only tells the order.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1, 2], item=["a", "b", "a"], time=[1, 5, 9])
        >>> time_quantile(data, 0.5)
        5
    """
    _check_seconds(interactions)
    if not 0 < share < 1:
        raise ConfigError(f"share must be between 0 and 1, got {share}")
    return int(np.quantile(interactions.time, share, method="higher"))


def order_ties(interactions: Interactions, tie: Tie, seed: int = 0) -> Interactions:
    """Reorder interactions of the same user at the same time; everything else stays.

    "row" is the rule: the order of the original rows. The other orders are controls, which show how
    much the rule matters: "random" is a seeded shuffle, and "item_asc" and "item_desc" follow the
    natural order of item IDs.

    Raises:
        ConfigError: the order is unknown.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1], item=["a", "b"], time=[5, 5])
        >>> order_ties(data, "item_desc").history(0).tolist()
        [1, 0]
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
        raise ConfigError(f"unknown tie {tie!r}; use one of {', '.join(_TIES)}")
    order = np.lexsort((key, interactions.time, interactions.user))
    columns = {
        c: getattr(interactions, c)[order] for c in ("user", "item", "rating", "time", "row")
    }
    return dataclasses.replace(interactions, **columns)


@dataclasses.dataclass(frozen=True)
class TieShare:
    """How much of a data set's order depends on the tie rule.

    Attributes:
        neighbours: share of neighbouring interactions of a user that have the same time.
        last_two: share of users whose last two interactions have the same time, so that the rule
            chooses their targets.
    """

    neighbours: float
    last_two: float


def tie_share(interactions: Interactions) -> TieShare:
    """Return the shares of ties in time; they are 0 if there are no neighbours.

    Example:
        >>> data = Interactions.from_columns(user=[1, 1, 1], item=["a", "b", "c"], time=[1, 5, 5])
        >>> tie_share(data)
        TieShare(neighbours=0.5, last_two=1.0)
    """
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
            f"{interactions.name}: the source only tells the order of a user's interactions, not "
            "their times; use leave_one_out instead"
        )
