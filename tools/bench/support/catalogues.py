"""Random catalogues of distinct item IDs, with uniform codes or a few frequent ones."""

import numpy as np

from jaxrec.ids import groups


def distinct_codes(items: int, levels: int, size: int, draw: str) -> np.ndarray:
    """Draw about `items` distinct random IDs, int32 [I, L], in random order.

    Args:
      items: I, or a few less where random IDs collide.
      levels: L.
      size: codes a level.
      draw: "uniform" or "zipf".
    """
    rng = np.random.default_rng(0)
    share = rng.random((int(1.4 * items), levels))
    # The inverse of the distribution function of a density that falls as 1 / rank.
    ranks = share * size if draw == "uniform" else (size + 1) ** share - 1
    codes = np.minimum(ranks, size - 1).astype(np.int32)
    group, _ = groups(codes, (size,) * levels)
    codes = codes[np.unique(group, return_index=True)[1]]
    return codes[rng.permutation(len(codes))[:items]]
