"""Tasks about items and their facts: what training tells of an item, and what an evaluation asks.

A model that is only shown true facts learns them by heart, with the item as the cue, and does not
learn to read: it fails on items that it has never described. Training therefore tells other facts
of an item each time, most of them false, and the answer follows the prompt (Longpre et al.,
Entity-Based Knowledge Conflicts in Question Answering, arXiv:2109.05052; Li et al., Large Language
Models with Controllable Working Memory, arXiv:2211.05110).
"""

import dataclasses
from typing import ClassVar

import numpy as np

from jaxrec.core import DataError
from jaxrec.runs import Stage
from jaxrec.texts.datum import Datum
from jaxrec.texts.fact_sentences import state, tell
from jaxrec.texts.facts import Facts
from jaxrec.texts.names import close_up
from jaxrec.texts.prompt_data import PromptData, render
from jaxrec.texts.sources import Need, Stream, Unit


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
