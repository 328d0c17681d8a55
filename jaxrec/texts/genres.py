"""The genres of a catalogue, as numbers: what a seeker asks for, and what facts say of an item."""

import dataclasses
import functools

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import SEPARATOR, ItemTable

# Item fields that list the kinds of an item; the first one that the items have is read.
GENRE_FIELDS = ("genres", "categories")


@dataclasses.dataclass(frozen=True, eq=False)
class Genres:
    """The genres of all items.

    Attributes:
      names: G names in lower case, in alphabetical order.
      of_item: I arrays of the numbers of an item's genres, in the order of its field.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import ItemTable
      >>> column = np.array(["Drama | Comedy", ""], dtype=object)
      >>> genres = Genres.read(ItemTable(np.array(["1", "2"]), {"genres": column}))
      >>> genres.names, [row.tolist() for row in genres.of_item]
      (('comedy', 'drama'), [[1, 0], []])
    """

    names: tuple[str, ...]
    of_item: list[np.ndarray]

    @classmethod
    def read(cls, items: ItemTable) -> "Genres":
        """Read the field "genres", or else "categories".

        Raises:
          DataError: the items have neither field, or it is empty for all of them.
        """
        field = next((name for name in GENRE_FIELDS if name in items.fields), None)
        if field is None:
            raise DataError(
                f"the items have no field {' or '.join(GENRE_FIELDS)}, which a conversation names; "
                f"their fields: {', '.join(items.fields) or 'none'}"
            )
        rows = [split_genres(text) for text in items.fields[field].tolist()]
        names = sorted({name for row in rows for name in row})
        if not names:
            raise DataError(f"the item field {field!r} is empty for all items; give genres")
        number = {name: place for place, name in enumerate(names)}
        return cls(tuple(names), [np.array([number[n] for n in row], np.int64) for row in rows])

    @functools.cached_property
    def table(self) -> np.ndarray:
        """Which item has which genre: `[I, G]` bool."""
        table = np.zeros((len(self.of_item), len(self.names)), bool)
        for item, row in enumerate(self.of_item):
            table[item, row] = True
        return table


def split_genres(text: str) -> list[str]:
    """Split the field of an item into its genres in lower case, each once.

    Example:
      >>> split_genres("Drama | Comedy | drama")
      ['drama', 'comedy']
    """
    return list(dict.fromkeys(name.lower() for name in text.split(SEPARATOR) if name))
