"""Rating baselines: item means, and biases of users and items.

Shapes: `n` ratings, `U` users, `I` items.
"""

import numpy as np

from jaxrec.data import Interactions


def item_means(data: Interactions, train: np.ndarray) -> np.ndarray:
    """Predict the mean training rating of the item, for all rows of the data: [n] float64.

    Args:
      data: interactions with ratings.
      train: numbers of the rows that may be read. An item without a training row is predicted as 0.

    Example:
      >>> import numpy as np
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions()
      >>> predicted = item_means(data, np.arange(len(data)))
      >>> bool(np.isclose(predicted[data.item == 0], data.rating[data.item == 0].mean()).all())
      True
    """
    item, rating = data.item[train], data.rating[train].astype(np.float64)
    total = np.bincount(item, rating, minlength=data.num_items)
    return (total / np.maximum(np.bincount(item, minlength=data.num_items), 1))[data.item]


def biases(
    data: Interactions, train: np.ndarray, user_weight: float = 5.0, item_weight: float = 5.0
) -> np.ndarray:
    """Predict mean + user's bias + item's bias, for all rows of the data: [n] float64.

    The biases minimize the squared error with a penalty on each bias (Koren, Bell and Volinsky,
    Matrix Factorization Techniques for Recommender Systems, 2009). They are computed in turn, items
    given users and users given items.

    Args:
      data: interactions with ratings.
      train: numbers of the rows that may be read.
      user_weight: penalty λ on the biases of users; the bias of a user with k ratings is the sum of
        the user's residuals over k + λ.
      item_weight: penalty on the biases of items.

    Example:
      >>> import numpy as np
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions()
      >>> predicted = biases(data, np.arange(len(data)), user_weight=1e9, item_weight=1e9)
      >>> bool(np.allclose(predicted, data.rating.mean(), atol=1e-4))  # all biases are shrunk to 0
      True
    """
    user, item = data.user[train], data.item[train]
    rating = data.rating[train].astype(np.float64)
    mean = rating.mean()
    of_user, of_item = np.zeros(data.num_users), np.zeros(data.num_items)
    users = np.bincount(user, minlength=len(of_user))
    items = np.bincount(item, minlength=len(of_item))
    for _ in range(20):
        rest = rating - mean - of_user[user]
        of_item = np.bincount(item, rest, minlength=len(of_item)) / (items + item_weight)
        rest = rating - mean - of_item[item]
        of_user = np.bincount(user, rest, minlength=len(of_user)) / (users + user_weight)
    return mean + of_user[data.user] + of_item[data.item]
