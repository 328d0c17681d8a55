"""Distant labels and the lexicon's filter against searches of everything."""

import itertools
import math

import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError, DataError
from jaxrec.data import (
    Lexicon,
    Matcher,
    Span,
    count_phrases,
    filter_lexicon,
    normalize_word,
    phrase_pmi,
    spans_of_tags,
)

WORDS = ("a", "b", "c")
PHRASES = [p for n in (1, 2, 3) for p in itertools.product(WORDS, repeat=n)]


def phrase_sets(least):
    return st.sets(st.sampled_from(PHRASES), min_size=least, max_size=6).map(frozenset)


def by_search(words, certain, uncertain, partial, unmatched):
    """The labels, from lists of all matches of all phrases at all places."""
    n = len(words)
    runs = [(a, b) for a in range(n) for b in range(a + 1, n + 1)]
    matches = [(a, b) for a, b in runs if tuple(words[a:b]) in certain | uncertain]
    chosen, place = [], 0
    while any(a >= place for a, _ in matches):
        first = min(a for a, _ in matches if a >= place)
        place = max(b for a, b in matches if a == first)
        chosen.append((first, place))
    taken = {w for a, b in chosen for w in range(a, b)}
    spans = [Span(a, b, "k") for a, b in chosen if tuple(words[a:b]) in certain]
    unknown = {w for a, b in chosen if tuple(words[a:b]) in uncertain for w in range(a, b)}
    for a, b in runs:
        run = tuple(words[a:b])
        if not partial or b - a < partial or taken & set(range(a, b)):
            continue
        for phrase in certain | uncertain:
            inner = [phrase[i : i + b - a] for i in range(len(phrase) - (b - a) + 1)]
            if len(phrase) > b - a and run in inner:
                unknown |= set(range(a, b))
    if unmatched == "unknown":
        unknown |= set(range(n)) - taken
    return tuple(spans), tuple(sorted(unknown))


@settings(deadline=None, max_examples=300)
@given(
    words=st.lists(st.sampled_from(WORDS), max_size=8),
    certain=phrase_sets(1),
    uncertain=phrase_sets(0),
    partial=st.integers(0, 2),
    unmatched=st.sampled_from(["outside", "unknown"]),
)
def test_labels_equal_a_search_of_all_matches(words, certain, uncertain, partial, unmatched):
    uncertain -= certain
    lexicon = Lexicon("k", certain, uncertain)
    found = Matcher.of([lexicon], partial=partial, unmatched=unmatched).label(words)
    assert (found.spans, found.unknown) == by_search(words, certain, uncertain, partial, unmatched)
    tags = found.tags(len(words))
    assert tuple(spans_of_tags(tags)) == found.spans
    assert tuple(n for n, tag in enumerate(tags) if tag == "U") == found.unknown


def test_the_longest_of_the_phrases_at_a_place_is_matched_however_words_are_written():
    lexicon = Lexicon.of("k", ["project management", "management of change", "C++", ".NET", "java"])
    words = ["Project", "Management,", "of", "change", "in", "c++", ";", "(.Net)"]
    assert Matcher.of([lexicon], partial=0).label(words).spans == (
        Span(0, 2, "k"),
        Span(5, 6, "k"),
        Span(7, 8, "k"),
    )


def test_a_phrase_of_two_kinds_is_uncertain():
    lexicons = [Lexicon.of("skill", ["java", "lead"]), Lexicon.of("place", ["java"])]
    assert Matcher.of(lexicons).label(["lead", "java"]).tags(2) == ["S-skill", "U"]
    assert Matcher.of(lexicons[::-1]).label(["lead", "java"]).tags(2) == ["S-skill", "U"]


def pmi_by_counting(phrase, texts):
    """The least mutual information over all cuts, from lists of all runs of words."""
    total = sum(map(len, texts))

    def share(part):
        n = len(part)
        return sum(t[i : i + n] == part for t in texts for i in range(len(t) - n + 1)) / total

    cuts = [(phrase[:c], phrase[c:]) for c in range(1, len(phrase))]
    return min(math.log(share(phrase) / (share(a) * share(b))) for a, b in cuts)


@settings(deadline=None, max_examples=50)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(tuple), min_size=1, max_size=4
    ),
    phrases=phrase_sets(1),
    least=st.integers(1, 2),
    most=st.integers(1, 3),
    bound=st.floats(-1, 1),
)
def test_the_filter_equals_counting_of_all_runs(texts, phrases, least, most, bound):
    def occurrences(p):
        return sum(t[i : i + len(p)] == p for t in texts for i in range(len(t)))

    kept = {p for p in phrases if occurrences(p) >= least}
    counts, total = count_phrases(phrases, texts)
    assert total == sum(map(len, texts))
    assert all(counts[p] == occurrences(p) for p in phrases)
    lexicon = Lexicon("k", frozenset(phrases))
    if not kept:
        with pytest.raises(ConfigError, match="lower the count"):
            filter_lexicon(lexicon, texts, min_count=least)
        return
    measured = {p: pmi_by_counting(p, texts) for p in kept if len(p) > 1}
    for phrase, value in measured.items():
        assert math.isclose(phrase_pmi(phrase, counts, total), value, abs_tol=1e-9)
    bound = bound + 1e-7  # no value is exactly on the bound
    found = filter_lexicon(lexicon, texts, min_count=least, min_pmi=bound)
    weak = {p for p, value in measured.items() if value < bound}
    assert (found.certain, found.uncertain) == (kept - weak, weak)
    frequent = {p for p in kept if occurrences(p) > most}
    found = filter_lexicon(lexicon, texts, min_count=least, max_count=most)
    assert (found.certain, found.uncertain) == (kept - frequent, frequent)


def test_a_smaller_sample_is_a_part_of_a_larger_one():
    lexicon = Lexicon.of("k", [f"word{n}" for n in range(100)])
    parts = [lexicon.sample(share, seed=3).certain for share in (0.2, 0.5, 1.0)]
    assert [len(part) for part in parts] == [20, 50, 100]
    assert parts[0] < parts[1] < parts[2] and lexicon.sample(0.2, seed=4).certain != parts[0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Lexicon.of("skill", []), "the lexicon of skill is empty"),
        (lambda: Lexicon.of("skill", ["--", " "]), "the lexicon of skill is empty"),
        (lambda: Lexicon("skill", frozenset([()])), "without words"),
        (lambda: Lexicon("k", frozenset([("a",)]), frozenset([("a",)])), "certain and uncertain"),
        (lambda: Lexicon.of("k", ["a"]).sample(0, 0), "must be in"),
        (lambda: Lexicon.of("k", ["a"]).sample(0.1, 0), "is empty"),
        (lambda: Matcher.of([]), "at least one lexicon"),
    ],
)
def test_lexicons_that_match_nothing_are_errors(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_corpus_without_words_is_an_error():
    with pytest.raises(DataError, match="no words"):
        filter_lexicon(Lexicon.of("k", ["a"]), [[], []])


@given(st.text("aB.#+,;(-ßİ", max_size=6))
def test_a_word_is_normalized_once(word):
    assert normalize_word(normalize_word(word)) == normalize_word(word)
