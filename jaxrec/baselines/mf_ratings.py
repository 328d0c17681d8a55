"""Matrix factorization of ratings with biases, by alternating least squares.

It minimizes, over the ratings of training,

    Σ_ui (r_ui - μ - b_u - b_i - x_u · y_i)² + λ Σ_u n_u |(x_u, b_u)|² + λ Σ_i n_i |(y_i, b_i)|²

with n the numbers of ratings ("ALS with weighted-λ-regularization", Zhou et al., Large-Scale
Parallel Collaborative Filtering for the Netflix Prize, AAIM 2008; the biases are those of Koren,
Bell and Volinsky 2009). With the items fixed each user is a ridge regression, and the reverse.

Shapes: `n` ratings, `U` users, `I` items, `D` factors, `N` rows of candidates, `A` candidates.
"""

from collections.abc import Mapping

import numpy as np

from jaxrec.core import ConfigError, DataError, check_numbers


def fit(
    user: np.ndarray,
    item: np.ndarray,
    rating: np.ndarray,
    num_users: int,
    num_items: int,
    *,
    width: int = 20,
    regularization: float = 0.1,
    iterations: int = 15,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Alternate between users and items, starting from small random item vectors.

    Args:
      user: `[n]` user numbers.
      item: `[n]` item numbers.
      rating: `[n]` ratings.
      num_users: U.
      num_items: I.
      width: D.
      regularization: λ > 0.
      iterations: number of times that users and then items are solved.
      seed: determines the initial item vectors.

    Returns:
      "mean" `[1]`, "users" `[U, D]`, "user_bias" `[U]`, "items" `[I, D]` and "item_bias" `[I]`,
      float64; zeros for a user or an item without a rating.

    Raises:
      ConfigError: a setting is out of range.
      DataError: no ratings, one that is not finite, or a number that is no user or no item.

    Example:
      >>> import numpy as np
      >>> from jaxrec.baselines import mf_ratings
      >>> user, item = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
      >>> params = mf_ratings.fit(user, item, np.array([5.0, 1.0, 4.0, 2.0]), 2, 2, width=1)
      >>> scores = mf_ratings.scores(params, np.array([0]), np.array([[0, 1]]))
      >>> bool(scores[0, 0] > scores[0, 1])
      True
    """
    if min(width, iterations) < 1 or not regularization > 0:
        raise ConfigError(
            f"width {width} and iterations {iterations} must be at least 1, and regularization "
            f"{regularization} must be above 0"
        )
    check_numbers(user, num_users, "users of ratings", missing=False)
    check_numbers(item, num_items, "items of ratings", missing=False)
    rating = np.asarray(rating, np.float64)
    if not len(rating) or not np.isfinite(rating).all():
        raise DataError("matrix factorization needs ratings, all of them finite numbers")
    mean = rating.mean()
    rest = rating - mean
    # The last column is the bias: vectors of the other side have a 1 there.
    users = np.zeros((num_users, width + 1))
    items = np.random.default_rng(seed).normal(0, 0.1, (num_items, width + 1))
    items[:, -1] = 0
    by_user, by_item = _groups(user, num_users), _groups(item, num_items)
    for _ in range(iterations):
        users = _solve(by_user, item, items, rest, regularization)
        items = _solve(by_item, user, users, rest, regularization)
    return {
        "mean": np.array([mean]),
        "users": users[:, :-1],
        "user_bias": users[:, -1],
        "items": items[:, :-1],
        "item_bias": items[:, -1],
    }


def scores(
    params: Mapping[str, np.ndarray], users: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Predict ratings of candidates: `[N, A]` float64.

    Args:
      params: returned by `fit`.
      users: `[N]` user numbers; -1 for an unknown user, who has no bias and no taste.
      candidates: `[N, A]` item numbers.

    Raises:
      DataError: a number that is no user or no item.
    """
    users, candidates = np.asarray(users), np.asarray(candidates)
    check_numbers(users, len(params["users"]), "users")
    check_numbers(candidates, len(params["items"]), "candidates", missing=False)
    known = (users >= 0).astype(np.float64)
    taste = np.einsum("nd,nad->na", params["users"][users], params["items"][candidates])
    own = (params["user_bias"][users] * known)[:, None]
    return params["mean"][0] + own + params["item_bias"][candidates] + taste * known[:, None]


def _groups(number: np.ndarray, count: int) -> list[np.ndarray]:
    """List the rows of each user or item."""
    order = np.argsort(number, kind="stable")
    return np.split(order, np.cumsum(np.bincount(number, minlength=count))[:-1])


def _solve(
    groups: list[np.ndarray],
    other: np.ndarray,
    fixed: np.ndarray,
    rest: np.ndarray,
    regularization: float,
) -> np.ndarray:
    """Solve the vectors of one side, given those of the other."""
    found = np.zeros((len(groups), fixed.shape[1]))
    eye = np.eye(fixed.shape[1])
    for number, rows in enumerate(groups):
        if not len(rows):
            continue
        vectors = fixed[other[rows]]
        goal = rest[rows] - vectors[:, -1]
        vectors[:, -1] = 1
        left = vectors.T @ vectors + regularization * len(rows) * eye
        found[number] = np.linalg.solve(left, vectors.T @ goal)
    return found
