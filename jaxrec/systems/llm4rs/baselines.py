"""What stands beside the language model: counts, neighbours, and factors of the same ratings.

All of them are fitted on the ratings outside the candidates of the instances, and score the same
candidates.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.baselines import NeuMfConfig, item_knn, mf_ratings, ncf_ratings
from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import Interactions
from jaxrec.texts import Datum, Questions
from jaxrec.train import TrainConfig

# Chosen by validation instances of MovieLens-100K.
_MF_WIDTH, _MF_REGULARIZATION = 20, 0.12
_NCF = NeuMfConfig(width=8, layers=2, train=TrainConfig(batch_size=512, lr=2e-3))
_NCF_EPOCHS, _NCF_DECAY = 10, 0.3


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Rated:
    """Ratings that a baseline is fitted on.

    Attributes:
      user: `[n]` user numbers, in the order of the users.
      item: `[n]` item numbers, of each user the oldest first.
      rating: `[n]` ratings.
      num_users: U.
      num_items: I.
      threshold: a user likes an item with this rating or a higher one.
    """

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    num_users: int
    num_items: int
    threshold: float

    @classmethod
    def of(cls, data: Interactions, rows: np.ndarray, threshold: float) -> "Rated":
        """Take some rows of interactions.

        Raises:
          DataError: there are none.
        """
        if not len(rows):
            raise DataError("no ratings are left outside the instances to fit a baseline on")
        return cls(
            user=data.user[rows],
            item=data.item[rows],
            rating=data.rating[rows].astype(np.float64),
            num_users=data.num_users,
            num_items=data.num_items,
            threshold=threshold,
        )

    def share(self, share: float, seed: int = 0) -> "Rated":
        """Draw a share of the ratings, at least one; smaller shares are parts of larger ones."""
        order = np.random.default_rng([seed, 3]).permutation(len(self.user))
        kept = np.sort(order[: max(1, round(share * len(order)))])
        columns = {name: getattr(self, name)[kept] for name in ("user", "item", "rating")}
        return dataclasses.replace(self, **columns)

    def counts(self) -> np.ndarray:
        """Number of ratings of each item: `[I]`."""
        return np.bincount(self.item, minlength=self.num_items)

    @property
    def liked(self) -> np.ndarray:
        """`[n]` bool, which ratings are likes."""
        return self.rating >= self.threshold


def _popularity(rated: Rated, data: Sequence[Datum], seed: int) -> np.ndarray:
    return rated.counts()[_candidates(data)]


def _likes(rated: Rated, data: Sequence[Datum], seed: int) -> np.ndarray:
    counts = np.bincount(rated.item[rated.liked], minlength=rated.num_items)
    return counts[_candidates(data)]


def _item_mean(rated: Rated, data: Sequence[Datum], seed: int) -> np.ndarray:
    total = np.bincount(rated.item, rated.rating, rated.num_items)
    counts = rated.counts()
    # An item without a rating is taken for an average one.
    mean = np.where(counts > 0, total / np.maximum(counts, 1), rated.rating.mean())
    return mean[_candidates(data)]


def _item_knn(rated: Rated, data: Sequence[Datum], seed: int) -> np.ndarray:
    """Similarity to the liked items of the history, by the users who like both."""
    user, item = rated.user[rated.liked], rated.item[rated.liked]
    ends = np.cumsum(np.bincount(user, minlength=rated.num_users))[:-1]
    params = item_knn.fit(np.split(item, ends), rated.num_items)
    asked = Questions(data=data, prompts=())
    histories = np.full((len(data), max(1, *map(len, asked.seen))), -1, np.int32)
    for row, history in enumerate(asked.seen):
        histories[row, histories.shape[1] - len(history) :] = history
    scores = np.asarray(item_knn.scores(params, {"history": histories}), np.float64)
    return np.take_along_axis(scores, _candidates(data), axis=1)


def _mf(rated: Rated, data: Sequence[Datum], seed: int) -> np.ndarray:
    params = mf_ratings.fit(
        rated.user,
        rated.item,
        rated.rating,
        rated.num_users,
        rated.num_items,
        width=_MF_WIDTH,
        regularization=_MF_REGULARIZATION,
        seed=seed,
    )
    return mf_ratings.scores(params, _users(data), _candidates(data))


def _ncf(rated: Rated, data: Sequence[Datum], seed: int) -> np.ndarray:
    if (_users(data) < 0).any():
        raise DataError(
            "baseline ncf knows users by their number, and an instance names none; give each "
            "instance a user, or leave ncf out"
        )
    params = ncf_ratings.fit(
        rated.user,
        rated.item,
        rated.rating,
        rated.num_users,
        rated.num_items,
        _NCF,
        epochs=_NCF_EPOCHS,
        weight_decay=_NCF_DECAY,
        seed=seed,
    )
    return ncf_ratings.scores(params, _users(data), _candidates(data), _NCF)


_SCORES: dict[str, Callable[[Rated, Sequence[Datum], int], np.ndarray]] = {
    "popularity": _popularity,
    "likes": _likes,
    "item-mean": _item_mean,
    "item-knn": _item_knn,
    "mf": _mf,
    "ncf": _ncf,
}


def baseline_scores(name: str, rated: Rated, data: Sequence[Datum], seed: int = 0) -> np.ndarray:
    """Fit a baseline and score the candidates of instances: `[N, A]` float64.

    Args:
      name: "popularity", the number of ratings; "likes", the number of likes; "item-mean", the mean
        rating; "item-knn", the similarity to the history; "mf", matrix factorization of ratings;
        or "ncf", a network over factors.
      rated: ratings to fit on; none may be a pair of a user and a candidate.
      data: N instances.
      seed: of what a baseline draws.

    Raises:
      ConfigError: no such baseline.
      DataError: instances that the baseline cannot score.

    Example:
      >>> from jaxrec.systems.llm4rs.baselines import Rated
      >>> three = np.array([0, 1, 1])
      >>> rated = Rated(
      ...     user=three, item=three, rating=three + 3.0, num_users=2, num_items=2, threshold=4.0
      ... )
      >>> one = Datum(user=0, candidates=np.array([1, 0]), item=1)
      >>> baseline_scores("popularity", rated, [one]).tolist()
      [[2.0, 1.0]]
    """
    if name not in _SCORES:
        raise ConfigError(
            f"no baseline {name!r}{nearest(name, _SCORES)}; baselines: {', '.join(_SCORES)}"
        )
    return np.asarray(_SCORES[name](rated, data, seed), np.float64)


def _candidates(data: Sequence[Datum]) -> np.ndarray:
    return Questions(data=data, prompts=()).candidates


def _users(data: Sequence[Datum]) -> np.ndarray:
    return Questions(data=data, prompts=()).users
