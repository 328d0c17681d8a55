"""The table of a P5 run's descriptions of items: which share of what it states is a fact.

Texts are about items that training never describes. The model is asked with the facts of the item
in the prompt, with facts of which half are false, and without any. What it states is compared with
the true graph each time: a model that reads its prompt follows false facts, and its precision
falls.
"""

import dataclasses
import time
from collections import Counter
from typing import Any

import numpy as np

from jaxrec.data import holes
from jaxrec.runs import MODEL, Measured, baseline_table
from jaxrec.systems.p5.questions import TEXT_TOKENS
from jaxrec.systems.p5.tested import UNSEEN, Tested
from jaxrec.texts import (
    Described,
    Facts,
    PromptData,
    TextTask,
    ask,
    fact_shares,
    state,
    statements,
)

P5Task = TextTask[PromptData]
HIDDEN, FALSE = "model, facts not shown", "model, half of the facts shown are false"
CHECKED, COMMONEST = "model, false statements left out", "the commonest facts"
_FALSE_SHARE = 0.5


def facts_table(tested: Tested, task: P5Task) -> dict[str, Any]:
    """Rows and paired tests over items of precision and coverage: JSON-able.

    Args:
      tested: the run.
      task: one whose source is `Described`.
    """
    data = tested.data
    facts = data.facts
    assert facts is not None
    items = task.source.units(data, "test")
    systems: dict[str, Measured] = {}

    def add(name: str, asked: P5Task, wording: str, told: Facts, check: bool = False) -> None:
        begun = time.monotonic()
        shown = dataclasses.replace(data, facts=told)
        examples = asked.source.held_out(shown, "test", items)
        questions = ask(asked, asked.wordings[wording], shown, examples)
        texts = tested.prompted.write(questions.prompts, TEXT_TOKENS)
        if check:
            pairs = zip(texts, items.tolist(), strict=True)
            texts = [facts.checked(text, item) for text, item in pairs]
        metrics = shares(texts, items, facts)
        systems[name] = tested.measured(metrics, np.zeros((0, 0)), begun)

    add(MODEL, task, "seen", facts)
    add(UNSEEN, task, "unseen", facts)
    add(CHECKED, task, "seen", facts, check=True)
    if "facts" in holes(task.wordings["seen"].source):
        add(FALSE, task, "seen", facts.corrupted(_FALSE_SHARE))
        hidden = _without_facts(tested)
        if hidden is not None:
            add(HIDDEN, hidden, "seen", facts)
    systems[COMMONEST] = Measured(
        metrics=shares([commonest(data, task)] * len(items), items, facts),
        parameters=0,
        fit_seconds=0.0,
        test_seconds=0.0,
        items=np.zeros((0, 0)),
    )
    return baseline_table(systems, tested.config, "precision")


def shares(texts: list[str], items: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
    """Compare texts about items with the graph: `[N]` each of precision, coverage and readable.

    Args:
      texts: N texts.
      items: `[N]`.
      facts: the true graph.
    """
    return fact_shares(
        [statements(text) for text in texts], [facts.of_item[item] for item in items.tolist()]
    )


def commonest(data: PromptData, task: P5Task) -> str:
    """The sentence with the commonest value of each relation among the items of the training."""
    assert data.facts is not None
    stream, rng = task.source.training(data), np.random.default_rng(0)
    items = [stream.draw(place, rng).item for place in range(stream.size)]
    counts = Counter(pair for item in items for pair in data.facts.of_item[item])
    best: dict[str, tuple[str, str]] = {}
    # Of equally common values the first in the alphabet.
    for pair, _ in sorted(counts.items(), key=lambda counted: (-counted[1], counted[0])):
        best.setdefault(pair[0], pair)
    return state([best[relation] for relation in sorted(best)])


def _without_facts(tested: Tested) -> P5Task | None:
    """The run's task that describes items without their facts; None if it trains no such task."""
    for task in tested.tasks.values():
        shown = holes(task.wordings["seen"].source)
        if isinstance(task.source, Described) and "facts" not in shown:
            return task
    return None
