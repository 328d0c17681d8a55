"""How well the codes are used: collisions, utilization, entropy, perplexity."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.ids.codes import groups

# Below this share of the codes that could be in use a codebook counts as collapsed: a trained
# quantizer that works uses nearly all codes, one that collapsed a handful.
COLLAPSED = 0.1


def code_statistics(codes: np.ndarray, sizes: Sequence[int]) -> dict[str, Any]:
    """Return JSON-able statistics of codes [I, L].

    Keys: `items`; `unique_share`: distinct IDs over items; `collision_share`: share of items whose
    ID another item has too; `largest_group`: most items on one ID; `must_move`: items that have to
    move for IDs to be unique; and lists over levels: `utilization` (codes in use over codes),
    `entropy` (bits), `perplexity` (2^entropy), `collapsed_levels` (levels that use under a tenth of
    the codes they could, min(C, I)).
    """
    items = len(codes)
    _, counts = groups(codes, sizes)
    used, entropies = [], []
    for level, size in enumerate(sizes):
        share = np.bincount(codes[:, level], minlength=size) / items
        share = share[share > 0]
        used.append(len(share))
        # + 0.0 turns the -0.0 of a single code into 0.0.
        entropies.append(float(-(share * np.log2(share)).sum() + 0.0))
    return {
        "items": items,
        "unique_share": len(counts) / items,
        "collision_share": float(counts[counts > 1].sum() / items),
        "largest_group": int(counts.max()),
        "must_move": int(items - len(counts)),
        "utilization": [u / size for u, size in zip(used, sizes, strict=True)],
        "entropy": entropies,
        "perplexity": [2.0**e for e in entropies],
        "collapsed_levels": [
            level
            for level, (u, size) in enumerate(zip(used, sizes, strict=True))
            if u < COLLAPSED * min(size, items)
        ],
    }


def warn_collapsed(statistics: dict[str, Any]) -> None:
    """Warn once, in one line, when a level of `code_statistics` collapsed."""
    levels = statistics["collapsed_levels"]
    if levels:
        shares = ", ".join(f"{statistics['utilization'][level]:.1%}" for level in levels)
        warnings.warn(
            f"codebook collapse: levels {levels} use only {shares} of their codes; "
            "use richer vectors or smaller codebooks",
            stacklevel=3,
        )
