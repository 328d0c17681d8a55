"""Conversations: what a seeker may say, what a recommender answers, and how turns are written."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import DataError
from jaxrec.data import Dataset, ItemTable, leave_one_out
from jaxrec.ids import simple
from jaxrec.systems.p5.tasks import TASKS
from jaxrec.testing import tiny_interactions
from jaxrec.texts import (
    OTHER_SAYINGS,
    SAYINGS,
    Conversations,
    Datum,
    Genres,
    PromptData,
    Questions,
    Turn,
    check_data,
    converse,
    make_names,
    training_stream,
)

GENRES = ("Drama", "Comedy", "Western", "Musical", "Horror")


def _table(interactions):
    """Items with one to three genres each, and one without any."""
    rng, items = np.random.default_rng(7), interactions.items
    lists = [rng.permutation(GENRES)[: rng.integers(1, 4)] for _ in range(len(items))]
    column = np.array(["", *(" | ".join(names) for names in lists[1:])], dtype=object)
    return ItemTable(items.ids, items.fields | {"genres": column})


@pytest.fixture(scope="module")
def data():
    interactions = tiny_interactions()
    interactions = dataclasses.replace(interactions, items=_table(interactions))
    dataset = Dataset(interactions, leave_one_out(interactions))
    return PromptData(
        dataset=dataset,
        names=make_names("tokens", "tokens", simple.independent(30), 40),
        ratings=None,
        reviews=None,
        max_items=4,
        candidates=6,
    )


def _check(datum, data, met):
    """Every sentence of a seeker is true, by the texts of the items."""
    fields = data.dataset.interactions.items.fields["genres"]
    of = [set(filter(None, text.lower().split(" | "))) for text in fields]
    said = set()
    for place, (kind, number) in enumerate(datum.turns):
        if kind == "genre":
            name = data.genres.names[number]
            assert name in of[datum.item] and name not in said
            said.add(name)
        elif kind == "example":
            assert number in datum.history and number != datum.item
        else:
            assert place > 0 and number != datum.item and number not in met
            assert said <= of[number]
    if of[datum.item]:
        assert datum.turns[0].kind == "genre"
    things = [turn for turn in datum.turns if turn.kind != "genre"]
    assert len(set(things)) == len(things)


def test_seekers_tell_the_truth_and_never_the_target(data):
    stream = Conversations().training(data)
    train = data.dataset.split.train.sequences()
    rng, kinds, lengths = np.random.default_rng(0), set(), set()
    for place in range(stream.size):
        datum = stream.draw(place, rng)
        _check(datum, data, train[datum.user])
        kinds |= {turn.kind for turn in datum.turns}
        lengths.add(len(datum.turns))
    assert kinds == {"genre", "example", "rejection"}
    assert lengths == {1, 2, 3, 4}


@pytest.mark.parametrize("stage", ["valid", "test"])
def test_conversations_of_an_evaluation_reject_no_held_out_item_of_their_user(stage, data):
    split = data.dataset.split
    examples = Conversations().held_out(data, stage, np.arange(40))
    again = Conversations().held_out(data, stage, np.arange(40)[::-1])
    for user, (datum, other) in enumerate(zip(examples, again[::-1], strict=True)):
        met = [*split.history(stage)[user], split.valid_target[user], split.test_target[user]]
        _check(datum, data, met)
        assert datum.item == split.target(stage)[user]
        assert len(datum.turns) == 4
        assert datum.turns == other.turns


def test_examples_that_share_a_genre_come_before_others_and_recent_ones_first(data):
    table = data.genres.table
    for datum in Conversations(most=8).held_out(data, "test", np.arange(40)):
        named = [turn.number for turn in datum.turns if turn.kind == "example"]
        order = datum.history[::-1].tolist()
        shares = [table[item] @ table[datum.item] > 0 for item in named]
        assert shares == sorted(shares, reverse=True)
        for kind in (True, False):
            mine = [i for i, share in zip(named, shares, strict=True) if share == kind]
            wanted = [i for i in order if (table[i] @ table[datum.item] > 0) == kind]
            assert mine == list(dict.fromkeys(wanted))[: len(mine)]


def test_no_conversation_of_the_training_tells_of_a_held_out_pair(data):
    split = data.dataset.split
    stream, rng = Conversations().training(data), np.random.default_rng(0)
    for place in range(stream.size):
        datum = stream.draw(place, rng)
        told = {datum.item} | {t.number for t in datum.turns if t.kind == "example"}
        assert not told & {int(split.valid_target[datum.user]), int(split.test_target[datum.user])}


def test_turns_are_written_as_they_are_meant(data):
    task = TASKS["conversation"].fit(data.names)
    datum = Datum(
        user=3,
        history=np.array([5, 6]),
        item=9,
        turns=(Turn("genre", 1), Turn("example", 5), Turn("rejection", 7), Turn("rejection", 8)),
    )
    fields = task.fields(datum, data)
    # The wording of a turn follows from its number and place: the second one, where they are odd.
    genre = data.genres.names[1]
    assert fields["turns"] == (
        f"some {genre} please , i liked<a_5> ,<a_7> is not for me ,<a_8> is not for me"
    )
    assert fields["reworded"] == (
        f"i want some {genre} , something like<a_5> please , i want something not like<a_7> , "
        "i want something not like<a_8>"
    )
    assert Questions(data=[datum], prompts=[""]).seen[0].tolist() == [5, 6, 7, 8]


def test_unseen_sayings_use_words_of_seen_ones():
    def words(sayings):
        return {w for ways in sayings.values() for way in ways for w in way.split() if "{" not in w}

    assert words(OTHER_SAYINGS) <= words(SAYINGS)
    seen = {way for ways in SAYINGS.values() for way in ways}
    assert not seen & {way for ways in OTHER_SAYINGS.values() for way in ways}


def test_the_unseen_wording_shows_the_unseen_sayings_alone(data):
    task = TASKS["conversation"].fit(data.names)
    stream = training_stream(task, data)
    sources = [stream.example(0, place)[0] for place in range(200)]
    assert not any("i want some " in text or "want something not" in text for text in sources)
    fields = task.fields(Datum(user=0, item=1, turns=(Turn("genre", 0),)), data)
    assert "i want some " in task.wordings["unseen"].ask(fields)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_seeker_rejects_what_was_recommended_first_but_never_the_target(drawn):
    kinds = st.sampled_from(["genre", "example", "rejection"])
    plans = [
        Datum(
            item=drawn.draw(st.integers(0, 5)),
            turns=tuple(Turn(kind, 40 + n) for n, kind in enumerate(drawn.draw(st.lists(kinds)))),
        )
        for _ in range(3)
    ]
    asked = []

    def recommend(data):
        asked.append([datum.turns for datum in data])
        rng = np.random.default_rng(len(asked))
        return np.stack([rng.permutation(np.arange(-1, 6))[:3] for _ in data])

    lists = converse(plans, recommend)
    assert len(lists) == len(asked) == max(len(plan.turns) for plan in plans)
    for place, turns in enumerate(asked):
        for row, plan in enumerate(plans):
            said = turns[row]
            assert len(said) == min(place + 1, len(plan.turns))
            if place >= len(plan.turns):
                assert said == asked[place - 1][row]
                continue
            before, now = said[:-1], said[-1]
            assert before == (asked[place - 1][row] if place else ())
            expected = plan.turns[place]
            if expected.kind == "rejection" and place:
                earlier = [turn.number for turn in before if turn.kind == "rejection"]
                for item in lists[place - 1][row].tolist():
                    if item != -1 and item != plan.item and item not in earlier:
                        expected = Turn("rejection", item)
                        break
            assert now == expected


def test_genres_are_read_from_the_first_field_that_the_items_have(data):
    ids = np.array(["a", "b"])
    column = np.array(["Nails | Beauty | Nails", "Beauty"], dtype=object)
    genres = Genres.read(ItemTable(ids, {"categories": column}))
    assert genres.names == ("beauty", "nails")
    assert [row.tolist() for row in genres.of_item] == [[1, 0], [0]]
    assert genres.table.tolist() == [[True, True], [True, False]]
    with pytest.raises(DataError, match="no field genres or categories"):
        Genres.read(ItemTable(ids, {"title": column}))
    empty = np.array(["", ""], dtype=object)
    with pytest.raises(DataError, match="'genres' is empty for all items"):
        Genres.read(ItemTable(ids, {"genres": empty}))
    # Data without genres are refused before any work, and only where a task needs them.
    interactions = data.dataset.interactions
    bare = dataclasses.replace(interactions, items=ItemTable(interactions.items.ids))
    dataset = Dataset(bare, data.dataset.split)
    check_data(dataset, [TASKS["sequential"]], 6)
    with pytest.raises(DataError, match="no field genres or categories"):
        check_data(dataset, [TASKS["conversation"]], 6)


def test_a_conversation_ends_early_where_there_is_nothing_left_to_say():
    """Every item is a target's, a history's, or barred: no rejection is possible."""
    interactions = tiny_interactions(users=3, items=12)
    dataset = Dataset(interactions, leave_one_out(interactions))
    data = PromptData(
        dataset=dataset,
        names=make_names("tokens", "tokens", simple.independent(12), 3),
        ratings=None,
        reviews=None,
        max_items=4,
        candidates=2,
    )
    for datum in Conversations(most=40).held_out(data, "test", np.arange(3)):
        split = dataset.split
        met = [*datum.history, split.valid_target[datum.user], datum.item]
        _check(datum, data, met)
        assert len(datum.turns) < 40
