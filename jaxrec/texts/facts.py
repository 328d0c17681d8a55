"""Facts of a catalogue as a knowledge graph: told in prompts, read back from texts, and checked.

The triples are (item, has_genre, genre) and (item, released_in, year), read from the items' fields.
No interaction enters them, so they hold nothing of a held-out item's user. A text that states facts
can be checked against the graph, statement by statement (Ji et al., Survey of Hallucination in
Natural Language Generation, arXiv:2202.03629).

A model that is only shown true facts learns them by heart, with the item as the cue, and does not
learn to read: it fails on items that it has never described. Training therefore tells other facts
of an item each time, most of them false, and the answer follows the prompt (Longpre et al.,
Entity-Based Knowledge Conflicts in Question Answering, arXiv:2109.05052; Li et al., Large Language
Models with Controllable Working Memory, arXiv:2211.05110).
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import ItemTable
from jaxrec.eval import Triple, Verdicts, judge_statements
from jaxrec.runs import Stage
from jaxrec.texts.datum import Datum
from jaxrec.texts.genres import Genres
from jaxrec.texts.names import close_up
from jaxrec.texts.prompt_data import PromptData, render
from jaxrec.texts.sources import Need, Stream, Unit

HAS_GENRE, RELEASED_IN = "has_genre", "released_in"
_BETWEEN = " , "
_TOLD = {HAS_GENRE: "{name} has genre {value}", RELEASED_IN: "{name} is from {value}"}
_SENTENCE = re.compile(r"a film(?: of (?P<genres>.+?))?(?: from (?P<year>\d{4}))?")
_YEAR = re.compile(r"\d{4}")


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """A knowledge graph of items.

    Attributes:
      of_item: (relation, value) pairs of each item.

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

    @classmethod
    def read(cls, items: ItemTable) -> "Facts":
        """Read genres (or categories), and the year of items that have one of four digits.

        Raises:
          DataError: the items have no genres, or one that a sentence could not be read back with.
        """
        genres = Genres.read(items)
        for name in genres.names:
            if _BETWEEN in name or re.search(r" from \d{4}$", name):
                raise DataError(
                    f"the genre {name!r} cannot be told from two facts in a sentence; rename it"
                )
        years = items.fields.get("year", np.full(len(items), "")).tolist()
        return cls(
            tuple(
                (
                    *((HAS_GENRE, genres.names[number]) for number in numbers.tolist()),
                    *(((RELEASED_IN, year),) if _YEAR.fullmatch(year) else ()),
                )
                for numbers, year in zip(genres.of_item, years, strict=True)
            )
        )

    @functools.cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (relation, value) pairs of the graph, in alphabetical order."""
        return tuple(sorted({pair for pairs in self.of_item for pair in pairs}))

    @functools.cached_property
    def _values(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(v for r, v in self.pairs if r == name) for name in _TOLD}

    def values(self, relation: str) -> tuple[str, ...]:
        """All values of a relation, in alphabetical order."""
        return self._values[relation]

    def triples(self, item: int) -> list[Triple]:
        """The triples of an item, whose subject is its number."""
        return [(str(item), relation, value) for relation, value in self.of_item[item]]

    def sentence(self, item: int) -> str:
        """The facts of an item as a text states them, which `statements` reads back."""
        return state(self.of_item[item])

    def judge(self, text: str, item: int) -> Verdicts:
        """Compare what a text says of an item with the graph.

        Example:
          >>> facts = Facts(((("has_genre", "drama"), ("released_in", "1994")),))
          >>> facts.judge("a film of drama , war from 1995", 0)
          Verdicts(supported=1, contradicted=1, unverifiable=1)
        """
        said = [(str(item), relation, value) for relation, value in statements(text)]
        return judge_statements(said, self.triples(item), functional={RELEASED_IN})

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
        return Facts(tuple(self.falsified(n, share, rng) for n in range(len(self.of_item))))

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


def tell(pairs: Sequence[tuple[str, str]], name: str) -> str:
    """Write facts as prompts tell them.

    Args:
      pairs: (relation, value) pairs.
      name: of the item that they are about.

    Example:
      >>> tell([("has_genre", "drama"), ("released_in", "1994")], "Ran")
      'Ran has genre drama , Ran is from 1994'
    """
    return _BETWEEN.join(_TOLD[relation].format(name=name, value=v) for relation, v in pairs)


def state(pairs: Sequence[tuple[str, str]]) -> str:
    """Write facts as a sentence; "" for none.

    Example:
      >>> state([("has_genre", "drama"), ("released_in", "1994")])
      'a film of drama from 1994'
    """
    genres = _BETWEEN.join(value for relation, value in pairs if relation == HAS_GENRE)
    years = [value for relation, value in pairs if relation == RELEASED_IN]
    text = "a film" + (f" of {genres}" if genres else "") + "".join(f" from {y}" for y in years)
    return text if pairs else ""


def statements(text: str) -> list[tuple[str, str]]:
    """Read the facts that a sentence states, each once; none of a sentence of another form.

    Example:
      >>> statements("a film of drama , war from 1994")
      [('has_genre', 'drama'), ('has_genre', 'war'), ('released_in', '1994')]
      >>> statements("drama , I think")
      []
    """
    match = _SENTENCE.fullmatch(text.strip())
    if match is None:
        return []
    genres = match["genres"].split(_BETWEEN) if match["genres"] else []
    years = [(RELEASED_IN, match["year"])] if match["year"] else []
    return list(dict.fromkeys([*((HAS_GENRE, name.strip()) for name in genres), *years]))


@dataclasses.dataclass(frozen=True)
class Described:
    """A datum is an item with facts; items of an evaluation are never described in training.

    Attributes:
      valid: share of the items that validations are about.
      test: share of the items that the test is about.
      false: probability that training tells a false fact in the place of a true one; 0 for a task
        whose prompts tell none.
    """

    valid: float = 0.1
    test: float = 0.2
    false: float = 0.0
    unit: ClassVar[Unit] = "item"
    needs: ClassVar[frozenset[Need]] = frozenset({"genres", "facts"})

    def training(self, data: PromptData) -> Stream:
        """The items that no evaluation is about, each time with other facts.

        Raises:
          DataError: the data have no facts.
        """
        items, facts = self._items(data)[2], facts_of(data)
        number = {pair: place for place, pair in enumerate(facts.pairs)}

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            item = int(items[datum])
            if not self.false:
                return Datum(item=item)
            pairs = facts.falsified(item, self.false, rng)
            return Datum(item=item, told=tuple(number[pair] for pair in pairs))

        return Stream(len(items), draw)

    def units(self, data: PromptData, stage: Stage) -> np.ndarray:
        """The items of a stage."""
        return self._items(data)[0 if stage == "valid" else 1]

    def held_out(self, data: PromptData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """The items themselves, with the facts of the graph."""
        return [Datum(item=item) for item in units.tolist()]

    def _items(self, data: PromptData) -> list[np.ndarray]:
        """The items of validation, test and training, ascending."""
        known = np.flatnonzero([bool(pairs) for pairs in facts_of(data).of_item])
        order = np.random.default_rng(0).permutation(known)
        ends = np.round(np.cumsum([self.valid, self.test]) * len(known)).astype(int)
        return [np.sort(part) for part in np.split(order, ends)]


def facts_of(data: PromptData) -> Facts:
    """The facts of the data.

    Raises:
      DataError: they have none.
    """
    if data.facts is None:
        raise DataError(
            f"{data.dataset.interactions.name} has no facts, and a task asks for them; leave the "
            "task out, or give items with genres"
        )
    return data.facts


def render_facts(datum: Datum, data: PromptData) -> dict[str, str]:
    """Write a datum as `render` does, with the facts of its item.

    Returns:
      The fields of `render`, "facts" as prompts tell them, and "about", the sentence that states
      them: those that the datum tells, or else those of the graph.

    Raises:
      DataError: the data have no facts.
    """
    facts = facts_of(data)
    pairs = [facts.pairs[n] for n in datum.told] if datum.told else facts.of_item[datum.item]
    return render(datum, data) | {
        "facts": close_up(tell(pairs, data.names.items[datum.item])),
        "about": state(pairs),
    }
