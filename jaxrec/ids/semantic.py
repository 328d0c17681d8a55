"""Semantic IDs: an item's path down the category tree, then its position in the last category.

    Beauty > Makeup > Nails     0 2 5 | 0        the first item directly below Nails
    Beauty > Makeup             0 2 | 31         position codes come after category codes

A category's code stands for the category *and* its parents, so "Accessories" below "Makeup" and
below "Hair" have two codes, and the codes of a level form a tree. In the paper, codes that were
shared by name alone were clearly worse (its "non-tree" variant, here `tree=False`). IDs differ in
length (see `lengths.closed`), are unique, and none is a prefix of another.

Source: semantic indexing (SemID) of Hua, Xu, Ge and Zhang, "How to Index Item IDs for
Recommendation Foundation Models", 2023.

Shapes: `I` items, `L` levels.
"""

import itertools
from collections import Counter
from collections.abc import Sequence

from jaxrec.core import ConfigError, DataError
from jaxrec.ids.codes import ItemCodes
from jaxrec.ids.lengths import pad_rows
from jaxrec.ids.statistics import code_statistics


def fit(
    paths: Sequence[Sequence[str]], *, tree: bool = True, max_depth: int | None = None
) -> ItemCodes:
    """Return the category paths of the items as IDs, which are unique and differ in length.

    Categories are numbered in alphabetical order, and positions in the order of item numbers. An
    item without categories has a position directly below the root. First categories that all items
    share ("Beauty" in a table of beauty products) carry no information and are left out.

    Args:
      paths: I lists of category names, the widest first.
      tree: True gives one code to each category below each parent, False one code to each name at
        each level.
      max_depth: number of categories used, not counting those that all items share; None uses all.

    Raises:
      ConfigError: `max_depth` is below 1.
      DataError: there are no items, or a path is one string instead of a list.

    Example:
      >>> fit([["Hair"], ["Makeup", "Nails"], ["Hair"]]).codes.tolist()
      [[0, 1, -1], [1, 0, 0], [0, 2, -1]]
    """
    if max_depth is not None and max_depth < 1:
        raise ConfigError(f"max_depth must be at least 1 or None, got {max_depth}")
    if len(paths) == 0:
        raise DataError("there are no items to give IDs to; give one category path per item")
    for item, path in enumerate(paths):
        if isinstance(path, str):
            raise DataError(
                f"the categories of item {item} are one string, {path!r}; "
                "give a list of names, the widest first"
            )
    shared = _common(paths)
    cut = [tuple(path[shared:][:max_depth]) for path in paths]
    depth = max(len(path) for path in cut)
    codes: list[dict[tuple[str, ...], int]] = []  # per level: key of a category -> its code
    for level in range(depth):
        # Sorted paths keep siblings together.
        keys = {_key(path, level, tree) for path in cut if len(path) > level}
        codes.append({key: code for code, key in enumerate(sorted(keys))})
    taken: Counter[tuple[str, ...]] = Counter()
    rows = []
    for path in cut:
        first_place = len(codes[len(path)]) if len(path) < depth else 0
        row = [codes[level][_key(path, level, tree)] for level in range(len(path))]
        rows.append([*row, first_place + taken[path]])
        taken[path] += 1
    padded = pad_rows(rows)
    sizes = tuple((padded.max(axis=0) + 1).tolist())
    metadata = {
        "tree": tree,
        "shared": list(paths[0][:shared]),
        "categories": [len(level) for level in codes],
        "largest_category": max(taken.values()),
        "no_category": sum(not path for path in cut),
    }
    statistics = code_statistics(padded, sizes)
    return ItemCodes(
        codes=padded, sizes=sizes, scheme="semantic", metadata={**metadata, **statistics}
    )


def _common(paths: Sequence[Sequence[str]]) -> int:
    """Return the number of first categories that all paths share."""
    # Whatever the alphabetically first and last paths share, all paths share.
    low, high = min(map(tuple, paths)), max(map(tuple, paths))
    same = (a == b for a, b in zip(low, high, strict=False))
    return sum(itertools.takewhile(bool, same))


def _key(path: tuple[str, ...], level: int, tree: bool) -> tuple[str, ...]:
    """Return the key of a path's category at a level."""
    return path[: level + 1] if tree else (path[level],)
