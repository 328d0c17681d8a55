"""Facts: sentences that state them, statements read back, graphs that are corrupted on purpose."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Dataset, ItemTable, leave_one_out
from jaxrec.ids import simple
from jaxrec.systems.p5 import TASKS
from jaxrec.testing import tiny_interactions
from jaxrec.texts import (
    AnswerOptions,
    Described,
    Facts,
    FactShares,
    PromptData,
    ask,
    check_readable,
    fact_shares,
    make_names,
    state,
    statements,
    training_stream,
)

WORD = st.text("abof'-", min_size=1, max_size=4)
GENRE = st.one_of(WORD, st.tuples(WORD, st.sampled_from(["of", "from", "b"])).map(" ".join))
GRAPH = st.lists(
    st.tuples(
        st.lists(GENRE, max_size=4, unique=True),
        st.one_of(st.just(""), st.integers(1000, 9999).map(str)),
    ),
    min_size=1,
    max_size=5,
).filter(lambda rows: any(genres for genres, _ in rows))


def _table(rows):
    columns = {
        "genres": np.array([" | ".join(genres) for genres, _ in rows], dtype=object),
        "year": np.array([year for _, year in rows], dtype=object),
    }
    return ItemTable(np.array([str(n) for n in range(len(rows))]), columns)


@settings(max_examples=100, deadline=None)
@given(GRAPH)
def test_what_a_sentence_states_is_read_back(rows):
    facts = check_readable(Facts.read(_table(rows)))
    for item, (genres, year) in enumerate(rows):
        wanted = [("has_genre", genre) for genre in genres]
        wanted += [("released_in", year)] if year else []
        assert list(facts.of_item[item]) == wanted
        sentence = facts.sentence(item)
        assert statements(sentence) == wanted
        assert facts.checked(sentence, item) == sentence
        verdicts = facts.judge(statements(sentence), item)
        assert (verdicts.supported, verdicts.total) == (len(wanted), len(wanted))


@settings(max_examples=100, deadline=None)
@given(GRAPH, st.lists(GENRE, max_size=4, unique=True), st.integers(1000, 9999))
def test_only_what_the_graph_holds_is_left_of_a_text(rows, genres, year):
    facts = Facts.read(_table(rows))
    said = [("has_genre", genre) for genre in genres] + [("released_in", str(year))]
    text = state(said)
    for item, held in enumerate(facts.of_item):
        true = set(said) & set(held)
        assert set(statements(facts.checked(text, item))) == true
        verdicts = facts.judge(statements(text), item)
        assert verdicts.supported == len(true)
        # A catalogue lists all genres of a film, so others are false where it lists any.
        known = {relation for relation, _ in held}
        false = [pair for pair in said if pair not in held and pair[0] in known]
        assert verdicts.contradicted == len(false) == len(facts.contradicted(said, item))
        shares = fact_shares([statements(text)], [list(held) or said])
        assert shares["precision"][0] == pytest.approx(
            (len(true) if held else len(said)) / len(said)
        )


@pytest.mark.parametrize("text", ["", "drama", "a film", "a film drama", "film of drama", "a"])
def test_a_text_of_another_form_states_nothing(text):
    assert statements(text) == []
    assert Facts(((("has_genre", "drama"),),)).checked(text, 0) == ""


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.integers(0, 5))
def test_a_corrupted_fact_is_false_and_of_its_relation(share, seed):
    facts = Facts.read(tiny_interactions().items)
    other = facts.corrupted(share, seed)
    for before, after in zip(facts.of_item, other.of_item, strict=True):
        assert [relation for relation, _ in before] == [relation for relation, _ in after]
        for old, new in zip(before, after, strict=True):
            assert new == old or new not in before
            assert new[1] in facts.values(new[0])
    changed = [a != b for x, y in zip(facts.of_item, other.of_item, strict=True)
               for a, b in zip(x, y, strict=True)]  # fmt: skip
    assert abs(np.mean(changed) - share) < 0.35
    assert share not in (0, 1) or np.mean(changed) == share


def test_facts_that_cannot_be_told_or_falsified_are_refused():
    with pytest.raises(
        DataError, match="no item has a value in one of the fields genres, categories, year"
    ):
        Facts.read(ItemTable(np.array(["a"])))
    for genre in ("war , drama", "tales from 1990"):
        with pytest.raises(DataError, match="rename it"):
            check_readable(Facts.read(_table([([genre], "")])))
    one = Facts.read(_table([(["war"], "1990")]))
    with pytest.raises(ConfigError, match=r"must lie in 0 to 1, got 1\.5"):
        one.corrupted(1.5)
    with pytest.raises(DataError, match="every value of has_genre is true for item 0"):
        one.corrupted(1.0)


@pytest.fixture(scope="module")
def data():
    interactions = tiny_interactions()
    return PromptData(
        dataset=Dataset(interactions, leave_one_out(interactions)),
        names=make_names("tokens", "tokens", simple.independent(30), 40),
        ratings=None,
        reviews=None,
        max_items=4,
        candidates=6,
        facts=Facts.read(interactions.items),
    )


def test_items_of_an_evaluation_are_never_described_in_training(data):
    source = Described()
    valid, test = (set(source.units(data, stage).tolist()) for stage in ("valid", "test"))
    stream, rng = source.training(data), np.random.default_rng(0)
    train = {stream.draw(place, rng).item for place in range(stream.size)}
    assert (len(valid), len(test), len(train)) == (3, 6, 21)
    assert valid | test | train == set(range(30))
    for name in ("about", "about_facts"):
        shown = training_stream(TASKS[name].fit(data.names), data)
        told = {shown.example(0, place) for place in range(20 * shown.size)}
        for item in valid | test:
            assert not any(f"<a_{item}>" in source for source, _ in told)
        true = []
        for source, target in told:
            (item,) = {int(part.split(">")[0]) for part in source.split("<a_")[1:]}
            (_, genre), (_, year) = statements(target)
            true += [pair in data.facts.of_item[item] for pair in statements(target)]
            if name == "about_facts":
                # The answer is what the prompt tells, true or false.
                assert f"<a_{item}> has genre {genre} ," in source
                assert f"<a_{item}> is from {year}" in source
        assert np.mean(true) == (1.0 if name == "about" else pytest.approx(0.2, abs=0.05))


def test_a_prompt_tells_the_graph_that_it_is_given(data):
    task = TASKS["about_facts"].fit(data.names)
    false = dataclasses.replace(data, facts=data.facts.corrupted(1.0))
    examples = task.source.held_out(data, "test", task.source.units(data, "test"))
    one, other = (ask(task, task.wordings["seen"], d, examples) for d in (data, false))
    right = [fields["about"] for fields in one.fields]
    assert FactShares("about").measure(right, one, AnswerOptions())["precision"] == 1.0
    assert FactShares("about").measure(right, other, AnswerOptions())["precision"] == 0.0
    assert all(a != b for a, b in zip(one.prompts, other.prompts, strict=True))
    with pytest.raises(DataError, match="has no facts, and a task asks for them"):
        training_stream(task, dataclasses.replace(data, facts=None))
