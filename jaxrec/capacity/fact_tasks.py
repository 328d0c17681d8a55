"""Tasks on a made-up knowledge graph: completion, recency, and descriptions from a source.

- `completion_task` ranks candidates for the object of a fact (filtered MRR and Hits@k).
- `recency_task` compares facts up to the year of the training data with later ones.
- `description_task` gives a model some facts about somebody, and counts which statements of its
  description contradict them or have no support.

A model that was not trained on the graph's sentences is at chance in the first two.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.capacity.choices import accuracy
from jaxrec.capacity.documents import Document, Source
from jaxrec.capacity.estimates import Metric, ratio_of
from jaxrec.capacity.fact_graph import (
    RELATIONS,
    SINGLE,
    Fact,
    FactGraph,
    fact_document,
    read_statements,
)
from jaxrec.capacity.questions import Choose, Write
from jaxrec.capacity.task import Task
from jaxrec.core import ConfigError
from jaxrec.eval import (
    filtered_rank,
    find_entities,
    judge_statements,
    rank_metrics,
    set_overlap,
)
from jaxrec.prompting import GenerateOptions, Reply, Score

_KS = (1, 3, 10)


def _held(facts: Sequence[Fact]) -> dict[tuple[str, str], frozenset[str]]:
    """Objects by subject and relation."""
    found: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        found.setdefault((fact.subject, fact.relation), set()).add(fact.thing)
    return {key: frozenset(things) for key, things in found.items()}


def _documents(graph: FactGraph, year: int, relations: Sequence[str]) -> list[dict[str, Any]]:
    """Questions for all facts of a year, in an order that mixes subjects and relations."""
    facts = graph.at(year)
    held = _held(facts)
    chosen = [fact for fact in facts if fact.relation in relations]
    order = np.random.default_rng(year).permutation(len(chosen))
    return [fact_document(graph, chosen[place], held) for place in order]


def _ask(document: Document, shown: str) -> Choose:
    # The full stop tells a name from a longer one that begins alike.
    options = tuple(f" {name}." for name in document["candidates"])
    return Choose(f"{document['subject']} {document['relation']}", options)


def _logprobs(scores: Sequence[Score]) -> list[float]:
    return [score.logprob for score in scores]


def _measure_rank(document: Document, scores: tuple[Score, ...]) -> Mapping[str, float]:
    rank = filtered_rank(_logprobs(scores), document["gold"], document["known"])
    return {name: float(values[0]) for name, values in rank_metrics([rank], _KS).items()}


def completion_task(graph: FactGraph, year: int, *, name: str = "facts") -> Task:
    """Return the task of naming the object of each fact of a year.

    Args:
      graph: whose facts are asked.
      year: in which they hold.
      name: of the task.

    Example:
      >>> from jaxrec.capacity import make_fact_graph
      >>> list(completion_task(make_fact_graph(), 2024).metrics)
      ['mrr', 'hits@1', 'hits@3', 'hits@10']
    """
    graph.at(year)
    return Task(
        name=name,
        about=f"objects of the facts of {year}, ranked among all names of their kind (filtered)",
        source=Source(make=lambda: _documents(graph, year, tuple(RELATIONS))),
        ask=_ask,
        measure=_measure_rank,
        metrics={metric: Metric() for metric in rank_metrics([1.0], _KS)},
        groups=("relation",),
    )


def recency_task(graph: FactGraph, year: int, cutoff: int, *, name: str = "recency") -> Task:
    """Return the task of knowing what holds now, for facts before and after a year.

    The questions are about the relations that change. Facts that changed after the cut-off and
    changed back are left out, because they do not tell old knowledge from new. `outdated` is the
    share of the later facts of which the model ranks what held at the cut-off above what holds now.

    Args:
      graph: whose facts are asked.
      year: in which they hold.
      cutoff: last year of the model's training data.
      name: of the task.

    Raises:
      ConfigError: the years are not in order, or all facts are on one side of the cut-off.

    Example:
      >>> from jaxrec.capacity import make_fact_graph
      >>> list(recency_task(make_fact_graph(), 2024, 2020).metrics)
      ['accuracy_before', 'accuracy_after', 'outdated']
    """
    if not graph.first <= cutoff < year:
        raise ConfigError(
            f"the cut-off must lie between {graph.first} and {year - 1}, got {cutoff}"
        )
    changing = tuple(n for n, relation in RELATIONS.items() if relation.changes and relation.single)
    past = {(fact.subject, fact.relation): fact.thing for fact in graph.at(cutoff)}

    def make() -> list[dict[str, Any]]:
        found = []
        for row in _documents(graph, year, changing):
            thing = past[row["subject"], row["relation"]]
            same = row["candidates"][row["gold"]] == thing
            if row["since"] <= cutoff or not same:
                found.append({**row, "past": thing})
        return found

    if len({row["since"] > cutoff for row in make()}) < 2:
        raise ConfigError(
            f"no fact changes between {cutoff} and {year}, or all do; choose other years or a "
            "larger graph"
        )

    def measure(document: Document, scores: tuple[Score, ...]) -> Mapping[str, float]:
        right = accuracy(scores, document["gold"])
        if document["since"] <= cutoff:
            return {"accuracy_before": right}
        old = scores[document["candidates"].index(document["past"])].logprob
        now = scores[document["gold"]].logprob
        return {"accuracy_after": right, "outdated": (np.sign(old - now) + 1) / 2}

    return Task(
        name=name,
        about=f"what holds in {year}, for facts since {cutoff} or before, and for later ones",
        source=Source(make=make),
        ask=_ask,
        measure=measure,
        metrics={
            "accuracy_before": Metric(),
            "accuracy_after": Metric(),
            "outdated": Metric(better="lower"),
        },
        groups=("relation",),
    )


def _sources(graph: FactGraph, year: int, hidden: float, seed: int) -> list[dict[str, Any]]:
    """One document for each person: the facts that are shown, and those of the graph."""
    rng = np.random.default_rng(seed)
    facts = graph.at(year)
    rows = []
    for person in graph.names["person"]:
        own = [fact for fact in facts if fact.subject == person]
        shown = [fact for place, fact in enumerate(own) if place == 0 or rng.random() >= hidden]
        order = rng.permutation(len(shown))
        rows.append(
            {
                "subject": person,
                "source": " ".join(shown[place].sentence for place in order),
                "shown": tuple(fact.triple for fact in shown),
                "true": tuple(fact.triple for fact in own),
            }
        )
    return rows


def description_task(
    graph: FactGraph,
    year: int,
    *,
    name: str = "descriptions",
    hidden: float = 0.3,
    shots: int = 2,
    seed: int = 0,
) -> Task:
    """Return the task of telling what a source says about somebody, and nothing else.

    Of all statements of the model, `intrinsic` is the share that contradicts the source,
    `extrinsic` the share that the source neither supports nor contradicts, and `unsupported` the
    share that is wrong in the whole graph. `entity_precision` is the share of the names mentioned
    that the source mentions; `recall` is the share of the source's statements that the model makes.

    Args:
      graph: whose facts are the sources.
      year: in which they hold.
      name: of the task.
      hidden: share of the facts that a source leaves out.
      shots: number of demonstrations.
      seed: of what is left out.

    Raises:
      ConfigError: `hidden` outside of 0 to 1.

    Example:
      >>> from jaxrec.capacity import make_fact_graph
      >>> description_task(make_fact_graph(), 2024).shots
      2
    """
    if not 0 <= hidden <= 1:
        raise ConfigError(f"hidden must lie between 0 and 1, got {hidden}")
    graph.at(year)
    names = [name for kind in graph.names.values() for name in kind]

    def question(document: Document) -> str:
        return f"Facts: {document['source']}\nAbout {document['subject']}:"

    def ask(document: Document, shown: str) -> Write:
        options = GenerateOptions(max_tokens=200, stop=("\n",))
        return Write(shown + question(document), options)

    def measure(document: Document, reply: Reply) -> Mapping[str, Any]:
        says, source = read_statements(reply.text), document["shown"]
        local = judge_statements(says, source, SINGLE)
        known = judge_statements(says, document["true"], SINGLE)
        inside = find_entities(document["source"], names)
        common, mentioned, _ = set_overlap(find_entities(reply.text, names), inside)
        return {
            "intrinsic": (local.contradicted, local.total),
            "extrinsic": (local.unverifiable, local.total),
            "unsupported": (known.total - known.supported, known.total),
            "entity_precision": (common, mentioned),
            "recall": (local.supported, len(source)),
        }

    ratio, lower = Metric(ratio_of), Metric(ratio_of, "lower")
    return Task(
        name=name,
        about="statements about somebody that a given source contradicts or does not support",
        source=Source(make=lambda: _sources(graph, year, hidden, seed)),
        ask=ask,
        measure=measure,
        metrics={
            "intrinsic": lower,
            "extrinsic": lower,
            "unsupported": lower,
            "entity_precision": ratio,
            "recall": ratio,
        },
        show=lambda document: f"{question(document)} {document['source']}\n\n",
        shots=shots,
    )
