"""How well the codes are used: collisions, utilization, entropy, perplexity."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.ids.codes import sort_order_with_ends

# Below this share of the codes that could be in use a codebook counts as collapsed: a trained
# quantizer that works uses nearly all codes, one that collapsed a handful.
COLLAPSED = 0.1


def code_statistics(codes: np.ndarray, sizes: Sequence[int]) -> dict[str, Any]:
    """Return JSON-able statistics of codes [I, L], whose rows may end early with -1.

    Keys: `items`; `mean_length`: codes an ID; `unique_share`: distinct IDs over items;
    `collision_share`: share of items whose ID another item has too; `largest_group`: most items on
    one ID; `must_move`: items that have to move for IDs to be unique; and lists over levels:
    `prefix_collision_share`: share of items whose ID up to that level another item has too;
    `utilization` (codes in use over codes), `entropy` (bits, over the items whose ID gets so far),
    `perplexity` (2^entropy), `collapsed_levels` (levels that use under a tenth of the codes they
    could, the lesser of C and of the items whose ID gets so far).
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
        share = np.bincount(column, minlength=size) / max(len(column), 1)
        share = share[share > 0]
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
    """One line on the levels of `code_statistics` that collapsed; None where none did."""
    levels = statistics["collapsed_levels"]
    if not levels:
        return None
    shares = ", ".join(f"{statistics['utilization'][level]:.1%}" for level in levels)
    return (
        f"codebook collapse: levels {levels} use only {shares} of their codes, and under "
        f"{COLLAPSED:.0%} of those that their items could; use richer vectors or smaller codebooks"
    )


def warn_collapsed(statistics: dict[str, Any]) -> None:
    """Warn once, in one line, when a level of `code_statistics` collapsed."""
    message = collapse_warning(statistics)
    if message:
        warnings.warn(message, stacklevel=3)
