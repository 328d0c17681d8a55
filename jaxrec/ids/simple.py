"""Controls: random IDs, independent IDs (one token an item), and sequential IDs.

A scheme that means something must beat random IDs of the same shape; independent IDs show what is
lost or gained by sharing codes between items at all; sequential IDs give neighbours in a history
neighbouring numbers and thus a code in common (cf. the ID comparison of Hua, Xu, Ge and Zhang, "How
to Index Item IDs for Recommendation Foundation Models", 2023).

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
    """Return I distinct IDs drawn uniformly from the grid of `levels` codes.

    Raises:
      ConfigError: the grid has fewer IDs than there are items.
    """
    sizes = level_sizes(levels, size)
    check_room(num_items, sizes)
    rng = np.random.default_rng(seed)
    total = math.prod(sizes)
    if total < 4 * num_items:
        # Redrawing would take long in a nearly full grid, and this grid is small enough to list.
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
    """Return one token an item: codes [I, 1] = 0..I-1."""
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
    """Return items numbered as they come up in training, written to a base, highest digit first.

    Users are walked through in turn, and each item not met before gets the next number; items that
    no user met in training are numbered last. Only the training part counts: numbers that went by
    the held-out items too would give them away (P5's did). The base of 100 writes two decimal
    digits a code, much as SentencePiece cuts P5's numbers ("7391": 73, 91); the number of items
    gives the levels.

    Args:
      train_sequences: dense item numbers of each user's training part, in time order.
      num_items: I.
      base: codes a level; the first level has as many as it needs.
      order: of the users: as given; by the time of their first interaction (the paper's best);
        by length, longest or shortest first; or random.
      start_times: time of each user's first interaction, [U]; needed for order "time".
      seed: of order "random".

    Raises:
      ConfigError: base below 2, unknown order, or no start times for order "time".
      DataError: no interactions, or an item number outside 0..I-1.
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
    """Users in the order of the walk, int64 [U]; ties stay in the order given."""
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
    """Raise ConfigError when the grid of IDs is smaller than the number of items."""
    total = math.prod(sizes)
    if total < num_items:
        grid = " x ".join(str(size) for size in sizes)
        raise ConfigError(
            f"{num_items} items do not fit into {grid} = {total} IDs; "
            "raise the codebook size or the number of levels"
        )
