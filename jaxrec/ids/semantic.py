"""Semantic IDs: an item's path down the tree of categories, then its place in the last category.

    Beauty > Makeup > Nails     0 2 5 | 0        the first item right below Nails
    Beauty > Makeup             0 2 | 31         codes of places come after those of categories

A category's code stands for the category *and* its parent: "Accessories" below "Makeup" and below
"Hair" are two. So the codes of a level form a tree; sharing them by name alone was clearly worse in
the paper (its "non-tree" variant, here `tree=False`). IDs are of different lengths
(`lengths.closed`), unique, and none begins another.

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
    """Return the category paths of the items as IDs; unique, of different lengths.

    Categories are numbered in alphabetical order, places in the order of item numbers. An item
    without categories has a place right below the root. First categories that all items share
    ("Beauty" in a table of beauty products) say nothing and are left out.

    Args:
      paths: I lists of category names, the widest first.
      tree: one code for each category below each parent; False: one for each name at each level.
      max_depth: categories of a path that count, after those that all share; None: all.

    Raises:
      ConfigError: max_depth below 1.
      DataError: no items, or a path that is one string instead of a list.
    """
    if max_depth is not None and max_depth < 1:
        raise ConfigError(f"max_depth must be at least 1 or None, got {max_depth}")
    if len(paths) == 0:
        raise DataError("no items to give IDs to: no category paths")
    for item, path in enumerate(paths):
        if isinstance(path, str):
            raise DataError(
                f"the categories of item {item} are one string, {path!r}; "
                "give a list of names, the widest first"
            )
    shared = _common(paths)
    cut = [tuple(path[shared:][:max_depth]) for path in paths]
    depth = max(len(path) for path in cut)
    codes: list[dict[tuple[str, ...], int]] = []  # of each level: what a code stands for -> code
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
    """How many first categories all paths share."""
    # What the first and the last in alphabetical order share, all share.
    low, high = min(map(tuple, paths)), max(map(tuple, paths))
    same = (a == b for a, b in zip(low, high, strict=False))
    return sum(itertools.takewhile(bool, same))


def _key(path: tuple[str, ...], level: int, tree: bool) -> tuple[str, ...]:
    """What the code of a path at a level stands for."""
    return path[: level + 1] if tree else (path[level],)
