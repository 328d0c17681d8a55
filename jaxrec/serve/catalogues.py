"""Versions of the catalogue of a recommendation service: read from a file, checked, swapped whole.

A file of a catalogue has the items that were added to a run after its training and the items that
were removed, as `jaxrec.open(RUN).save()` writes them into `RUN/catalogue/changes.json`:

    {"added": [{"item": "2001", "label": "Ran (1985)", "code": [3, 17]}], "removed": ["50"]}

It replaces all earlier changes. Requests that have begun finish with the version that they began
with.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.core import ConfigError, DataError, JaxrecError, shown_value
from jaxrec.runs import Changes, ServedRanker
from jaxrec.serve.recommender import OpenRecommender
from jaxrec.serve.request_errors import RequestError, parse_body

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
# Most bytes of a file.
_LARGEST = 1 << 28
# Digits of a version.
_DIGITS = 12


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ServedCatalogue:
    """One version of the catalogue.

    Attributes:
      model: the run with the changes of this version.
      version: the first digits of the SHA-256 of its changes.
      rankers: the model by the number of rows of a batch.
      first: number of items of the training.

    Example:
      >>> from jaxrec.testing import four_films
      >>> catalogue = ServedCatalogue.of(four_films(), "first", (1,))
      >>> changed = catalogue.changed(b'{"removed": ["9"]}')
      >>> changed.version, changed.removed
      ('2d54c76c8005', True)
      >>> changed.left(None, np.array([0])).tolist()
      [2, 3]
    """

    model: OpenRecommender
    version: str
    rankers: Mapping[int, ServedRanker]
    first: int

    @classmethod
    def of(
        cls, model: OpenRecommender, version: str, batch_sizes: tuple[int, ...], room: float = 0.0
    ) -> "ServedCatalogue":
        """Make the first version.

        Args:
          model: an open run.
          version: its name.
          batch_sizes: see `RecommendShapes`.
          room: share of items that later versions may add, if the system can add items at all.

        Raises:
          ConfigError: a ranker from elsewhere that is no `ServedRanker`.
        """
        if not hasattr(model.ranker, "with_batch"):
            raise ConfigError(
                f"the ranker of {model.directory} is a {type(model.ranker).__name__}, which is no "
                "ServedRanker, so its programs cannot be compiled ahead; use jaxrec recommend"
            )
        if room and hasattr(model.ranker, "with_room"):
            model = dataclasses.replace(model, ranker=model.ranker.with_room(room))
        first = len(model.names) - len(model.changes.added)
        return cls._of(model, version, batch_sizes, first)

    @classmethod
    def _of(
        cls, model: OpenRecommender, version: str, sizes: tuple[int, ...], first: int
    ) -> "ServedCatalogue":
        ranker: Any = model.ranker
        rankers = {size: ranker.with_batch(size) for size in sizes}
        return cls(model=model, version=version, rankers=rankers, first=first)

    @property
    def ranker(self) -> ServedRanker:
        """The model."""
        return next(iter(self.rankers.values()))

    @functools.cached_property
    def history_widths(self) -> list[int]:
        """Lengths to which histories are padded."""
        return self.ranker.history_widths

    @functools.cached_property
    def available(self) -> np.ndarray:
        """`[I]` bool, the items that were not removed."""
        every = np.ones(len(self.model.names), bool)
        every[self.model.names.numbers(self.model.changes.removed, "removed")] = False
        return every

    @functools.cached_property
    def removed(self) -> bool:
        """Whether there are items that were removed."""
        return not self.available.all()

    def left(self, allowed: np.ndarray | None, excluded: np.ndarray) -> np.ndarray:
        """Return the numbers of the items that may be recommended.

        Args:
          allowed: the only ones; None for all.
          excluded: those left out.
        """
        mask = self.available.copy()
        if allowed is not None:
            mask[:] = False
            mask[allowed] = self.available[allowed]
        mask[excluded] = False
        return np.flatnonzero(mask).astype(np.int32)

    def changed(self, content: bytes) -> "ServedCatalogue":
        """Return the version that a file describes, without anything of this one changing.

        Args:
          content: of the file.

        Raises:
          RequestError: no JSON.
          ConfigError: an unknown item.
          DataError: an unknown name, rows that are not what `add_items` wrote, an item that exists,
            IDs that are taken or outside the codebooks, no item left, or more items than there is
            room for.
        """
        value = parse_body(content, "the file")
        changes = _changes(value)
        model = self.model
        names = dataclasses.replace(
            model.names,
            **{key: getattr(model.names, key)[: self.first] for key in ("ids", "labels", "titles")},
        )
        taken = set(map(str, names.ids.tolist()))
        for row in changes.added:
            if row["item"] in taken:
                raise DataError(f"added: there are two items {row['item']!r}; give each one ID")
            taken.add(row["item"])
        names = names.more(
            [row["item"] for row in changes.added], [row["label"] for row in changes.added]
        )
        ranker: Any = model.ranker
        if changes.added or model.changes.added:
            ranker = self._with_added(changes)
        changed = dataclasses.replace(model, ranker=ranker, names=names, changes=changes)
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        made = self._of(changed, digest[:_DIGITS], tuple(self.rankers), self.first)
        if not made.available.any():
            raise DataError("removed: no item would be left; remove fewer")
        return made

    def _with_added(self, changes: Changes) -> Any:
        add = getattr(self.model.ranker, "with_added", None)
        if add is None:
            raise DataError("added: this model cannot know new items; leave added out")
        ranker = add(changes.added)
        if _shapes(ranker) != _shapes(self.model.ranker):
            raise DataError(
                f"added: there is no room for {len(changes.added)} more items than the "
                f"{self.first} of the training; start the service with more --room"
            )
        return ranker


def read_catalogue_file(directory: Path, name: Any) -> bytes:
    """Read a file of a catalogue.

    Args:
      directory: the only one from which files are read.
      name: of the file, without a directory.

    Raises:
      RequestError: a name that is none, no such file, a link, or a file that is too large.

    Example:
      >>> read_catalogue_file(Path("."), "../secret")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.serve.request_errors.RequestError: file must be the name of a file ... got '../secret'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestError(
            "file must be the name of a file in the directory of catalogues, of letters, digits, "
            f"'.', '_' and '-'; got {shown_value(name)}",
            param="file",
        )
    path = directory / name
    if path.is_symlink() or not path.is_file():
        raise RequestError(
            f"there is no file {name} among the catalogues", param="file", status=404
        )
    try:
        if path.stat().st_size > _LARGEST:
            raise RequestError(f"{name} has more than {_LARGEST} bytes", param="file")
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{name} cannot be read", param="file") from error


