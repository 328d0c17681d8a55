"""Facts of a catalogue as triples: what prompts can say of items, and what texts get wrong.

A catalogue is a small knowledge graph, (item, relation, value), of genres and years. Its facts
stand before a prompt, and the statements of an answer are checked against them (Ji et al., Survey
of Hallucination in Natural Language Generation, arXiv:2202.03629, section 5). It is made of the
items' fields alone, so it knows nothing of users.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from jaxrec.core import ConfigError, DataError
from jaxrec.data import SEPARATOR, ItemTable
from jaxrec.eval import Triple, Verdicts, find_entities, judge_statements
from jaxrec.texts.repair import AnswerForm, Illegal

_YEAR = "year"
RELATIONS = ("genres", "categories", _YEAR)
_SAID_YEAR = re.compile(r"(?<![\w-])((?:18|19|20)\d\d)(?!\w)")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CatalogueFacts:
    """The triples of a catalogue.

    Attributes:
      by_item: for each item the values of each relation, such as {"genres": ("Drama",)}.
      titles: what the items are called.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import ItemTable
      >>> from jaxrec.texts import CatalogueFacts
      >>> column = lambda *texts: np.array(texts, dtype=object)
      >>> fields = {"title": column("Alien", "Heat"), "genres": column("Horror | Sci-Fi", "Crime")}
      >>> facts = CatalogueFacts.of(ItemTable(np.array(["1", "2"]), fields), ["Alien", "Heat"])
      >>> facts.text([0])
      'Alien: genres Horror, Sci-Fi.'
      >>> facts.check("A crime story with horror.", 0)
      Verdicts(supported=1, contradicted=1, unverifiable=0)
    """

    by_item: Sequence[Mapping[str, tuple[str, ...]]]
    titles: Sequence[str]

    @classmethod
    def of(
        cls,
        items: ItemTable,
        titles: Sequence[str],
        relations: Sequence[str] = RELATIONS,
    ) -> "CatalogueFacts":
        """Read the facts out of a catalogue.

        Args:
          items: the catalogue.
          titles: what its items are called.
          relations: fields of the items; those that the catalogue lacks are left out.

        Raises:
          DataError: the catalogue has none of the fields.
          ConfigError: other numbers of titles and items.
        """
        if len(titles) != len(items):
            raise ConfigError(f"{len(titles)} titles for {len(items)} items; give one for each")
        known = [name for name in relations if name in items.fields]
        if not known:
            raise DataError(
                f"the items have none of the fields {', '.join(relations)}, so there are no facts; "
                f"their fields: {', '.join(items.fields) or 'none'}"
            )
        columns = {name: items.fields[name].tolist() for name in known}
        return cls(
            by_item=[
                {name: _values(texts[item]) for name, texts in columns.items() if texts[item]}
                for item in range(len(items))
            ],
            titles=list(titles),
        )

    def triples(self, items: Iterable[int]) -> set[Triple]:
        """The triples of some items, with their numbers as subjects and values in lower case."""
        return {
            (str(item), name, value.lower())
            for item in items
            for name, values in self.by_item[item].items()
            for value in values
        }

    def text(self, items: Iterable[int]) -> str:
        """The facts of some items in a sentence each, which stand before a prompt."""
        sentences = []
        for item in items:
            parts = [f"{name} {', '.join(values)}" for name, values in self.by_item[item].items()]
            if parts:
                sentences.append(f"{self.titles[item]}: {'; '.join(parts)}.")
        return " ".join(sentences)

    def stated(self, text: str, item: int) -> set[Triple]:
        """What a text about an item states: the values of the catalogue that it says, and years.

        A value that only the item's own title says is no statement.
        """
        title = re.escape(self.titles[item].lower())
        rest = re.sub(rf"(?<!\w){title}(?!\w)", " ", text.lower())
        said = {
            (str(item), name, value)
            for value in find_entities(rest, self._relation)
            for name in [self._relation[value]]
        }
        if any(_YEAR in known for known in self.by_item):
            said |= {(str(item), _YEAR, year) for year in _SAID_YEAR.findall(rest)}
        return said

    def check(self, text: str, item: int) -> Verdicts:
        """Compare the statements of a text about an item with its facts.

        The catalogue lists all values of its relations, so a value that an item lacks is
        contradicted, unless nothing at all is known of the relation.
        """
        return judge_statements(self.stated(text, item), self.triples([item]))

    def contradictions(self, text: str, item: int) -> list[tuple[str, str]]:
        """Pairs of a relation and a value that a text states and the catalogue contradicts."""
        own = self.triples([item])
        known = {name for _, name, _ in own}
        wrong = {(name, value) for _, name, value in self.stated(text, item) - own}
        return sorted((name, value) for name, value in wrong if name in known)

    @functools.cached_property
    def _relation(self) -> dict[str, str]:
        """Relation of each value in lower case, years excepted."""
        return {
            value.lower(): name
            for known in self.by_item
            for name, values in known.items()
            if name != _YEAR
            for value in values
        }


def factual_form(form: AnswerForm[str], facts: CatalogueFacts, item: int) -> AnswerForm[str]:
    """A form that also rejects what contradicts the facts of an item, so that it is asked again.

    Args:
      form: what a text must look like otherwise.
      facts: of the catalogue.
      item: the item that the text is about.

    Example:
      >>> from jaxrec.texts import CatalogueFacts, factual_form, sentence_form
      >>> genres = [{"genres": ("Horror",)}, {"genres": ("Drama",)}]
      >>> facts = CatalogueFacts(by_item=genres, titles=["Alien", "Paris"])
      >>> form = factual_form(sentence_form(9), facts, 0)
      >>> form.read("A fine drama.").fault
      'it says drama, and the genres of Alien are Horror'
    """

    def read(text: str) -> str | Illegal:
        value = form.read(text)
        if isinstance(value, Illegal):
            return value
        wrong = facts.contradictions(value, item)
        if not wrong:
            return value
        name, said = wrong[0]
        own = ", ".join(facts.by_item[item][name])
        return Illegal(f"it says {said}, and the {name} of {facts.titles[item]} are {own}")

    return AnswerForm(read=read, rules=form.rules)


def factual_shares(verdicts: Sequence[Verdicts]) -> dict[str, float]:
    """Shares over all statements of texts, and the share of texts that state something.

    Returns:
      "factual_precision", supported by all statements; "contradicted", contradicted ones by all;
      "factual_coverage", texts with a statement by all texts. nan where nothing is stated.

    Example:
      >>> from jaxrec.eval import Verdicts
      >>> one = Verdicts(supported=1, contradicted=1, unverifiable=0)
      >>> factual_shares([one, Verdicts(supported=0, contradicted=0, unverifiable=0)])
      {'factual_precision': 0.5, 'contradicted': 0.5, 'factual_coverage': 0.5}
    """
    total = sum(one.total for one in verdicts)
    nan = float("nan")
    return {
        "factual_precision": sum(o.supported for o in verdicts) / total if total else nan,
        "contradicted": sum(o.contradicted for o in verdicts) / total if total else nan,
        "factual_coverage": (
            sum(o.total > 0 for o in verdicts) / len(verdicts) if len(verdicts) else nan
        ),
    }


def _values(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(text).split(SEPARATOR) if part.strip())
