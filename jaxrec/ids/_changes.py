"""Which items an index has after some were added and removed, on the host, in numpy."""

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
    """The IDs of all item numbers, and which of them are items; see `ItemIndex.updated`.

    Args:
      table: IDs by item number [I, L]; not changed.
      leaves: the items there are.
      sizes: codebook size of each level.
      codes: IDs of added items [A, L].
      items: their numbers [A].
      remove: numbers of removed items [R].

    Returns:
      IDs [I', L], and bool [I'].

    Raises:
      DataError: codes outside the sizes, a removed number that is no item, not one number an ID, or
        no item is left.
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
            raise DataError(f"{len(new)} added IDs need as many item numbers, got {given}")
        more = max(int(given.max()) + 1 - len(table), 0)
        table, live = np.pad(table, ((0, more), (0, 0))), np.pad(live, (0, more))
        table[given], live[given] = new, True
    if not live.any():
        raise DataError("an index cannot lose its last item")
    return table, live
