"""Free texts about items: what they state, and whether it agrees with the facts or does not."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import DataError
from jaxrec.data import ItemTable
from jaxrec.eval import Verdicts
from jaxrec.prompting import GenerateOptions, ScriptedModel
from jaxrec.texts import (
    Facts,
    describe,
    factual_form,
    factual_shares,
    refine,
    sentence_form,
)

GENRES = ["Drama", "Film-Noir", "Sci-Fi", "Horror"]


def _facts(rows):
    fields = {
        "title": np.array([f"Film {n}" for n in range(len(rows))], dtype=object),
        "genres": np.array([" | ".join(genres) for genres, _ in rows], dtype=object),
        "year": np.array([year for _, year in rows], dtype=object),
    }
    return Facts.read(ItemTable(np.array([str(n) for n in range(len(rows))]), fields))


def _check(facts, text, item, title=None):
    return facts.judge(facts.mentioned(text, item, title or f"Film {item}"), item)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(GENRES), unique=True), st.sampled_from(["1950", ""])),
        min_size=2,
        max_size=4,
    ).filter(lambda rows: any(genres or year for genres, year in rows)),
    st.lists(st.sampled_from(GENRES), unique=True),
)
@settings(deadline=None)
def test_statements_are_judged_as_sets_say(rows, said):
    facts = _facts(rows)
    known = {genre for genres, _ in rows for genre in genres}
    text = f"a film of {', '.join(said)}" if said else "a film"
    found = _check(facts, text.lower(), 0)
    stated, own = set(said) & known, set(rows[0][0])
    assert found.supported == len(stated & own)
    # Nothing can be contradicted where nothing is known.
    assert (found.contradicted if own else found.unverifiable) == len(stated - own)
    assert found.total == len(stated)


def test_years_are_statements_and_titles_are_not():
    facts = _facts([(["Drama"], "1950"), (["Horror"], "1960")])
    assert _check(facts, "A film of 1950, a drama.", 0) == Verdicts(
        supported=2, contradicted=0, unverifiable=0
    )
    assert _check(facts, "It is from 1951 and runs 1950s jokes", 0).contradicted == 1
    table = ItemTable(np.array(["1"]), {"genres": np.array(["Drama"], dtype=object)})
    assert _check(Facts.read(table), "Family Drama is long.", 0, "Family Drama").total == 0


def test_a_corrupted_graph_lowers_the_precision():
    right = _facts([(["Drama"], "1950"), (["Horror"], "1960")])
    wrong = _facts([(["Horror"], "1951"), (["Drama"], "1960")])
    texts = [describe(pairs, f"Film {item}") for item, pairs in enumerate(right.of_item)]
    assert texts[0] == "Film 0: genres drama; year 1950."
    shares = [
        factual_shares([_check(facts, text, item) for item, text in enumerate(texts)])
        for facts in (right, wrong)
    ]
    assert shares[0]["factual_precision"] == 1.0 > shares[1]["factual_precision"] > 0
    assert shares[0]["factual_coverage"] == 1.0
    assert np.isnan(factual_shares([])["factual_precision"])


def test_a_text_that_contradicts_the_catalogue_is_asked_for_again():
    facts = _facts([(["Drama"], "1950"), (["Horror"], "1960")])
    form = factual_form(sentence_form(8), facts, 0, "Film 0")
    assert form.read("A drama of 1950.") == "A drama of 1950."
    assert form.read("A horror film.").fault == "it says horror, and the genres of Film 0 are drama"
    assert form.read("From 1951.").fault == "it says 1951, and the year of Film 0 is 1950"
    said = facts.mentioned("horror of 1951", 0, "Film 0")
    assert facts.contradicted(said, 0) == [("has_genre", "horror"), ("released_in", "1951")]
    script = ScriptedModel(
        lambda prompt, sample: (
            "A drama." if "the genres of Film 0 are drama" in prompt else "Horror!"
        )
    )
    refined = refine(script, ["Why?"], [form], GenerateOptions())
    assert refined.values == ["A drama."] and refined.rounds.tolist() == [1]


def test_a_catalogue_may_have_categories_or_years_alone():
    column = np.array(["Hair | Nails", ""], dtype=object)
    facts = Facts.read(ItemTable(np.array(["1", "2"]), {"categories": column}))
    assert describe(facts.of_item[0], "Comb", facts.kind) == "Comb: categories hair, nails."
    assert describe(facts.of_item[1], "Cup", facts.kind) == ""
    years = ItemTable(np.array(["1"]), {"year": np.array(["1950"], dtype=object)})
    assert Facts.read(years).of_item == ((("released_in", "1950"),),)


def test_a_catalogue_without_facts_is_rejected():
    table = ItemTable(np.array(["1"]), {"colour": np.array(["red"], dtype=object)})
    assert Facts.find(table) is None
    with pytest.raises(DataError, match="fields genres, categories, year; their fields: colour"):
        Facts.read(table)
