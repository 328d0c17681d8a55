"""Statistics of codes: collisions, utilization, entropy, perplexity."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.ids.codes import sort_order_with_ends

# A codebook counts as collapsed below this share of the codes that could be in use. A quantizer
# that works uses nearly all codes, a collapsed one only a handful.
COLLAPSED = 0.1


def code_statistics(codes: np.ndarray, sizes: Sequence[int]) -> dict[str, Any]:
    """Return JSON-able statistics of codes [I, L], whose rows may end early with -1.

    Keys with one number:
      items: number of items.
      mean_length: mean number of codes in an ID.
      unique_share: number of distinct IDs over number of items.
      collision_share: share of items whose ID another item also has.
      largest_group: largest number of items with the same ID.
      must_move: number of items that have to move to make all IDs unique.

    Keys with one number per level:
      prefix_collision_share: share of items whose ID up to this level another item also has.
      utilization: number of codes in use over codebook size.
      entropy: entropy of the codes in bits, over items whose ID reaches the level.
      perplexity: 2^entropy.

    The list `collapsed_levels` has the levels that use less than a tenth of the codes they could
    use, which is the smaller of C and the number of items whose ID reaches the level.

    Example:
      >>> facts = code_statistics(np.array([[0, 1], [0, 1], [1, 0]]), (2, 4))
      >>> facts["must_move"], facts["utilization"]
      (1, [1.0, 0.5])
    """
    items = len(codes)
    order = sort_order_with_ends(codes, sizes)
    fresh = np.zeros(items, bool)
    fresh[0] = True
    used, could, entropies, shared = [], [], [], []
    for level, size in enumerate(sizes):
        column = codes[order, level]
        fresh[1:] |= column[1:] != column[:-1]
        counts = np.diff(np.flatnonzero(fresh), append=items)
        shared.append(float(counts[counts > 1].sum() / items))
        column = column[column >= 0]
        share = np.unique(column, return_counts=True)[1] / max(len(column), 1)
        used.append(len(share))
        could.append(min(size, len(column)))
        # + 0.0 turns the -0.0 of a single code into 0.0.
        entropies.append(float(-(share * np.log2(share)).sum() + 0.0))
    return {
        "items": items,
        "mean_length": float((codes >= 0).sum() / items),
        "unique_share": len(counts) / items,
        "collision_share": shared[-1],
        "largest_group": int(counts.max()),
        "must_move": int(items - len(counts)),
        "prefix_collision_share": shared,
        "utilization": [u / size for u, size in zip(used, sizes, strict=True)],
        "entropy": entropies,
        "perplexity": [2.0**e for e in entropies],
        "collapsed_levels": [
            level
            for level, (u, most) in enumerate(zip(used, could, strict=True))
            if u < COLLAPSED * most
        ],
    }


def collapse_warning(statistics: dict[str, Any]) -> str | None:
    """Return a one-line warning about collapsed levels of `code_statistics`; None if none did.

    Example:
      >>> collapse_warning(code_statistics(np.array([[0], [1]]), (2,))) is None
      True
    """
    levels = statistics["collapsed_levels"]
    if not levels:
        return None
    shares = ", ".join(f"{statistics['utilization'][level]:.1%}" for level in levels)
    return (
        f"codebook collapse: levels {levels} use only {shares} of their codes, and less than "
        f"{COLLAPSED:.0%} of the codes that their items could use; use richer vectors or smaller "
        "codebooks"
    )


def warn_collapsed(statistics: dict[str, Any]) -> None:
    """Warn once, in one line, if a level of `code_statistics` collapsed."""
    message = collapse_warning(statistics)
    if message:
        warnings.warn(message, stacklevel=3)