def as_catalogue_error(error: Exception) -> RequestError:
    """Return why a version was refused, for the client that sent it."""
    if isinstance(error, RequestError) and error.status != 400:
        return error
    reason = str(error) if isinstance(error, JaxrecError) else type(error).__name__
    return RequestError(
        f"the file is no catalogue of this run, and the earlier one stays: {reason}",
        param="file",
        code="bad_catalogue",
    )


def _changes(value: Mapping[str, Any]) -> Changes:
    for name in value:
        if name not in ("added", "removed"):
            raise DataError(
                f"the file has {shown_value(name)}; a catalogue has only added and removed"
            )
    added, removed = value.get("added", []), value.get("removed", [])
    if not isinstance(removed, list) or not all(isinstance(item, str) for item in removed):
        raise DataError(
            f"removed must be a list of IDs of items, each a text; got {shown_value(removed)}"
        )
    if not isinstance(added, list):
        raise DataError(f"added must be a list of rows, got {shown_value(added)}")
    for number, row in enumerate(added):
        texts = isinstance(row, dict) and all(
            isinstance(row.get(k), str) for k in ("item", "label")
        )
        code = row.get("code") if texts else None
        if not (code and isinstance(code, list) and all(type(part) is int for part in code)):
            raise DataError(
                f"added, row {number} must have item and label, which are texts, and code, a list "
                "of whole numbers"
            )
    return Changes(tuple(added), tuple(removed))


def _shapes(ranker: Any) -> Any:
    """What decides whether a program is compiled again."""
    index = ranker.recommender.index
    leaves, tree = jax.tree.flatten(index)
    return tree, [(leaf.shape, leaf.dtype) for leaf in leaves]
