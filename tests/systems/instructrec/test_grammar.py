"""The grammar: which cells are legal, and whether every instruction can be read back."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import DataError
from jaxrec.data import Dataset, holes, leave_one_out
from jaxrec.ids import simple
from jaxrec.systems.instructrec import CELLS, COARSE, TASKS, InstructData, Reader, wordings_of
from jaxrec.systems.instructrec.grammar import (
    COMBINED_WORDINGS,
    INTENTION_WORDINGS,
    PREFERENCE_WORDINGS,
    PRIOR,
)
from jaxrec.systems.instructrec.instructions import distinct, name_items
from jaxrec.systems.instructrec.wishes import Wishes
from jaxrec.testing import tiny_interactions
from jaxrec.texts import Datum, Names

ITEMS, USERS = 30, 40
# Titles that look like parts of instructions.
TITLES = [
    "what comes next ? (1995)", "Cook, the Thief, His Wife & Her Lover, The (1989)", "M (1931)",
    "recommend a film", "yes", "likes drama", "someone wants comedy", "so M (1931)", "next film :",
    "and wants western", "after", "Three Colors: Red (1994)", "101 Dalmatians (1996)", "$ (1971)",
    "{asked}", "rank", "for someone who watched M", "history :", "a ; ? b".replace(" ; ", ";"),
]  # fmt: skip


GRAMMAR = "someone watched and wants drama a film next ? : likes so is"


def _data(tokens):
    interactions = tiny_interactions(USERS, ITEMS)
    dataset = Dataset(interactions, leave_one_out(interactions))
    if tokens:
        names = name_items(dataset, simple.independent(ITEMS), titles=False)
    else:
        titles = [*TITLES, *interactions.items.labels()[len(TITLES) :]]
        names = Names(users=["someone"] * USERS, items=distinct(titles), separator=" ; ")
    return InstructData(
        dataset=dataset,
        names=names,
        ratings=None,
        reviews=None,
        max_items=5,
        candidates=4,
        wishes=Wishes.of(dataset),
    )


WRITTEN = {"titles": _data(tokens=False), "tokens": _data(tokens=True)}
READERS = {writing: Reader(data.names, data.wishes.genres) for writing, data in WRITTEN.items()}


def test_the_cells_are_all_products_but_those_without_anything_to_go_by():
    every = {f"P{p}-I{i}-T{t}" for p, i, t in itertools.product(range(3), range(3), range(4))}
    assert every - {cell.name for cell in CELLS} == {"P0-I0-T0", "P0-I0-T1", "P0-I0-T3"}
    assert all(cell.name in TASKS for cell in CELLS)


def test_there_are_39_coarse_templates_and_each_cell_has_one_that_training_sees():
    counts = [len(PREFERENCE_WORDINGS), len(INTENTION_WORDINGS), len(COMBINED_WORDINGS)]
    assert counts == [17, 9, 13]
    assert len({wording.text for wording in COARSE}) == 39
    for cell in CELLS:
        assert any(wording.seen for wording in wordings_of(cell))
        for wording in wordings_of(cell):
            assert holes(wording.text) == cell.holes
    assert {cell for wording in COARSE for cell in wording.cells} == set(CELLS) - {PRIOR}


def test_unseen_wordings_use_only_words_of_seen_ones():
    words = {True: set(), False: set()}
    for wording in COARSE:
        words[wording.seen] |= set(wording.text.split())
    assert words[False] and words[False] <= words[True]


@pytest.mark.parametrize("writing", WRITTEN)
@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_instruction_is_read_back(writing, name, seed):
    data, task = WRITTEN[writing], TASKS[name].fit(WRITTEN[writing].names)
    rng = np.random.default_rng(seed)
    stream = task.source.training(data)
    datum = stream.draw(int(rng.integers(stream.size)), rng)
    fields = task.fields(datum, data)
    for template in task.templates:
        reading = READERS[writing].read(*template.fill(fields))
        assert (reading.task, reading.template) == (name, template.name)
        shown = holes(template.source) | holes(template.target)
        assert reading.fields == {hole: fields[hole] for hole in shown}
        meant = {
            "items": tuple(datum.history[-data.max_items :].tolist()),
            "item": (datum.item,),
            "asked": (datum.asked,),
            "candidates": () if datum.candidates is None else tuple(datum.candidates.tolist()),
        }
        assert reading.items == {hole: meant[hole] for hole in shown & set(meant)}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_titles_made_of_words_of_the_grammar_are_read_back(data):
    """Whatever the titles are: either one reading, the right one, or an error, never another."""
    words = st.sampled_from(GRAMMAR.split(" "))
    title = st.lists(words, min_size=1, max_size=3).map(" ".join)
    titles = distinct(data.draw(st.lists(title, min_size=4, max_size=4)))
    names = Names(users=[], items=titles, separator=" ; ")
    task = TASKS[data.draw(st.sampled_from(["P1-I0-T2", "P1-I2-T2", "P1-I0-T0"]))]
    fields = {
        "items": names.list(np.array([0, 1])),
        "item": titles[2],
        "asked": titles[3],
        "wish": "drama",
        "answer": "yes",
    }
    for template in task.templates:
        source, target = template.fill(fields)
        try:
            reading = Reader(names, ["drama"]).read(source, target)
        except DataError:
            continue
        assert (reading.task, reading.template) == (task.name, template.name)
        assert all(reading.fields[hole] == fields[hole] for hole in reading.fields)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("after M (1931) recommend a book", "M (1931)"),
        ("after M (1932) recommend a film", "M (1931)"),
        ("after M (1931) recommend a film", "M (1932)"),
        ("after recommend a film", "M (1931)"),
        ("after M (1931) ; recommend a film", "M (1931)"),
        ("someone wants cooking recommend a film", "M (1931)"),
        ("someone likes drama and cooking recommend a film", "M (1931)"),
        ("after M (1931) recommend a film ", "M (1931)"),
        ("", ""),
    ],
)
def test_what_is_no_instruction_is_refused(source, target):
    with pytest.raises(DataError, match="none of the grammar"):
        READERS["titles"].read(source, target)


def test_an_instruction_that_may_mean_two_things_is_refused():
    names = Names(users=[], items=["Up", "Up recommend a film"], separator=" ; ")
    reader = Reader(names, ["drama"])
    assert reader.read("after Up recommend a film", "Up").items["items"] == (0,)
    both = Names(users=[], items=["A", "A is B", "B", "B is B"], separator=" ; ")
    with pytest.raises(DataError, match="exactly one must be meant"):
        Reader(both, ["drama"]).read("someone watched A is B is B next ?", "yes")


def test_a_reader_needs_names_that_differ():
    with pytest.raises(DataError, match="both written 'Alien'"):
        Reader(Names(users=[], items=["Alien", "Alien"], separator=" ; "), ["drama"])


def test_titles_that_cannot_be_listed_are_refused_and_equal_ones_are_numbered():
    assert distinct(["A  b", "A b", "A b"]) == ["A b", "A b #2", "A b #3"]
    with pytest.raises(DataError, match="stands between titles"):
        distinct(["A ; b"])
    with pytest.raises(DataError, match="two items would be called 'A #2'"):
        distinct(["A", "A #2", "A"])


def test_an_intention_is_of_the_wished_item_and_of_the_target_by_default():
    data = WRITTEN["tokens"]
    task = TASKS["P0-I2-T2"]
    other = data.wishes.unlike(3, np.random.default_rng(0))
    assert task.fields(Datum(item=3), data)["wish"] == data.wishes.specific(3)
    assert task.fields(Datum(item=3, wished=other), data)["wish"] == data.wishes.specific(other)
    assert data.wishes.specific(3) != data.wishes.specific(other)
