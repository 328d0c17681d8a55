"""Controls: random IDs, independent IDs (one token per item), and sequential IDs.

A meaningful scheme must beat random IDs of the same shape. Independent IDs show the effect of
sharing codes between items at all. Sequential IDs give neighbours in a history neighbouring numbers
and thus a common code. Compare Hua, Xu, Ge and Zhang, "How to Index Item IDs for Recommendation
Foundation Models", 2023.

Shapes: `I` items, `U` users, `L` levels.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.ids.codes import ItemCodes, groups, level_sizes
from jaxrec.ids.cooccurrence import flat
from jaxrec.ids.statistics import code_statistics

Order = Literal["given", "time", "longest", "shortest", "random"]


def random(num_items: int, levels: int, size: int | Sequence[int], seed: int = 0) -> ItemCodes:
    """Return I distinct IDs, drawn uniformly from the grid of `levels` codes.

    Raises:
      ConfigError: the grid has fewer IDs than there are items.

    Example:
      >>> random(num_items=4, levels=2, size=2).metadata["unique_share"]
      1.0
    """
    sizes = level_sizes(levels, size)
    check_room(num_items, sizes)
    rng = np.random.default_rng(seed)
    total = math.prod(sizes)
    if total < 4 * num_items:
        # Redrawing takes long in a nearly full grid, and this grid is small enough to list.
        flat = rng.permutation(total)[:num_items]
        codes = np.stack(np.unravel_index(flat, sizes), axis=1).astype(np.int32)
    else:
        codes = rng.integers(0, sizes, (num_items, levels), dtype=np.int32)
        while True:
            group, counts = groups(codes, sizes)
            if len(counts) == num_items:
                break
            _, kept = np.unique(group, return_index=True)
            again = np.setdiff1d(np.arange(num_items), kept)
            codes[again] = rng.integers(0, sizes, (len(again), levels), dtype=np.int32)
    return ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="random",
        metadata={"seed": seed, **code_statistics(codes, sizes)},
    )


def independent(num_items: int) -> ItemCodes:
    """Return IDs of one token per item: codes [I, 1] = 0..I-1.

    Example:
      >>> independent(3).codes.tolist()
      [[0], [1], [2]]
    """
    codes = np.arange(num_items, dtype=np.int32)[:, None]
    return ItemCodes(
        codes=codes,
        sizes=(num_items,),
        scheme="independent",
        metadata=code_statistics(codes, (num_items,)),
    )


def sequential(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    *,
    base: int = 100,
    order: Order = "given",
    start_times: np.ndarray | None = None,
    seed: int = 0,
) -> ItemCodes:
    """Number items in the order in which they appear in training, and write the numbers in a base.

    Users are visited one after the other, and each new item gets the next number. Items that do not
    appear in training come last. Only the training part counts, because numbers that depended on
    held-out items would reveal them (as in P5). The highest digit comes first. A base of 100 writes
    two decimal digits per code, much like SentencePiece cuts P5's numbers ("7391": 73, 91). The
    number of levels follows from the number of items.

    Args:
      train_sequences: dense item numbers of each user's training part, in time order.
      num_items: I.
      base: codes per level; the first level has as many as it needs.
      order: order of the users: as given; by the time of their first interaction (the best in the
        paper); by length, longest or shortest first; or random.
      start_times: time of each user's first interaction, [U], for the order "time".
      seed: seed of the order "random".

    Raises:
      ConfigError: the base is below 2, the order is unknown, or order "time" has no start times.
      DataError: there are no interactions, or an item number is outside 0..I-1.

    Example:
      >>> sequential([np.array([2, 0]), np.array([1])], 3, base=2).codes.tolist()
      [[0, 1], [1, 0], [0, 0]]
    """
    if base < 2:
        raise ConfigError(f"base must be at least 2, got {base}")
    users = _user_order([len(s) for s in train_sequences], order, start_times, seed)
    _, items = flat([train_sequences[user] for user in users], num_items)
    met, first = np.unique(items, return_index=True)
    number = np.empty(num_items, np.int64)
    number[met[np.argsort(first)]] = np.arange(len(met))
    unmet = np.setdiff1d(np.arange(num_items), met)
    number[unmet] = np.arange(len(met), num_items)
    levels = 1
    while base**levels < num_items:
        levels += 1
    sizes = (-(-num_items // base ** (levels - 1)), *(base,) * (levels - 1))
    codes = np.stack(np.unravel_index(number, sizes), axis=1)
    metadata = {"base": base, "order": order, "seed": seed, "unmet_items": len(unmet)}
    return ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="sequential",
        metadata={**metadata, **code_statistics(codes, sizes)},
    )


def _user_order(
    lengths: Sequence[int], order: Order, start_times: np.ndarray | None, seed: int
) -> np.ndarray:
    """Return the order in which users are visited, int64 [U]; ties stay in the given order."""
    if order not in get_args(Order):
        raise ConfigError(f"unknown order {order!r}; orders: {', '.join(get_args(Order))}")
    if order == "random":
        return np.random.default_rng(seed).permutation(len(lengths))
    if order == "time":
        if start_times is None or len(start_times) != len(lengths):
            raise ConfigError(
                f"order 'time' needs start_times, one for each of {len(lengths)} users"
            )
        return np.argsort(start_times, kind="stable")
    if order == "given":
        return np.arange(len(lengths))
    sign = -1 if order == "longest" else 1
    return np.argsort(sign * np.asarray(lengths), kind="stable")


def check_room(num_items: int, sizes: Sequence[int]) -> None:
    """Raise ConfigError if the grid of IDs is smaller than the number of items."""
    total = math.prod(sizes)
    if total < num_items:
        grid = " x ".join(str(size) for size in sizes)
        room = f"{grid} = {total}" if len(sizes) > 1 else grid
        raise ConfigError(
            f"{num_items} items do not fit into {room} IDs; "
            "raise the codebook size or the number of levels"
        )
