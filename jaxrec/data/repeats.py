"""Duplicate rows and repeated items: a user's interactions that say nothing new, or come back.

A duplicate row equals another one in user, item, rating and time (in whole seconds). A repeat is an
interaction with an item that its user already had; a list that leaves out seen items can never hit
it as a target.
"""

from typing import Literal

import numpy as np

from jaxrec.data.interactions import Interactions

Drop = Literal["none", "duplicates", "repeats"]


def duplicate_rows(interactions: Interactions) -> np.ndarray:
    """Return which rows equal an earlier row in user, item, rating and time, [n] bool.

    Where only the order is known, a row that directly follows an equal one is a duplicate.

    Example:
      >>> data = Interactions.from_columns(user=["u"] * 3, item=list("aab"), time=[1, 1, 2])
      >>> duplicate_rows(data).tolist()
      [False, True, False]
    """
    n = len(interactions)
    rating = np.nan_to_num(interactions.rating, nan=-np.inf)
    keys = [interactions.user, interactions.item, rating]
    order = np.arange(n)
    if interactions.time_unit == "s":
        keys.append(interactions.time)
        order = np.lexsort((order, *keys[::-1]))
    same = np.ones(max(n - 1, 0), bool)
    for key in (key[order] for key in keys):
        same &= key[1:] == key[:-1]
    found = np.zeros(n, bool)
    found[order[1:][same]] = True
    return found


def repeated_items(interactions: Interactions) -> np.ndarray:
    """Return which rows are about an item that the user already had, [n] bool.

    Example:
      >>> data = Interactions.from_columns(user=["u"] * 3, item=list("aba"), time=[1, 2, 3])
      >>> repeated_items(data).tolist()
      [False, False, True]
    """
    order = np.lexsort((np.arange(len(interactions)), interactions.item, interactions.user))
    user, item = interactions.user[order], interactions.item[order]
    found = np.zeros(len(interactions), bool)
    found[order[1:]] = (np.diff(user) == 0) & (np.diff(item) == 0)
    return found


def repeated_targets(interactions: Interactions) -> int:
    """Return the number of users whose last or second last item is one that they had before.

    Example:
      >>> data = Interactions.from_columns(user=["u"] * 3, item=list("aba"), time=[1, 2, 3])
      >>> repeated_targets(data)
      1
    """
    counts = np.diff(interactions.offsets)
    ends = interactions.offsets[1:][counts >= 3]
    again = repeated_items(interactions)
    return int((again[ends - 1] | again[ends - 2]).sum()) if len(ends) else 0


def drop_repeats(interactions: Interactions, which: Drop) -> Interactions:
    """Return the interactions without duplicate rows, or with each user's first of every item.

    Example:
      >>> data = Interactions.from_columns(user=["u"] * 3, item=list("aba"), time=[1, 2, 3])
      >>> len(drop_repeats(data, "duplicates")), len(drop_repeats(data, "repeats"))
      (3, 2)
    """
    if which == "none":
        return interactions
    found = duplicate_rows if which == "duplicates" else repeated_items
    return interactions.select(~found(interactions))
