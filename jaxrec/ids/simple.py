"""Controls: random IDs, and independent IDs (one token an item).

A scheme that means something must beat random IDs of the same shape; independent IDs show what is
lost or gained by sharing codes between items at all (cf. the ID comparison of Hua et al., "How to
Index Item IDs for Recommendation Foundation Models", 2023).
"""

import math
from collections.abc import Sequence

import numpy as np

from jaxrec.core.errors import ConfigError
from jaxrec.ids.codes import ItemCodes, groups, level_sizes
from jaxrec.ids.statistics import code_statistics


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
    return ItemCodes(codes, sizes, "random", {"seed": seed, **code_statistics(codes, sizes)})


def independent(num_items: int) -> ItemCodes:
    """Return one token an item: codes [I, 1] = 0..I-1."""
    codes = np.arange(num_items, dtype=np.int32)[:, None]
    return ItemCodes(codes, (num_items,), "independent", code_statistics(codes, (num_items,)))


def check_room(num_items: int, sizes: Sequence[int]) -> None:
    """Raise ConfigError when the grid of IDs is smaller than the number of items."""
    total = math.prod(sizes)
    if total < num_items:
        grid = " x ".join(str(size) for size in sizes)
        raise ConfigError(
            f"{num_items} items do not fit into {grid} = {total} IDs; "
            "raise the codebook size or the number of levels"
        )
