"""The graph by brute force, and its tasks for models that learned its sentences."""

import math
import re

import pytest

from jaxrec.capacity import (
    RELATIONS,
    StudyOptions,
    compare_results,
    completion_task,
    description_task,
    make_fact_graph,
    read_documents,
    read_statements,
    recency_task,
    run_task,
)
from jaxrec.core import ConfigError, DataError
from jaxrec.prompting import ScriptedModel

GRAPH = make_fact_graph(people=20, towns=8, companies=5, change=0.2)
YEAR, CUTOFF = 2024, 2019
STUDY = StudyOptions(resamples=10)


def learned(*years):
    """A model that has read sentences, the last ones best, and knows nothing else."""
    seen = {text: rank for rank, year in enumerate(years, 1) for text in GRAPH.sentences(year)}
    return ScriptedModel(logprob=lambda prompt, text: seen.get(prompt + text, 0) - 5.0)


def run(task, model):
    return run_task(model, task, None, STUDY)


def figures(task, model):
    return {name: found.value for name, found in run(task, model).estimates.items()}


@pytest.mark.parametrize("year", [2015, 2019, 2024])
def test_the_facts_of_a_year_are_the_latest_ones_until_then(year):
    expected = set()
    for name, relation in RELATIONS.items():
        for subject in GRAPH.names[relation.subject]:
            own = [
                (fact.since, fact.triple)
                for fact in GRAPH.facts
                if (fact.subject, fact.relation) == (subject, name) and fact.since <= year
            ]
            # A single fact ends when the next one begins, and no two begin in one year.
            assert not relation.single or len({since for since, _ in own}) == len(own)
            expected |= {triple for _, triple in ([max(own)] if relation.single else own)}
    assert {fact.triple for fact in GRAPH.at(year)} == expected


def test_every_single_relation_has_one_object_at_a_time():
    for year in range(2015, 2025):
        single = [f for f in GRAPH.at(year) if RELATIONS[f.relation].single]
        assert len({(f.subject, f.relation) for f in single}) == len(single) == 20 * 3 + 5


def test_names_are_different_and_sentences_can_be_read_back():
    names = [name for kind in GRAPH.names.values() for name in kind]
    assert len(set(names)) == len(names)
    text = " ".join(GRAPH.sentences(YEAR))
    assert read_statements(text) == [fact.triple for fact in GRAPH.at(YEAR)]


def test_a_model_that_read_the_year_is_at_the_ceiling():
    found = figures(completion_task(GRAPH, YEAR), learned(YEAR))
    assert found == {"mrr": 1.0, "hits@1": 1.0, "hits@3": 1.0, "hits@10": 1.0}


