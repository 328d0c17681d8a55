"""Rating baselines: means, and biases of users and items.

Shapes: `n` ratings, `U` users, `I` items.
"""

import numpy as np

from jaxrec.data import Interactions


def item_means(data: Interactions, train: np.ndarray) -> np.ndarray:
    """Predict the mean of the item's training ratings, for all rows of the data: [n] float64.

    Args:
      data: with ratings.
      train: rows that may be read; every item must have one.
    """
    item, rating = data.item[train], data.rating[train].astype(np.float64)
    total = np.bincount(item, rating, minlength=data.num_items)
    return (total / np.maximum(np.bincount(item, minlength=data.num_items), 1))[data.item]


def biases(
    data: Interactions, train: np.ndarray, user_weight: float = 5.0, item_weight: float = 5.0
) -> np.ndarray:
    """Predict mean + user's bias + item's bias, for all rows of the data: [n] float64.

    The biases are those of least squares with a penalty on each (Koren, Bell and Volinsky, Matrix
    Factorization Techniques for Recommender Systems, 2009), found by turns.

    Args:
      data: with ratings.
      train: rows that may be read.
      user_weight: penalty λ; a user with k ratings moves k / (k + λ) of the way.
      item_weight: likewise.
    """
    user, item = data.user[train], data.item[train]
    rating = data.rating[train].astype(np.float64)
    mean = rating.mean()
    of_user, of_item = np.zeros(data.num_users), np.zeros(data.num_items)
    users = np.bincount(user, minlength=len(of_user))
    items = np.bincount(item, minlength=len(of_item))
    for _ in range(20):
        left = rating - mean - of_user[user]
        of_item = np.bincount(item, left, minlength=len(of_item)) / (items + item_weight)
        left = rating - mean - of_item[item]
        of_user = np.bincount(user, left, minlength=len(of_user)) / (users + user_weight)
    return mean + of_user[data.user] + of_item[data.item]
