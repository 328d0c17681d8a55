"""A made-up world of facts that change over the years: a knowledge graph with versions.

Nobody has heard of its people and towns, so what a model knows of them it has learned from the
sentences of the graph, and a perfect score is possible. Facts have the year since which they hold:
a model that was trained on the sentences of one year can be asked about later ones.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.eval import Triple

_CONSONANTS, _VOWELS = "bdfghklmnprstvz", "aeiou"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relation:
    """A relation of the graph; its name is what stands between two names in a sentence.

    Attributes:
      subject: kind of what has the relation.
      thing: kind of its object.
      single: whether a subject has one object at a time.
      changes: whether the object of a single relation may change.
    """

    subject: str
    thing: str
    single: bool = True
    changes: bool = True


RELATIONS: Mapping[str, Relation] = {
    "was born in": Relation(subject="person", thing="town", changes=False),
    "lives in": Relation(subject="person", thing="town"),
    "works for": Relation(subject="person", thing="company"),
    "is a friend of": Relation(subject="person", thing="person", single=False),
    "is based in": Relation(subject="company", thing="town"),
}
SINGLE = frozenset(name for name, relation in RELATIONS.items() if relation.single)


@dataclasses.dataclass(frozen=True, order=True)
class Fact:
    """A fact and the year since which it holds.

    Example:
      >>> Fact("Mira Tok", "lives in", "Belas", 2015).sentence
      'Mira Tok lives in Belas.'
    """

    subject: str
    relation: str
    thing: str
    since: int

    @property
    def triple(self) -> Triple:
        """Subject, relation and object."""
        return (self.subject, self.relation, self.thing)

    @property
    def sentence(self) -> str:
        """The fact in words."""
        return f"{self.subject} {self.relation} {self.thing}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactGraph:
    """Names by kind, and all facts of all years.

    Attributes:
      names: names of each kind: "person", "town" and "company".
      facts: in the order of their years.
      first: first year.
      last: last year.
    """

    names: Mapping[str, tuple[str, ...]]
    facts: tuple[Fact, ...]
    first: int
    last: int

    def at(self, year: int) -> tuple[Fact, ...]:
        """Return the facts that hold in a year, in the order of subjects and relations.

        Raises:
          ConfigError: the year is before the first one.
        """
        if year < self.first:
            raise ConfigError(f"the graph begins in {self.first}, got the year {year}")
        held: dict[tuple[str, ...], Fact] = {}
        for fact in self.facts:
            if fact.since <= year:
                single = RELATIONS[fact.relation].single
                held[(fact.subject, fact.relation) if single else fact.triple] = fact
        return tuple(sorted(held.values()))

    def sentences(self, year: int) -> list[str]:
        """Return the facts of a year as sentences: a corpus to train on."""
        return [fact.sentence for fact in self.at(year)]


def make_fact_graph(
    seed: int = 0,
    *,
    people: int = 40,
    towns: int = 15,
    companies: int = 10,
    years: tuple[int, int] = (2015, 2024),
    change: float = 0.1,
) -> FactGraph:
    """Make a graph.

    Args:
      seed: of names and facts.
      people: number of people.
      towns: number of towns.
      companies: number of companies.
      years: first and last year. All single facts hold since the first one at the latest, and some
        change later.
      change: probability that a fact that may change does so in a year.

    Raises:
      ConfigError: fewer than four people, two towns or two companies, years in the wrong order, or
        `change` outside of 0 to 1.

    Example:
      >>> graph = make_fact_graph()
      >>> graph == make_fact_graph() and graph != make_fact_graph(1)
      True
      >>> len({fact.subject for fact in graph.at(2020) if fact.relation == "lives in"})
      40
    """
    if people < 4 or towns < 2 or companies < 2:
        raise ConfigError(
            "a graph needs at least 4 people, 2 towns and 2 companies, got "
            f"{people}, {towns} and {companies}"
        )
    if years[0] > years[1] or not 0 <= change <= 1:
        raise ConfigError(
            f"years must be in order and change between 0 and 1, got {years} and {change}"
        )
    rng = np.random.default_rng(seed)
    stream = _names(rng)
    names = {
        "person": tuple(f"{next(stream)} {next(stream)}" for _ in range(people)),
        "town": tuple(next(stream) for _ in range(towns)),
        "company": tuple(f"{next(stream)} Works" for _ in range(companies)),
    }
    facts = []
    for name, relation in RELATIONS.items():
        for subject in names[relation.subject]:
            others = [thing for thing in names[relation.thing] if thing != subject]
            make = _single if relation.single else _several
            facts += list(make(rng, (subject, name), others, years, change * relation.changes))
    ordered = sorted(facts, key=lambda fact: (fact.since, fact))
    return FactGraph(names=names, facts=tuple(ordered), first=years[0], last=years[1])


def _names(rng: np.random.Generator) -> Iterator[str]:
    """Different made-up names of two or three syllables, none of which contains another."""
    made: set[str] = set()
    while True:
        count = int(rng.integers(2, 4))
        letters = [
            str(rng.choice(list(part))) for _ in range(count) for part in (_CONSONANTS, _VOWELS)
        ]
        name = "".join([*letters, str(rng.choice(list(_CONSONANTS)))]).capitalize()
        if name not in made:
            made.add(name)
            yield name


def _single(
    rng: np.random.Generator,
    subject: tuple[str, str],
    things: list[str],
    years: tuple[int, int],
    change: float,
) -> Iterator[Fact]:
    """An object since the first year, and a new one whenever it changes."""
    now = ""
    for year in range(years[0], years[1] + 1):
        if not now or rng.random() < change:
            now = str(rng.choice([thing for thing in things if thing != now]))
            yield Fact(*subject, now, year)


def _several(
    rng: np.random.Generator,
    subject: tuple[str, str],
    things: list[str],
    years: tuple[int, int],
    change: float,
) -> Iterator[Fact]:
    """Three objects; the first one since the first year, the others since any."""
    chosen = rng.choice(len(things), 3, replace=False)
    for place, number in enumerate(chosen):
        since = years[0] if place == 0 else int(rng.integers(years[0], years[1] + 1))
        yield Fact(*subject, things[number], since)


def read_statements(text: str) -> list[Triple]:
    """Read the statements of a text in the form of the graph's sentences.

    Args:
      text: sentences that end with full stops or lines; others are left out.

    Returns:
      Triples, which need not be of the graph: a model may make up names.

    Example:
      >>> read_statements("Mira Tok lives in Belas. She is nice. Mira Tok works for Bo Works.")
      [('Mira Tok', 'lives in', 'Belas'), ('Mira Tok', 'works for', 'Bo Works')]
    """
    found = []
    for sentence in re.split(r"[.\n]", text):
        for relation in RELATIONS:
            subject, marked, thing = sentence.strip().partition(f" {relation} ")
            if marked and subject and thing.strip():
                found.append((subject.strip(), relation, thing.strip()))
                break
    return found


def fact_document(
    graph: FactGraph, fact: Fact, held: Mapping[Any, frozenset[str]]
) -> dict[str, Any]:
    """Return the question for the object of a fact, with all candidates.

    Args:
      graph: whose names are the candidates.
      fact: what is asked for.
      held: objects of the year by subject and relation, which are right too.

    Example:
      >>> graph = make_fact_graph()
      >>> fact = graph.at(2020)[0]
      >>> held = {(fact.subject, fact.relation): frozenset([fact.thing])}
      >>> found = fact_document(graph, fact, held)
      >>> found["candidates"][found["gold"]] == fact.thing, found["known"]
      (True, ())
    """
    kind = RELATIONS[fact.relation].thing
    candidates = tuple(name for name in graph.names[kind] if name != fact.subject)
    others = held[fact.subject, fact.relation] - {fact.thing}
    return {
        "subject": fact.subject,
        "relation": fact.relation,
        "candidates": candidates,
        "gold": candidates.index(fact.thing),
        "known": tuple(place for place, name in enumerate(candidates) if name in others),
        "since": fact.since,
    }
