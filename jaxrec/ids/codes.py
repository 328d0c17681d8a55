"""ItemCodes: the ID of every item as a row of codes, with the codebooks that made it.

IDs may differ in length (titles, category paths, cluster trees). A shorter ID is followed by -1.
Everything downstream needs rows of one length, so `lengths.closed` replaces -1 by an END code.

    codes  3  1  4        lengths  3
           0 -1 -1                 1

Shapes: `I` items, `L` levels (longest ID), `C` codes per level, `D` vector width.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from jaxrec.core import ConfigError, DataError, mismatch, read_arrays, write_arrays, write_text

_KIND = "item codes"
# Most codes of a level. Every code is a token with a row of the model's table, so a larger number
# is no code but a hash or a product number.
MAX_SIZE = 1 << 24


class _Settings(TypedDict):
    sizes: list[int]
    scheme: str
    metadata: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ItemCodes:
    """IDs of all items.

    Attributes:
      codes: int32 [I, L]; row i is the ID of dense item i, with -1 after its end.
      sizes: codebook size of each level, length L.
      scheme: name of the module or function that made the IDs ("pq", "random", ...).
      metadata: JSON-able settings and statistics (see `code_statistics`).
      codebooks: plain arrays that code new items; empty for schemes without vectors.

    Raises:
      DataError: the codes have the wrong shape or lie outside `sizes`, an ID is empty, or a code
        follows the end of an ID.

    Example:
      >>> codes = ItemCodes(codes=np.array([[3, 1], [0, -1]]), sizes=(4, 2), scheme="mine")
      >>> codes.num_items, codes.levels, codes.lengths.tolist()
      (2, 2, [2, 1])
    """

    codes: np.ndarray
    sizes: tuple[int, ...]
    scheme: str
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    codebooks: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        codes, sizes = check_codes(self.codes, self.sizes, ends=True)
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "sizes", sizes)

    @property
    def num_items(self) -> int:
        """Number of items I."""
        return self.codes.shape[0]

    @property
    def levels(self) -> int:
        """Length L of the longest ID."""
        return len(self.sizes)

    @property
    def lengths(self) -> np.ndarray:
        """Length of each ID, int64 [I]; END codes of `closed` count."""
        return (self.codes >= 0).sum(axis=1)

    def save(self, directory: str | Path) -> None:
        """Write `codes.npz`, which is complete, and `codes.json`, a readable copy of the settings.

        Each file is replaced whole or not at all.

        Raises:
          ResourceError: the disk is full or the directory cannot be written.
        """
        settings = {
            "kind": _KIND,
            "scheme": self.scheme,
            "sizes": list(self.sizes),
            "items": self.num_items,
            "metadata": self.metadata,
        }
        arrays = {f"codebook/{name}": array for name, array in self.codebooks.items()}
        path = Path(directory)
        write_arrays(path / "codes.npz", {"codes": self.codes, **arrays}, settings)
        write_text(path / "codes.json", json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, directory: str | Path) -> "ItemCodes":
        """Read the IDs that `save` wrote.

        Raises:
          DataError: the file is missing or damaged.
        """
        path = Path(directory) / "codes.npz"
        arrays, settings = read_arrays(path, _KIND)
        if problem := mismatch(settings, _Settings, ""):
            raise DataError(f"{path}: {problem}; write it again with `jaxrec ids`")
        try:
            return cls(
                codes=arrays.pop("codes"),
                sizes=tuple(settings["sizes"]),
                scheme=settings["scheme"],
                metadata=settings["metadata"],
                codebooks={name.removeprefix("codebook/"): a for name, a in arrays.items()},
            )
        except KeyError as error:
            raise DataError(f"{path} lacks {error}; write it again with `jaxrec ids`") from error


def check_codes(
    codes: np.ndarray, sizes: Sequence[int], *, ends: bool = False
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return codes as int32 [I, L] and sizes as a tuple of L ints, after checking them.

    Args:
      codes: the IDs.
      sizes: codebook size of each level.
      ends: whether an ID may end early, with -1 from there on.

    Raises:
      DataError: the codes are not a matrix of whole numbers or have no rows, a level has more than
        `MAX_SIZE` codes, a code lies outside its level, an ID is empty, or a code follows the end
        of an ID.
    """
    codes, sizes = np.asarray(codes), tuple(int(size) for size in sizes)
    if min(sizes, default=1) < 1:
        raise DataError(f"codebook sizes must be at least 1, got {sizes}")
    if max(sizes, default=0) > MAX_SIZE:
        raise DataError(
            f"a codebook of {max(sizes):,} codes is larger than {MAX_SIZE:,}, the largest that a "
            "vocabulary can hold; number the codes of each level from 0 without gaps"
        )
    if codes.ndim != 2 or codes.shape[1] != len(sizes) or not sizes:
        raise DataError(f"codes must be [items, {len(sizes)} levels], got shape {codes.shape}")
    if not np.issubdtype(codes.dtype, np.integer):
        raise DataError(f"codes must be whole numbers, got dtype {codes.dtype}")
    if codes.shape[0] == 0:
        raise DataError("there are no items to give IDs to, because the item table is empty")
    bad = np.argwhere((codes < (-1 if ends else 0)) | (codes >= np.asarray(sizes)))
    if len(bad):
        item, level = bad[0]
        raise DataError(
            f"item {item} has code {codes[item, level]} at level {level}; "
            f"codes there are 0..{sizes[level] - 1}"
        )
    if ends:
        _check_ends(codes)
    return codes.astype(np.int32), sizes


