"""A request for recommendations to one user, and the answer, as every system gives it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxrec.core import ConfigError, nearest
from jaxrec.data import Dataset
from jaxrec.decode import bucket
from jaxrec.ids import pad_items


@dataclasses.dataclass(frozen=True)
class RecommendRequest:
    """What `jaxrec recommend` asks for.

    Attributes:
      user: the user's original ID.
      top: number of items.
      include_seen: also recommend items that the user's history holds.

    Raises:
      ConfigError: fewer than one item.

    Example:
      >>> RecommendRequest("63", top=5)
      RecommendRequest(user='63', top=5, include_seen=False)
    """

    user: str
    top: int = 10
    include_seen: bool = False

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ConfigError(f"--top must be at least 1, got {self.top}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecommendedItem:
    """One item of a list.

    Attributes:
      item: its number in the data set.
      title: what to show a reader.
      score: as `Recommendations.score` says; higher is better.
      code: its ID as text, such as "3-12"; "" for a system without IDs.
    """

    item: int
    title: str
    score: float
    code: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recommendations:
    """The answer to a `RecommendRequest`.

    Attributes:
      user: the user's original ID.
      history: titles of all the user's items, oldest first.
      items: the best items, best first; fewer than asked for where no more are left.
      score: what the scores are, such as "log-probability of each ID".
    """

    user: str
    history: tuple[str, ...]
    items: tuple[RecommendedItem, ...]
    score: str


def find_user(dataset: Dataset, user: str) -> int:
    """Return the number of a user.

    Args:
      dataset: the data.
      user: the user's original ID.

    Raises:
      ConfigError: no such user; the message names the nearest.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=5, items=8)
      >>> find_user(Dataset(data, leave_one_out(data)), str(data.user_ids[3]))
      3
    """
    users = dataset.split.train.user_ids.astype(str)
    rows = np.flatnonzero(users == user)
    if not len(rows):
        raise ConfigError(
            f"no user {user!r} in {dataset.interactions.name}{nearest(user, users.tolist())}; "
            f"users: {users[0]} .. {users[-1]}"
        )
    return int(rows[0])


def whole_history(dataset: Dataset, user: int) -> np.ndarray:
    """Return all items of a user, oldest first, held-out ones included.

    A recommendation is advice and not an evaluation, so nothing that is known is left out.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> len(whole_history(dataset, 0)) == len(dataset.split.history("test")[0]) + 1
      True
    """
    return np.append(dataset.split.history("test")[user], dataset.split.target("test")[user])


def listed(
    request: RecommendRequest,
    dataset: Dataset,
    items: np.ndarray,
    scores: np.ndarray,
    score: str,
    codes: np.ndarray | None = None,
) -> Recommendations:
    """Put titles to the items that a system chose.

    Args:
      request: what was asked for.
      dataset: the data.
      items: `[K]` item numbers, best first; -1 in unfilled places.
      scores: `[K]`.
      score: what the scores are.
      codes: `[I, L]` IDs of all items; None for a system without IDs.
    """
    labels = dataset.interactions.items.labels()
    chosen = [
        RecommendedItem(
            item=item,
            title=labels[item],
            score=value,
            code="" if codes is None else "-".join(map(str, codes[item].tolist())),
        )
        for item, value in zip(items.tolist(), scores.tolist(), strict=True)
        if item >= 0
    ]
    history = whole_history(dataset, find_user(dataset, request.user))
    return Recommendations(
        user=request.user,
        history=tuple(labels[item] for item in history),
        items=tuple(chosen[: request.top]),
        score=score,
    )


def recommend_by_scores(
    score: Callable[[Mapping[str, Any]], jax.Array], dataset: Dataset, request: RecommendRequest
) -> Recommendations:
    """Recommend the items with the highest scores.

    Args:
      score: maps a batch with "history" `[1, H]`, padded with -1, to `[1, I]`.
      dataset: the data.
      request: what is asked for.

    Raises:
      ConfigError: an unknown user, or more items than the data set has.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> request = RecommendRequest(str(data.user_ids[0]), top=2, include_seen=True)
      >>> answer = recommend_by_scores(lambda batch: np.arange(14.0)[None], dataset, request)
      >>> [row.item for row in answer.items]
      [13, 12]
    """
    if request.top > dataset.num_items:
        raise ConfigError(
            f"--top must be at most the {dataset.num_items:,} items of the data set, "
            f"got {request.top}"
        )
    user = find_user(dataset, request.user)
    history = whole_history(dataset, user)
    batch = {
        "history": pad_items([history], bucket(len(history))),
        "user": np.array([user], np.int32),
    }
    scores = np.array(score(batch)[0], np.float32)
    if not request.include_seen:
        scores[history] = -np.inf
    order = np.argsort(-scores, kind="stable")[: request.top]
    items = np.where(np.isfinite(scores[order]), order, -1)
    return listed(request, dataset, items, scores[order], "score of each item")
