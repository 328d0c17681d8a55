"""Repeated runs of words and sentences against brute force, in portions of any size."""

import numpy as np
import pytest

from jaxrec.data.corpora import (
    Overlap,
    SentenceRuns,
    WordRuns,
    occurs_earlier,
    splitters,
    suffix_repeats,
)


def brute_force(texts, length):
    seen, marks = set(), []
    for text in texts:
        runs = [tuple(text[n : n + length]) for n in range(max(len(text) - length + 1, 0))]
        here = []
        for run in runs:
            here.append(run in seen)
            seen.add(run)
        marks.append(here)
    return marks


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 50])
def test_a_suffix_array_and_hashes_find_what_brute_force_finds(length):
    rng = np.random.default_rng(length)
    texts = [rng.integers(0, 3, rng.integers(0, 90)).tolist() for _ in range(12)]
    texts[7] = texts[2] + texts[3]
    expected = brute_force(texts, length)
    assert [marks.tolist() for marks in suffix_repeats(texts, length)] == expected
    runs = WordRuns(length)
    columns = [runs.hashes(" ".join(map(str, text))) for text in texts]
    for portion in (7, 10**6):
        marks = np.zeros(sum(map(len, columns)), bool)
        occurs_earlier(columns, marks, portion)
        assert marks.tolist() == [mark for text in expected for mark in text]


def test_repeated_words_go_with_the_space_after_them():
    runs = WordRuns(3)
    text = "one two  three\nfour five six"
    assert runs.remove(text, np.array([False, True, False, False])) == ("one five six", "")
    assert runs.remove(text, np.array([True, False, False, True])) == ("", "every word is repeated")


def test_sentences_of_repeated_runs_are_removed_and_short_rests_dropped():
    split = splitters("plain").sentences
    text = "One is it. Two is it. Three is it.\n\nFour is it. Five is it."
    runs = SentenceRuns(3, split, min_sentences=2, min_words=5)
    assert len(runs.hashes(text)) == 3
    left, reason = runs.remove(text, np.array([True, False, False]))
    assert (left, reason) == ("Four is it. Five is it.", "")
    assert runs.remove(text, np.array([True, True, False]))[1] == "too few sentences are left"
    runs = SentenceRuns(3, split, min_sentences=2, min_words=7)
    assert runs.remove(text, np.array([True, False, False]))[1] == "too few words are left"
    # Case and marks make no other sentence; the place of a run of marks alone makes it distinct.
    assert (runs.hashes("A b. C d! E f.") == runs.hashes("a B? c D. e F!")).all()
    marks = runs.hashes("... ... ... ...")
    assert len(set(marks.tolist())) == len(marks) == 2


def test_overlap_needs_a_whole_run_in_any_case_and_punctuation():
    words = [f"w{n}" for n in range(20)]
    seen = Overlap([" ".join(words)], words=13)
    assert len(seen.runs) == 8
    assert seen("Before. " + ", ".join(words[3:16]).upper() + " after")
    assert not seen(" ".join(words[3:15]) + " x " + " ".join(words[15:]))
    assert not Overlap(["too short"], words=13)("too short")
