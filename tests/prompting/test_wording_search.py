"""Grammars against their lists of texts, and the search against a brute force over them."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    Grammar,
    GrammarParaphrases,
    ModelParaphrases,
    ScriptedModel,
    WordingOptions,
    search_wordings,
)

RULES = {
    "start": ("{say} {what}.", "{what}? {say}!", "Go"),
    "say": ("tell", "say {manner}"),
    "manner": ("now", "soon", "well"),
    "what": ("who", "why"),
}
TEXTS = [
    *(f"{say} {what}." for say in ("tell", "say now", "say soon", "say well") for what in
      ("who", "why")),
    *(f"{what}? {say}!" for what in ("who", "why") for say in
      ("tell", "say now", "say soon", "say well")),
    "Go",
]  # fmt: skip


def test_texts_are_all_combinations():
    assert Grammar(RULES).texts() == TEXTS


@given(seed=st.integers(0, 2**31), changes=st.integers(0, 4))
@settings(max_examples=50, deadline=None)
def test_what_is_drawn_and_varied_is_one_of_the_texts(seed, changes):
    grammar, rng = Grammar(RULES), np.random.default_rng(seed)
    derivation = grammar.draw(rng)
    for _ in range(changes):
        assert grammar.text(derivation) in TEXTS
        derivation = grammar.vary(rng, derivation)
    assert grammar.text(derivation) in TEXTS


def test_every_text_is_reached_by_small_changes():
    grammar, rng = Grammar(RULES), np.random.default_rng(0)
    derivation, met = grammar.draw(rng), set()
    for _ in range(600):
        met.add(grammar.text(derivation))
        derivation = grammar.vary(rng, derivation)
    assert met == set(TEXTS)


def test_a_change_of_a_leaf_keeps_the_rest():
    """Of the four choices of this text, one is the leaf."""
    grammar = Grammar({"start": ("{a} {b} {c}",), "a": ("1", "2"), "b": ("3", "4"), "c": ("5",)})
    rng = np.random.default_rng(0)
    derivation = grammar.draw(rng)
    before = grammar.text(derivation).split()
    changed = [grammar.text(grammar.vary(rng, derivation)).split() for _ in range(200)]
    differing = [sum(a != b for a, b in zip(before, text, strict=True)) for text in changed]
    assert {0, 1, 2} == set(differing)
    # Only a new draw of the whole text, a quarter of the changes, can change two parts.
    assert differing.count(2) < differing.count(1)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"begin": ("a",)}, "needs the symbol 'start'; it has begin"),
        ({"start": ("{a}",), "a": ()}, "'a' has no alternatives"),
        ({"start": ("{sya}",), "say": ("b",)}, "'sya', which has no rule.*say"),
        ({"start": ("{a}",), "a": ("b {c}",), "c": ("{a}",)}, "a -> c -> a"),
    ],
)
def test_grammars_without_texts_are_refused(rules, message):
    with pytest.raises(ConfigError, match=message):
        Grammar(rules)


def _value(text):
    return text.count("s") - 0.1 * len(text)


def test_the_search_finds_the_best_text_and_scores_each_once():
    asked = []

    def score(texts):
        asked.extend(texts)
        return np.array([_value(text) for text in texts])

    options = WordingOptions(rounds=8, begin=3, keep=3, variants=4)
    found = search_wordings(score, GrammarParaphrases(Grammar(RULES)), ["zzz"], options)
    assert len(asked) == len(set(asked)) == len(found)
    capital = [text[:1].upper() + text[1:] for text in TEXTS]
    assert set(asked) <= {*capital, "zzz"}
    assert _value(found[0].text) == max(map(_value, capital))
    assert [w.score for w in found] == sorted((_value(t) for t in asked), reverse=True)
    assert all(w.score == _value(w.text) for w in found)
    assert "zzz" in {w.text for w in found if w.round == 0}


def test_given_texts_alone_may_win():
    def score(texts):
        return np.array([float(text == "given") for text in texts])

    found = search_wordings(score, GrammarParaphrases(Grammar(RULES)), ["given"], WordingOptions())
    assert (found[0].text, found[0].round) == ("given", 0)


def test_a_model_says_it_in_other_words():
    """A chain of paraphrases, each found from the best one before it."""
    lines = {"one": " two\nand more", "two": "three", "three": ""}

    def answer(prompt, sample):
        text = prompt.partition("Text: ")[2].partition("\n")[0]
        return lines[text] if sample == 0 else text

    model = ScriptedModel(answer)
    values = {"one": 1, "two": 2, "three": 3}
    found = search_wordings(
        lambda texts: np.array([values[text] for text in texts]),
        ModelParaphrases(model),
        ["one"],
        WordingOptions(rounds=3, keep=1, variants=2),
    )
    assert [(w.text, w.round) for w in found] == [("three", 2), ("two", 1), ("one", 0)]
    with pytest.raises(ConfigError, match="no wording to begin with"):
        search_wordings(lambda t: np.zeros(len(t)), ModelParaphrases(model), [], WordingOptions())
