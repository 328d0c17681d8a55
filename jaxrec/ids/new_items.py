"""IDs for items that came after the fit: the codebooks stay, each new item takes a free ID.

Shapes: `I` items, `I'` new items, `L` levels, `D` vector width, `U` users.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.ids import collaborative, svd
from jaxrec.ids.codes import ItemCodes, groups, quantized_levels
from jaxrec.ids.collisions import QUANTIZERS, free_ids
from jaxrec.ids.simple import check_room


def encode_items(item_codes: ItemCodes, vectors: Any) -> np.ndarray:
    """Return an ID for each new item, int32 [I', L]: free, and different from one another.

    The items get the codes of their vectors where these are free, in the order given; the others
    get the nearest free ID, as `collisions.repair` moves items. Where a suffix was added, equal
    codes take the next free suffix first. Nothing about the old items changes:
    `dataclasses.replace(item_codes, codes=numpy.concatenate([item_codes.codes, new]))` holds all.

    Args:
      item_codes: unique IDs of a scheme that can code new items.
      vectors: of the new items. "pq", "rq", "rqvae": [I', D], made as those of the fit were.
        "svd": who met them, zeros and ones [I', U], sparse or an array, users as in the fit.
        "collaborative": how often they were met with each old item, [I', I], likewise.

    Raises:
      ConfigError: a scheme that cannot code new items, vectors of another width, or no free IDs.
      DataError: vectors that are not a finite matrix.
    """
    if item_codes.scheme == "collaborative":
        return collaborative.encode(item_codes, vectors)
    module = QUANTIZERS.get(item_codes.scheme)
    if module is None:
        known = ", ".join(sorted([*QUANTIZERS, "collaborative"]))
        raise ConfigError(
            f"{item_codes.scheme!r} IDs have no codebooks to code new items with; schemes that do: "
            f"{known}. Fit again with the new items"
        )
    if item_codes.scheme == "svd":
        vectors = svd.coordinates(item_codes, vectors)
    vectors = np.asarray(vectors)
    check_room(item_codes.num_items + len(vectors), item_codes.sizes)
    best = module.encode(item_codes, vectors)
    suffixes = item_codes.levels - quantized_levels(item_codes)
    wanted = np.pad(best, ((0, 0), (0, suffixes)))
    # Old items come first in each group, so that a new one keeps its wish only where none is.
    group, counts = groups(np.concatenate([item_codes.codes, wanted]), item_codes.sizes)
    first = np.full(len(counts), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    mine = group[item_codes.num_items :]
    kept = first[mine] == np.arange(item_codes.num_items, len(group))
    codes = wanted.copy()
    taken = dataclasses.replace(item_codes, codes=np.concatenate([item_codes.codes, wanted[kept]]))
    codes[~kept] = free_ids(taken, wanted[~kept], vectors[~kept], mine[~kept])
    return codes