def _check_ends(codes: np.ndarray) -> None:
    ended = codes < 0
    if ended[:, 0].any():
        item = int(ended[:, 0].argmax())
        raise DataError(f"item {item} has an empty ID; an ID needs a code at level 0")
    again = np.argwhere(ended[:, :-1] & ~ended[:, 1:])
    if len(again):
        item, level = again[0]
        raise DataError(
            f"the ID of item {item} ends at level {level}, but code {codes[item, level + 1]} "
            f"follows at level {level + 1}; -1 may stand only at the end"
        )


def level_sizes(levels: int, size: int | Sequence[int]) -> tuple[int, ...]:
    """Return the codebook size of each level, given one number or one number per level.

    Raises:
      ConfigError: `levels` or a size is below 1, or the number of sizes is not `levels`.
    """
    if levels < 1:
        raise ConfigError(f"levels must be at least 1, got {levels}")
    sizes = (size,) * levels if isinstance(size, int) else tuple(int(s) for s in size)
    if len(sizes) != levels:
        raise ConfigError(f"{levels} levels need {levels} codebook sizes, got {sizes}")
    if min(sizes) < 1:
        raise ConfigError(f"codebook sizes must be at least 1, got {sizes}")
    return sizes


def sort_order(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return int64 [I], the stable order that sorts the rows of codes [I, L] lexicographically.

    Raises:
      DataError: the IDs differ in length; a trie of fixed depth cannot hold them.
    """
    if codes.min(initial=0) < 0:
        item = int((codes < 0).any(axis=1).argmax())
        raise DataError(
            f"IDs of different lengths: that of item {item} has {(codes[item] >= 0).sum()} codes "
            f"of {len(sizes)}; give them END codes first with ids.closed"
        )
    # Each row is packed into as few 64-bit keys as possible, which sort several times faster than
    # one key per column.
    keys: list[np.ndarray] = []
    room = 0
    for level, size in enumerate(sizes):
        if not keys or room * size >= 2**62:
            keys.append(np.zeros(len(codes), np.int64))
            room = 1
        keys[-1] = keys[-1] * size + codes[:, level]
        room *= size
    return np.argsort(keys[0], kind="stable") if len(keys) == 1 else np.lexsort(keys[::-1])


def sort_order_with_ends(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the order of `sort_order` for IDs that may end early; a prefix comes first."""
    if codes.min(initial=0) < 0:
        return sort_order(codes + 1, [size + 1 for size in sizes])
    return sort_order(codes, sizes)


def groups(codes: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct rows of codes [I, L] in lexicographic order; rows may end early.

    Returns:
      The group of each item, int64 [I], and the number of items in each group, int64 [groups].

    Example:
      >>> group, counts = groups(np.array([[1, 0], [0, 1], [1, 0]]), (2, 2))
      >>> group.tolist(), counts.tolist()
      ([1, 0, 1], [1, 2])
    """
    order = sort_order_with_ends(codes, sizes)
    ranked = codes[order]
    first = np.ones(len(codes), bool)
    first[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    group = np.empty(len(codes), np.int64)
    group[order] = np.cumsum(first) - 1
    return group, np.bincount(group)


def quantized_levels(item_codes: ItemCodes) -> int:
    """Return the number of levels with centroids; the suffix that repair adds has none."""
    return sum(name.startswith("centroids_") for name in item_codes.codebooks)