def test_a_model_that_read_nothing_is_at_the_middle_rank():
    task = completion_task(GRAPH, YEAR)
    asked = read_documents(task.source, None).asked
    ranks = [(len(d["candidates"]) - len(d["known"]) + 1) / 2 for d in asked]
    found = figures(task, learned())
    assert found["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    assert found["hits@1"] == 0.0
    assert found["hits@10"] == sum(rank <= 10 for rank in ranks) / len(ranks)


def test_without_the_filter_other_right_answers_would_stand_before():
    task = completion_task(GRAPH, YEAR)
    friends = [
        d for d in read_documents(task.source, None).asked if d["relation"] == "is a friend of"
    ]
    assert len(friends) == 60
    for document in friends:
        things = {document["candidates"][place] for place in document["known"]}
        things.add(document["candidates"][document["gold"]])
        assert things == {
            f.thing
            for f in GRAPH.at(YEAR)
            if (f.subject, f.relation) == (document["subject"], "is a friend of")
        }


def test_every_document_has_its_own_identifier():
    asked = read_documents(completion_task(GRAPH, YEAR).source, None).asked
    assert len({d["_id"] for d in asked}) == len(asked) == len(GRAPH.at(YEAR))


@pytest.mark.parametrize(
    ("years", "expected"),
    [
        ((CUTOFF,), {"accuracy_before": 1.0, "accuracy_after": 0.0, "outdated": 1.0}),
        ((YEAR,), {"accuracy_before": 1.0, "accuracy_after": 1.0, "outdated": 0.0}),
        ((CUTOFF, YEAR), {"accuracy_before": 1.0, "accuracy_after": 1.0, "outdated": 0.0}),
    ],
)
def test_recency_tells_what_a_model_has_read(years, expected):
    assert figures(recency_task(GRAPH, YEAR, CUTOFF), learned(*years)) == expected


def test_facts_that_changed_back_are_left_out():
    asked = read_documents(recency_task(GRAPH, YEAR, CUTOFF).source, None).asked
    past = {(f.subject, f.relation): f.thing for f in GRAPH.at(CUTOFF)}
    for document in asked:
        thing = document["candidates"][document["gold"]]
        unchanged = thing == past[document["subject"], document["relation"]]
        assert unchanged == (document["since"] <= CUTOFF)
    assert len(asked) < 20 * 2 + 5


def test_recency_of_a_model_that_read_nothing_is_chance():
    found = figures(recency_task(GRAPH, YEAR, CUTOFF), learned())
    assert found["accuracy_before"] == pytest.approx(1 / 8, abs=0.1)
    assert found["outdated"] == 0.5


def test_an_update_that_forgets_is_noticed():
    task = completion_task(GRAPH, YEAR)
    old, new = run(task, learned(CUTOFF)), run(task, learned(YEAR))
    half = set(GRAPH.sentences(CUTOFF)) & set(GRAPH.sentences(YEAR))
    kept = compare_results(old, new, "hits@1")
    assert kept.retained == 1.0
    assert kept.change == pytest.approx(1 - len(half) / len(GRAPH.at(YEAR)), abs=0.05)
    forgotten = compare_results(new, run(task, learned()), "hits@1")
    assert forgotten.retained == 0.0
    assert math.isnan(forgotten.learned)
    with pytest.raises(ConfigError, match="no metric"):
        compare_results(old, new, "accuracy")
    with pytest.raises(ConfigError, match="different tasks"):
        compare_results(old, run(recency_task(GRAPH, YEAR, CUTOFF), learned()), "hits@1")
    fewer = run_task(learned(), task, None, StudyOptions(limit=5, resamples=10))
    with pytest.raises(DataError, match="different documents"):
        compare_results(old, fewer, "hits@1")


def describe(make):
    """Figures of a model that answers from the person and the source in its prompt."""

    def answer(prompt, sample):
        source, person = re.findall(r"Facts: (.*)\nAbout (.*):", prompt)[-1]
        return f" {make(source, person)}\nFacts: more"

    return figures(description_task(GRAPH, YEAR), ScriptedModel(answer))


def test_one_who_copies_the_source_makes_nothing_up():
    assert describe(lambda source, person: source) == {
        "intrinsic": 0.0,
        "extrinsic": 0.0,
        "unsupported": 0.0,
        "entity_precision": 1.0,
        "recall": 1.0,
    }


def test_one_who_contradicts_the_source_is_intrinsically_wrong():
    def wrong(source, person):
        # The first fact of each person that is shown is one that has a single object.
        return re.sub(r"(was born in|lives in|works for) \w+( Works)?", r"\1 Nowhere", source)

    found = describe(wrong)
    assert found["intrinsic"] > 0.2
    assert found["extrinsic"] == 0.0
    assert found["unsupported"] == found["intrinsic"]
    assert found["recall"] < 1.0


def test_one_who_adds_what_is_true_but_not_given_is_extrinsically_wrong_only():
    facts = {}
    for fact in GRAPH.at(YEAR):
        facts.setdefault(fact.subject, []).append(fact.sentence)
    found = describe(lambda source, person: " ".join(facts[person]))
    assert found["intrinsic"] == found["unsupported"] == 0.0
    assert 0.1 < found["extrinsic"] < 0.5
    assert found["recall"] == 1.0
    assert found["entity_precision"] < 1.0


def test_one_who_makes_up_friends_has_no_support():
    found = describe(lambda source, person: f"{person} is a friend of Nobody.")
    assert (found["extrinsic"], found["unsupported"], found["intrinsic"]) == (1.0, 1.0, 0.0)


def test_one_who_says_nothing_has_no_shares():
    found = describe(lambda source, person: "No comment.")
    assert math.isnan(found["intrinsic"])
    assert found["recall"] == 0.0


def test_graphs_and_years_that_cannot_be_are_rejected():
    for settings in ({"people": 3}, {"years": (2020, 2019)}, {"change": 2.0}):
        with pytest.raises(ConfigError):
            make_fact_graph(**settings)
    with pytest.raises(ConfigError, match="begins in 2015"):
        completion_task(GRAPH, 2014)
    with pytest.raises(ConfigError, match="cut-off"):
        recency_task(GRAPH, 2020, 2020)
    with pytest.raises(ConfigError, match="no fact changes"):
        recency_task(make_fact_graph(change=0.0), 2020, 2018)
    with pytest.raises(ConfigError, match="hidden"):
        description_task(GRAPH, YEAR, hidden=1.5)
