"""Apply additions and removals to the items of an index, on the host, in numpy."""

import numpy as np

from jaxrec.core import DataError
from jaxrec.ids.codes import check_codes


def changed(
    table: np.ndarray,
    leaves: np.ndarray,
    sizes: tuple[int, ...],
    codes: np.ndarray | None,
    items: np.ndarray | None,
    remove: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the IDs of all item numbers, and which numbers are items; see `ItemIndex.updated`.

    Args:
      table: IDs by item number [I, L]; not modified.
      leaves: numbers of the present items.
      sizes: codebook size of each level.
      codes: IDs of added items [A, L]; None adds none.
      items: numbers of the added items [A]; None takes the numbers after the largest.
      remove: numbers of removed items [R]; None removes none.

    Returns:
      IDs [I', L], and bool [I'] that is True for items.

    Raises:
      DataError: a code is outside its level's size, a removed number is not an item, the numbers of
        added items and IDs differ, or no item is left.
    """
    live = np.zeros(len(table), bool)
    live[leaves] = True
    for item in np.atleast_1d(np.asarray([] if remove is None else remove, np.int64)):
        if not (0 <= item < len(live) and live[item]):
            raise DataError(f"item {item} cannot be removed: the index has no such item")
        live[item] = False
    if codes is not None:
        new, _ = check_codes(codes, sizes)
        top = int(np.flatnonzero(live).max(initial=-1)) + 1
        given = np.arange(top, top + len(new)) if items is None else np.asarray(items, np.int64)
        if given.shape != (len(new),) or given.min() < 0:
            raise DataError(
                f"{len(new)} added IDs need {len(new)} item numbers of at least 0, got {given}"
            )
        more = max(int(given.max()) + 1 - len(table), 0)
        table, live = np.pad(table, ((0, more), (0, 0))), np.pad(live, (0, more))
        table[given], live[given] = new, True
    if not live.any():
        raise DataError("the last item of an index cannot be removed; add others first")
    return table, live
