"""CatalogueFacts of a catalogue, and statements that agree with them or do not."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError, DataError
from jaxrec.data import ItemTable
from jaxrec.eval import Verdicts
from jaxrec.prompting import GenerateOptions, ScriptedModel
from jaxrec.texts import CatalogueFacts, factual_form, factual_shares, refine, sentence_form

GENRES = ["Drama", "Film-Noir", "Sci-Fi", "Horror"]


def _facts(rows):
    fields = {
        "title": np.array([f"Film {n}" for n in range(len(rows))], dtype=object),
        "genres": np.array([" | ".join(genres) for genres, _ in rows], dtype=object),
        "year": np.array([year for _, year in rows], dtype=object),
    }
    return CatalogueFacts.of(
        ItemTable(np.array([str(n) for n in range(len(rows))]), fields), fields["title"]
    )


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(GENRES), unique=True), st.sampled_from(["1950", ""])),
        min_size=2,
        max_size=4,
    ),
    st.lists(st.sampled_from(GENRES), unique=True),
)
@settings(deadline=None)
def test_statements_are_judged_as_sets_say(rows, said):
    facts = _facts(rows)
    known = {genre for genres, _ in rows for genre in genres}
    text = f"a film of {', '.join(said)}" if said else "a film"
    found = facts.check(text.lower(), 0)
    stated, own = set(said) & known, set(rows[0][0])
    assert found.supported == len(stated & own)
    # Nothing can be contradicted where nothing is known.
    assert (found.contradicted if own else found.unverifiable) == len(stated - own)
    assert found.total == len(stated)


def test_years_are_statements_and_titles_are_not():
    facts = _facts([(["Drama"], "1950"), (["Horror"], "1960")])
    assert facts.check("A film of 1950, a drama.", 0) == Verdicts(
        supported=2, contradicted=0, unverifiable=0
    )
    assert facts.check("It is from 1951 and runs 1950s jokes", 0).contradicted == 1
    table = ItemTable(np.array(["1"]), {"genres": np.array(["Drama"], dtype=object)})
    named = CatalogueFacts.of(table, ["Family Drama"])
    assert named.check("Family Drama is long.", 0).total == 0


def test_a_corrupted_graph_lowers_the_precision():
    right = _facts([(["Drama"], "1950"), (["Horror"], "1960")])
    wrong = _facts([(["Horror"], "1951"), (["Drama"], "1960")])
    texts = [right.text([0]), right.text([1])]
    shares = [
        factual_shares([facts.check(text, item) for item, text in enumerate(texts)])
        for facts in (right, wrong)
    ]
    assert shares[0]["factual_precision"] == 1.0 > shares[1]["factual_precision"] > 0
    assert shares[0]["factual_coverage"] == 1.0
    assert np.isnan(factual_shares([])["factual_precision"])


def test_a_text_that_contradicts_the_catalogue_is_asked_for_again():
    facts = _facts([(["Drama"], "1950"), (["Horror"], "1960")])
    form = factual_form(sentence_form(8), facts, 0)
    assert form.read("A drama of 1950.") == "A drama of 1950."
    assert form.read("A horror film.").fault == "it says horror, and the genres of Film 0 are Drama"
    assert facts.contradictions("horror of 1951", 0) == [("genres", "horror"), ("year", "1951")]
    script = ScriptedModel(
        lambda prompt, sample: (
            "A drama." if "the genres of Film 0 are Drama" in prompt else "Horror!"
        )
    )
    refined = refine(script, ["Why?"], [form], GenerateOptions())
    assert refined.values == ["A drama."] and refined.rounds.tolist() == [1]


def test_a_catalogue_without_facts_is_rejected():
    table = ItemTable(np.array(["1"]), {"colour": np.array(["red"], dtype=object)})
    with pytest.raises(DataError, match="none of the fields genres, categories, year"):
        CatalogueFacts.of(table, ["x"])
    with pytest.raises(ConfigError, match="2 titles for 1 items"):
        CatalogueFacts.of(table, ["x", "y"])
