"""Tags and spans: there and back, legal sequences, and repair as seqeval reads."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Span, TagSet, repair_tags, spans_of_tags, tags_of_spans

KINDS = ("a", "b")
SCHEMES = {"BIO": "BI", "BIOES": "BIES"}


@st.composite
def labeled(draw):
    """Spans that do not overlap, unknown tokens between them, and the length of the text."""
    spans, unknown, place = [], [], 0
    for kind, gap, length, hidden in draw(
        st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(1, 4), st.booleans()),
            max_size=5,
        )
    ):
        unknown += range(place, place + gap) if hidden else ()
        place += gap
        spans.append(Span(place, place + length, kind))
        place += length
    return spans, unknown, place + draw(st.integers(0, 2))


def tag_lists(scheme):
    names = ["O", *(f"{p}-{k}" for p in SCHEMES[scheme] for k in KINDS)]
    return st.lists(st.sampled_from(names), max_size=8)


@settings(deadline=None)
@given(case=labeled(), scheme=st.sampled_from(list(SCHEMES)))
def test_spans_come_back_from_their_tags(case, scheme):
    spans, unknown, length = case
    tags = tags_of_spans(spans, length, scheme, unknown)
    assert len(tags) == length and [i for i, t in enumerate(tags) if t == "U"] == unknown
    assert spans_of_tags(tags, scheme) == spans
    assert repair_tags(tags, scheme) == (tags, 0)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), scheme=st.sampled_from(list(SCHEMES)))
def test_repaired_tags_are_legal_and_have_the_spans_that_seqeval_reads(data, scheme):
    get_entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    tags = data.draw(tag_lists(scheme))
    repaired, changed = repair_tags(tags, scheme)
    spans = spans_of_tags(repaired, scheme)
    assert [(s.kind, s.start, s.end - 1) for s in spans] == get_entities(tags)
    assert changed == sum(a != b for a, b in zip(tags, repaired, strict=True))
    assert repair_tags(repaired, scheme) == (repaired, 0)
    try:
        legal = spans_of_tags(tags, scheme)
    except DataError:
        assert changed > 0
    else:
        assert (legal, changed) == (spans, 0)


def test_legal_sequences_are_those_that_spans_can_write():
    """Every way to cut a text into spans, against every sequence of tags."""
    tags = TagSet(KINDS)
    follows, starts, ends = tags.legal
    writable = set()
    for cuts in itertools.product(["O", "a", "b"], [0, 1], repeat=4):
        kinds, joins = cuts[::2], cuts[1::2]
        spans, place = [], 0
        while place < 4:
            end = place + 1
            while end < 4 and joins[end] and kinds[end] == kinds[place]:
                end += 1
            if kinds[place] != "O":
                spans.append(Span(place, end, kinds[place]))
            place = end
        writable.add(tuple(tags.numbers(tags_of_spans(spans, 4)).tolist()))
    found = {
        path
        for path in itertools.product(range(len(tags)), repeat=4)
        if starts[path[0]]
        and ends[path[-1]]
        and all(follows[path[t], path[t + 1]] for t in range(3))
    }
    assert found == writable
    for path in found:
        spans_of_tags([tags.names[number] for number in path])


def test_an_unknown_tag_allows_everything_and_is_no_tag_of_the_set():
    tags = TagSet(("skill",))
    assert "U" not in tags.names and len(tags) == 5
    allowed = tags.allowed(tags.numbers(["B-skill", "U"]))
    assert allowed.tolist() == [[False, True, False, False, False], [True] * 5]
    assert np.flatnonzero(tags.legal[1]).tolist() == [0, 1, 4]
    assert np.flatnonzero(tags.legal[2]).tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("tags", "scheme", "words"),
    [
        (["O", "I-a"], "BIO", ["token 1", "I-a after O", "BIO"]),
        (["B-a", "I-b"], "BIO", ["token 1", "I-b after B-a"]),
        (["B-a", "O"], "BIOES", ["token 1", "O after B-a"]),
        (["B-a", "U", "E-a"], "BIOES", ["token 1", "U after B-a"]),
        (["S-a", "B-a"], "BIOES", ["B-a at the end"]),
        (["E-a"], "BIO", ["token 0", "no tag of BIO"]),
        (["B"], "BIO", ["no tag of BIO", "B-skill"]),
        (["X-a"], "BIOES", ["no tag of BIOES"]),
    ],
)
def test_illegal_tags_are_named(tags, scheme, words):
    with pytest.raises(DataError) as error:
        spans_of_tags(tags, scheme)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("spans", "unknown", "words"),
    [
        ([Span(0, 2, "a"), Span(1, 3, "b")], [], "overlaps another span at token 1"),
        ([Span(2, 5, "a")], [], "no tokens of a text of 4"),
        ([Span(1, 1, "a")], [], "no tokens"),
        ([Span(1, 2, "a")], [1], "token 1 cannot be unknown"),
    ],
)
def test_spans_that_cannot_be_written_are_named(spans, unknown, words):
    with pytest.raises(DataError, match=words):
        tags_of_spans(spans, 4, unknown=unknown)


def test_unknown_names_and_double_kinds_are_errors():
    with pytest.raises(DataError, match="token 1 has the tag 'B-x'"):
        TagSet(("a",)).numbers(["O", "B-x"])
    for kinds in ((), ("a", "a"), ("",)):
        with pytest.raises(ConfigError, match="different names"):
            TagSet(kinds)
