"""A request for recommendations to one user, and the answer, as every system gives it."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxrec.core import ConfigError, check_numbers, present
from jaxrec.data import Dataset, elapsed
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
      reason: why it is recommended, in a sentence; "" for none.
    """

    item: int
    title: str
    score: float
    code: str = ""
    reason: str = ""


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextRecommendations:
    """Recommendations for a text, such as a resume.

    Attributes:
      read: the text as the system read it.
      written: what the system wrote on the way to items, such as descriptions of suitable jobs.
      items: the best items, best first.
      score: what the scores are.
    """

    read: str
    written: tuple[str, ...]
    items: tuple[RecommendedItem, ...]
    score: str


def find_user(user_ids: np.ndarray, user: str, data: str) -> int:
    """Return the number of a user.

    Args:
      user_ids: `[U]` original IDs, in the order of the numbers.
      user: the user's original ID.
      data: name of the data set.

    Raises:
      ConfigError: no such user; the message says how many there are, and names one that differs by
        a slip of the pen, if there is one.

    Example:
      >>> find_user(np.array(["63", "7"]), "7", "ml-100k")
      1
    """
    users = user_ids.astype(str)
    rows = np.flatnonzero(users == user)
    if not len(rows):
        # Every number is near some other one, so near numbers help nobody.
        close = [] if user.isdigit() else difflib.get_close_matches(user, users, n=1, cutoff=0.8)
        near = f", did you mean {str(close[0])!r}? It" if close else "; it"
        some = ", ".join(some_users(users, 3))
        raise ConfigError(
            f"no user {user!r} in {data}{near} has {len(users):,} users, such as {some} (more: "
            "jaxrec recommend RUN without --user)"
        )
    return int(rows[0])


def some_users(user_ids: np.ndarray, count: int) -> list[str]:
    """Return the original IDs of up to `count` users, spread evenly over all.

    Example:
      >>> some_users(np.arange(100, 200), 3)
      ['100', '149', '199']
    """
    places = np.linspace(0, len(user_ids) - 1, min(count, len(user_ids))).astype(int)
    return [str(user_ids[place]) for place in places]


def known_items(dataset: Dataset, request: RecommendRequest) -> tuple[int, np.ndarray]:
    """Return the number of the user of a request, and all their items; see `whole_history`.

    Raises:
      ConfigError: no such user.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=5, items=12)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> known_items(dataset, RecommendRequest(str(data.user_ids[3])))[0]
      3
    """
    user_ids, name = dataset.split.train.user_ids, dataset.interactions.name
    user = find_user(user_ids, request.user, name)
    return user, whole_history(dataset, user)


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


def whole_times(dataset: Dataset, user: int) -> np.ndarray | None:
    """Return the seconds from the first item of `whole_history` to each item, int32.

    None if the data only tell the order.
    """
    times, held = dataset.split.times("test"), dataset.split.held_times
    if times is None or held is None:
        return None
    train = dataset.split.train
    return elapsed(np.append(train.time[train.offsets[user] : train.offsets[user + 1]], held[user]))


def listed(
    request: RecommendRequest,
    titles: Sequence[str],
    history: np.ndarray,
    items: np.ndarray,
    scores: np.ndarray,
    *,
    score: str,
    codes: np.ndarray | None = None,
) -> Recommendations:
    """Put titles to the items that a system chose.

    Args:
      request: what was asked for.
      titles: what to show a reader for each item of the data set.
      history: all items of the user, oldest first.
      items: `[K]` item numbers, best first; -1 in unfilled places.
      scores: `[K]`.
      score: what the scores are.
      codes: `[I, L]` IDs of all items; None for a system without IDs.

    Example:
      >>> history, items = np.array([0]), np.array([2, 1])
      >>> titles, scores = ["Alien", "Heat", "Fargo"], np.array([0.5, 0.25])
      >>> request = RecommendRequest("63", top=1)
      >>> listed(request, titles, history, items, scores, score="score").items
      (RecommendedItem(item=2, title='Fargo', score=0.5, code='', reason=''),)
    """
    chosen = [
        RecommendedItem(
            item=item,
            title=titles[item],
            score=value,
            code="" if codes is None else "-".join(map(str, codes[item].tolist())),
        )
        for item, value in zip(items.tolist(), scores.tolist(), strict=True)
        if item >= 0
    ]
    return Recommendations(
        user=request.user,
        history=tuple(titles[item] for item in history),
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
    user, history = known_items(dataset, request)
    times = whole_times(dataset, user)
    batch = {
        "history": pad_items([history], bucket(len(history))),
        "user": np.array([user], np.int32),
    }
    if times is not None:
        batch["times"] = pad_items([times], bucket(len(history)))
    titles = dataset.interactions.items.labels()
    scores = np.array(score(batch)[0], np.float32)
    return best_of_all(request, titles, history, scores, "score of each item")


def best_of_all(
    request: RecommendRequest,
    titles: Sequence[str],
    history: np.ndarray,
    scores: np.ndarray,
    score: str,
) -> Recommendations:
    """Recommend the items with the highest of `[I]` scores; the arguments are those of `listed`.

    Example:
      >>> titles, scores = ["Alien", "Heat", "Fargo"], np.array([0.5, 0.9, 0.7])
      >>> answer = best_of_all(RecommendRequest("63"), titles, np.array([1]), scores, "score")
      >>> [row.title for row in answer.items]
      ['Fargo', 'Alien']
    """
    check_numbers(history, len(scores), "items of a history")
    scores, history = scores.copy(), present(history)
    if not request.include_seen:
        scores[history] = -np.inf
    order = np.argsort(-scores, kind="stable")[: request.top]
    items = np.where(np.isfinite(scores[order]), order, -1)
    return listed(request, titles, history, items, scores[order], score=score)
