"""The facts of a catalogue as a knowledge graph, and what texts state of them.

The triples are (item, has_genre, genre) and (item, released_in, year), read from the items' fields.
No interaction enters them, so they hold nothing of a held-out item's user. A text that states facts
can be checked against the graph, statement by statement (Ji et al., Survey of Hallucination in
Natural Language Generation, arXiv:2202.03629, section 5).
"""

import dataclasses
import functools
import re
from collections.abc import Iterable

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import ItemTable
from jaxrec.eval import Triple, Verdicts, find_entities, judge_statements
from jaxrec.texts.fact_sentences import BETWEEN, HAS_GENRE, RELEASED_IN, state, statements
from jaxrec.texts.genres import GENRE_FIELDS, split_genres

_YEAR = re.compile(r"\d{4}")
_SAID_YEAR = re.compile(r"(?<![\w-])((?:18|19|20)\d\d)(?!\w)")


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """A knowledge graph of items.

    Attributes:
      of_item: (relation, value) pairs of each item, genres in lower case.
      kind: name of the item field that lists the genres.

    Example:
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import Facts
      >>> facts = Facts.read(tiny_interactions().items)
      >>> facts.of_item[6]
      (('has_genre', 'comedy'), ('released_in', '1956'))
      >>> facts.sentence(6)
      'a film of comedy from 1956'
    """

    of_item: tuple[tuple[tuple[str, str], ...], ...]
    kind: str = GENRE_FIELDS[0]

    @classmethod
    def find(cls, items: ItemTable) -> "Facts | None":
        """Read genres (or categories) and years of four digits; None where no item has any."""
        kind = next((name for name in GENRE_FIELDS if name in items.fields), GENRE_FIELDS[0])
        genres = items.fields.get(kind, np.full(len(items), "")).tolist()
        years = items.fields.get("year", np.full(len(items), "")).tolist()
        of_item = tuple(
            (
                *((HAS_GENRE, name) for name in split_genres(listed)),
                *(((RELEASED_IN, year),) if _YEAR.fullmatch(year) else ()),
            )
            for listed, year in zip(genres, years, strict=True)
        )
        return cls(of_item, kind) if any(of_item) else None

    @classmethod
    def read(cls, items: ItemTable) -> "Facts":
        """Read the facts of items that have some, as `find` does.

        Raises:
          DataError: no item has a genre, a category or a year.
        """
        facts = cls.find(items)
        if facts is None:
            raise DataError(
                "there are no facts: no item has a value in one of the fields "
                f"{', '.join((*GENRE_FIELDS, 'year'))}; "
                f"their fields: {', '.join(items.fields) or 'none'}"
            )
        return facts

    @functools.cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (relation, value) pairs of the graph, in alphabetical order."""
        return tuple(sorted({pair for pairs in self.of_item for pair in pairs}))

    @functools.cached_property
    def _values(self) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(v for r, v in self.pairs if r == name) for name in (HAS_GENRE, RELEASED_IN)
        }

    def values(self, relation: str) -> tuple[str, ...]:
        """All values of a relation, in alphabetical order."""
        return self._values[relation]

    def triples(self, item: int) -> list[Triple]:
        """The triples of an item, whose subject is its number."""
        return [(str(item), relation, value) for relation, value in self.of_item[item]]

    def sentence(self, item: int) -> str:
        """The facts of an item as a text states them, which `statements` reads back."""
        return state(self.of_item[item])

    def mentioned(self, text: str, item: int, title: str) -> list[tuple[str, str]]:
        """Read what a free text about an item states: genres of the catalogue, and years.

        A value that only the item's own title says is no statement. What a sentence of `state`
        says is read by `statements` instead, exactly.

        Example:
          >>> facts = Facts(((("has_genre", "war"),), (("has_genre", "drama"),)))
          >>> facts.mentioned("War and Peace is a drama.", 0, "War and Peace")
          [('has_genre', 'drama')]
        """
        rest = re.sub(rf"(?<!\w){re.escape(title.lower())}(?!\w)", " ", text.lower())
        said = {(HAS_GENRE, value) for value in find_entities(rest, self.values(HAS_GENRE))}
        if self.values(RELEASED_IN):
            said |= {(RELEASED_IN, year) for year in _SAID_YEAR.findall(rest)}
        return sorted(said)

    def judge(self, said: Iterable[tuple[str, str]], item: int) -> Verdicts:
        """Compare statements about an item with the graph.

        A catalogue lists all genres of an item, so one that the item lacks is contradicted, unless
        the graph holds no genre of the item at all. The same holds for years.

        Args:
          said: (relation, value) pairs, such as those of `statements` and `mentioned`.
          item: that they are about.

        Example:
          >>> facts = Facts(((("has_genre", "drama"),), (("has_genre", "war"),)))
          >>> facts.judge(statements("a film of drama , war from 1995"), 0)
          Verdicts(supported=1, contradicted=1, unverifiable=1)
        """
        stated = [(str(item), relation, value) for relation, value in said]
        return judge_statements(stated, self.triples(item))

    def contradicted(self, said: Iterable[tuple[str, str]], item: int) -> list[tuple[str, str]]:
        """Statements about an item that the graph contradicts, as `judge` counts them."""
        return [pair for pair in said if self.judge([pair], item).contradicted]

    def checked(self, text: str, item: int) -> str:
        """A text without the statements that the graph does not hold; "" if nothing is left.

        Example:
          >>> facts = Facts(((("has_genre", "drama"), ("released_in", "1994")),))
          >>> facts.checked("a film of drama , war from 1995", 0)
          'a film of drama'
        """
        return state([pair for pair in statements(text) if pair in self.of_item[item]])

    def corrupted(self, share: float, seed: int = 0) -> "Facts":
        """The graph with a share of its facts replaced by false ones of the same relations.

        Args:
          share: probability of each fact, from 0 to 1.
          seed: of the draws.

        Raises:
          ConfigError: a share outside 0 to 1.
          DataError: a relation has no value that is false for some item.
        """
        if not 0 <= share <= 1:
            raise ConfigError(f"the share of corrupted facts must lie in 0 to 1, got {share}")
        rng = np.random.default_rng(seed)
        rows = (self.falsified(n, share, rng) for n in range(len(self.of_item)))
        return dataclasses.replace(self, of_item=tuple(rows))

    def falsified(
        self, item: int, share: float, rng: np.random.Generator
    ) -> tuple[tuple[str, str], ...]:
        """The facts of an item, each replaced with a probability `share`, as in `corrupted`.

        Raises:
          DataError: a relation has no value that is false for the item.
        """
        row: list[tuple[str, str]] = []
        for relation, value in self.of_item[item]:
            if rng.random() < share:
                barred = {v for r, v in (*self.of_item[item], *row) if r == relation}
                false = [v for v in self.values(relation) if v not in barred]
                if not false:
                    raise DataError(
                        f"every value of {relation} is true for item {item}, so none is false; "
                        "give items with more values"
                    )
                value = false[int(rng.integers(len(false)))]
            row.append((relation, value))
        return tuple(row)


def check_readable(facts: Facts) -> Facts:
    """Return facts that `statements` reads back from their sentences.

    Raises:
      DataError: a genre that a sentence could not be read back with.
    """
    for name in facts.values(HAS_GENRE):
        if BETWEEN in name or re.search(r" from \d{4}$", name):
            raise DataError(
                f"the genre {name!r} cannot be told from two facts in a sentence; rename it"
            )
    return facts
