"""IDs for items that are added after the fit: codebooks stay, and each new item takes a free ID.

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
    """Return a free ID for each new item, int32 [I', L], all of them different.

    In the order given, each item gets the codes of its vector if these are free. Otherwise it gets
    the nearest free ID, as in `repair`; IDs with a suffix first try the next free suffix. The IDs
    of old items do not change, so
    `dataclasses.replace(item_codes, codes=numpy.concatenate([item_codes.codes, new]))` holds all.

    Args:
      item_codes: unique IDs of a scheme that can code new items.
      vectors: vectors of the new items. For "pq", "rq" and "rqvae": [I', D], made like those of the
        fit. For "svd": zeros and ones [I', U], sparse or an array, which say what users of the fit
        have the item. For "collaborative": number of co-occurrences with each old item [I', I],
        sparse or an array.

    Raises:
      ConfigError: the scheme cannot code new items, the vectors have another width, or no ID is
        free.
      DataError: the vectors are not a finite matrix.

    Example:
      >>> from jaxrec.ids import pq
      >>> codes = pq.fit(np.array([[0.0, 0.0], [1.0, 1.0]]), levels=2, size=2)
      >>> codes.codes.tolist()
      [[0, 0], [1, 1]]
      >>> encode_items(codes, np.array([[0.1, 0.9]])).tolist()
      [[0, 1]]
    """
    if item_codes.scheme == "collaborative":
        return collaborative.encode(item_codes, vectors)
    module = QUANTIZERS.get(item_codes.scheme)
    if module is None:
        known = ", ".join(sorted([*QUANTIZERS, "collaborative"]))
        raise ConfigError(
            f"{item_codes.scheme!r} IDs have no codebooks that could code new items; fit again "
            f"with the new items, or use one of the schemes {known}"
        )
    if item_codes.scheme == "svd":
        vectors = svd.coordinates(item_codes, vectors)
    vectors = np.asarray(vectors)
    check_room(item_codes.num_items + len(vectors), item_codes.sizes)
    best = module.encode(item_codes, vectors)
    suffixes = item_codes.levels - quantized_levels(item_codes)
    wanted = np.pad(best, ((0, 0), (0, suffixes)))
    # Old items come first in each group, so a new item keeps its code only if no old item has it.
    group, counts = groups(np.concatenate([item_codes.codes, wanted]), item_codes.sizes)
    first = np.full(len(counts), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    mine = group[item_codes.num_items :]
    kept = first[mine] == np.arange(item_codes.num_items, len(group))
    codes = wanted.copy()
    taken = dataclasses.replace(item_codes, codes=np.concatenate([item_codes.codes, wanted[kept]]))
    codes[~kept] = free_ids(taken, wanted[~kept], vectors[~kept], mine[~kept])
    return codes
