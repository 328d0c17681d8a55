"""The items of a catalogue by what people call them: original IDs, or titles that are unique."""

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, name_text, shown_value
from jaxrec.data import ItemTable

# Place of a title that several items have.
_SEVERAL = -2
# Names that are compared letter by letter with an unknown one; comparing takes 10 us each.
_COMPARED = 20_000
# How alike two names must be, from 0 to 1, before one is suggested for the other.
_ALIKE = 0.6
# Items that a message lists.
_SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ItemNames:
    """Original IDs and titles of all items.

    Attributes:
      ids: `[I]` original IDs, as objects.
      labels: `[I]` what to show a reader: "Title (year)", or the ID of an item without a title.
      titles: `[I]` titles without a year, "" for none.
      data: name of the data set, for messages.

    Example:
      >>> table = ItemTable(np.array(["50", "7"]), {"title": np.array(["Heat", "Alien"], object)})
      >>> names = ItemNames.of(table, "films")
      >>> names.numbers(["7", "Heat", 50]).tolist()
      [1, 0, 0]
      >>> names.numbers(["Haet"])
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: items: no item 'Haet' in films, did you mean 'Heat'?
    """

    ids: np.ndarray
    labels: np.ndarray
    titles: np.ndarray
    data: str

    @classmethod
    def of(cls, table: ItemTable, data: str) -> "ItemNames":
        """Name the items of a table."""
        titles = table.fields.get("title", np.full(len(table), ""))
        return cls(
            ids=_objects(table.ids.tolist()),
            labels=_objects(table.labels()),
            titles=_objects(titles.tolist()),
            data=data,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def more(self, ids: Sequence[str], labels: Sequence[str]) -> "ItemNames":
        """Return the names with those of further items, which are numbered after all others."""
        return dataclasses.replace(
            self,
            ids=np.concatenate([self.ids, _objects(ids)]),
            labels=np.concatenate([self.labels, _objects(labels)]),
            titles=np.concatenate([self.titles, _objects([""] * len(ids))]),
        )

    @functools.cached_property
    def arrow_ids(self) -> Any:
        """The original IDs as an Arrow array."""
        import pyarrow as pa

        return pa.array(self.ids.tolist(), pa.string())

    @functools.cached_property
    def arrow_labels(self) -> Any:
        """What to show a reader as an Arrow array."""
        import pyarrow as pa

        return pa.array(self.labels.tolist(), pa.string())

    @functools.cached_property
    def _by_id(self) -> dict[str, int]:
        return {str(name): number for number, name in enumerate(self.ids.tolist())}

    @functools.cached_property
    def _by_title(self) -> dict[str, int]:
        found: dict[str, int] = {}
        # An item may be called by either form, and both may be equal.
        both = zip(self.labels.tolist(), self.titles.tolist(), strict=True)
        for number, names in enumerate(both):
            for name in {*names} - {""}:
                found[name] = number if name not in found else _SEVERAL
        return found

    def known(self, names: Iterable[str]) -> bool:
        """Whether all names can be looked up in a moment: IDs of items, after a first look-up.

        Example:
          >>> from jaxrec.testing import four_films
          >>> names = four_films().names
          >>> names.known(["9"]), names.numbers(["9"]).tolist(), names.known(["9"])
          (False, [1], True)
        """
        # The tables of a large catalogue take a while to make, and near names to find.
        table = self.__dict__.get("_by_id", {})
        return all(name in table for name in names)

    def numbers(self, names: Iterable[Any], what: str = "items") -> np.ndarray:
        """Return the numbers of items by their IDs or titles: `[N]` int32.

        Args:
          names: original IDs, as texts or whole numbers, or titles that one item has.
          what: what messages call the names, such as "histories, row 3".

        Raises:
          ConfigError: an item that does not exist, with the nearest name; a title of several
            items, with their IDs; or a name that is neither a text nor a whole number.
        """
        found = []
        for given in names:
            name = name_text(given, what)
            number = self._by_id.get(name)
            if number is None:
                number = self._by_title.get(name, -1)
            if number < 0:
                raise ConfigError(f"{what}: {self._problem(name, number)}")
            found.append(number)
        return np.array(found, np.int32)

    def _problem(self, name: str, number: int) -> str:
        if number == _SEVERAL:
            same = [
                str(self.ids[at])
                for at in np.flatnonzero((self.labels == name) | (self.titles == name))
            ]
            more = ", ..." if len(same) > _SHOWN else ""
            return (
                f"{len(same)} items have the title {shown_value(name)}; give the ID of one: "
                f"{', '.join(same[:_SHOWN])}{more}"
            )
        near = self._nearest(name)
        if near:
            return f"no item {shown_value(name)} in {self.data}, did you mean {near!r}?"
        some = ", ".join(map(str, self.ids[:_SHOWN]))
        return (
            f"no item {shown_value(name)} in {self.data}, which has {len(self):,} items, "
            f"such as {some}; give IDs, or titles, of its items"
        )

    def _nearest(self, name: str) -> str:
        # Every number is near some other one, so near numbers help nobody.
        ids = [] if name.isdigit() else self._by_id
        lower = {key.lower(): key for key in (*ids, *self._by_title)}
        wanted = name.lower()
        options = list(lower)
        if len(options) > _COMPARED:
            options = [key for key in options if key[:2] == wanted[:2]][:_COMPARED]
        close = difflib.get_close_matches(wanted, options, n=1, cutoff=_ALIKE)
        return lower[close[0]] if close else ""


def _objects(values: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array
