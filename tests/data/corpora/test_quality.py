"""Rules of quality agree with DataTrove's in decision, reason and text, rule by rule."""

import random
from pathlib import Path

import pytest

from jaxrec.core import ConfigError
from jaxrec.data.corpora import (
    C4,
    Document,
    GopherQuality,
    GopherRepetition,
    Parts,
    Quality,
    c4,
    gopher_quality,
    gopher_repetition,
    rule_stages,
    splitters,
)

PLAIN = splitters("plain")
WORDS = (
    *("the", "film", "of", "a", "war", "and", "be", "that", "with", "have", "house", "river"),
    *("12", "--", "#", "...", "Good,", "(bad)", "it's"),
)


def random_text(rng):
    """Text that is close to several limits: few words, short lines, repeats, odd marks."""
    words = rng.choices(WORDS[: rng.randrange(6, len(WORDS))], k=rng.randrange(40, 200))
    lines, width = [], rng.randrange(3, 16)
    for at in range(0, len(words), width):
        start, end = rng.choice(("", "", "- ", "• ")), rng.choice((".", ".", "", "...", " …", "!"))
        lines.append(start + " ".join(words[at : at + width]) + end)
    if rng.random() < 0.4:
        lines += rng.choices(lines, k=rng.randrange(1, 6))
    if rng.random() < 0.3:
        lines.append(rng.choice(("lorem ipsum dolor sit.", "a { b c.", "see [1] this [edit] one.")))
    return rng.choice(("\n", "\n\n", "\n")).join(lines)


@pytest.mark.parametrize("name", Quality().rules)
def test_a_rule_decides_as_datatrove_does(name, monkeypatch):
    pytest.importorskip("datatrove")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "tools" / "bench"))
    from support.datatrove_peer import Rules

    peer, stage = Rules(PLAIN), rule_stages(Quality())[name]
    rng = random.Random(name)
    reasons = set()
    for _ in range(250):
        text = random_text(rng)
        read = stage(Document("0", text))
        ours = ("", read.text) if isinstance(read, Document) else (read.reason, "")
        assert ours == peer.alone(name, text), text
        reasons.add(ours[0])
    assert len(reasons) >= 3  # the texts are near the limits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four.", "too few words"),
        ("word " * 60, "too few stop words"),
        ("the of " * 30, "words too short"),
        ("the extraordinarily characteristically " * 20, "words too long"),
        ("the film of war # " * 30, "too many hashes"),
        ("the film of house 1900 2000 2100 " * 30, "too few words with letters"),
    ],
)
def test_gopher_names_the_limit(text, expected):
    assert gopher_quality(Parts(text, PLAIN), GopherQuality()) == expected


def test_c4_removes_lines_and_citations_and_drops_pages():
    kept = "This line has words.[2][citation needed]"
    text = "\n".join(
        [
            kept,
            "too few.",
            "This one has no end",
            "It wants JavaScript on, please.",
            "We use cookies on this page.",
            "x" * 1001 + " is one word.",
            "And so on ...",
        ]
    )
    assert c4(Parts(text, PLAIN), C4(min_sentences=1)).text == "This line has words."
    assert c4(Parts(text, PLAIN), C4(min_sentences=2)) == "too few sentences"
    assert c4(Parts(text + "\nOf lorem ipsum, a line.", PLAIN), C4()) == "lorem ipsum"
    assert c4(Parts(text + "\nA line with a { in it.", PLAIN), C4()) == "curly bracket"
    assert c4(Parts("A Bad line of words.", PLAIN), C4(bad_words=("bad",))) == "bad word"
    badge = c4(Parts("A badge line of words.", PLAIN), C4(min_sentences=1, bad_words=("bad",)))
    assert badge.text == "A badge line of words."


def test_repeated_runs_do_not_overlap_and_count_from_the_left():
    # "a b c d e" twice: 5 of its 10 characters are repeated, once.
    text = "aa bb cc dd ee aa bb cc dd ee"
    limits = {"lines": 1.0, "top": (1.0, 1.0, 1.0)}
    share = 10 / len(text)
    below = GopherRepetition(**limits, repeated=(share - 0.001,))
    above = GopherRepetition(**limits, repeated=(share + 0.001,))
    assert gopher_repetition(Parts(text, PLAIN), below) == "repeated runs of 5 words"
    assert not isinstance(gopher_repetition(Parts(text, PLAIN), above), str)


def test_settings_that_no_document_passes_are_refused():
    with pytest.raises(ConfigError, match="min-words 200 is above its upper limit 100"):
        GopherQuality(min_words=200, max_words=100)
    with pytest.raises(ConfigError, match=r"'c5' is unknown; rules: gopher_quality.*c4"):
        Quality(rules=("c5",))
    with pytest.raises(ConfigError, match="names a rule twice"):
        Quality(rules=("c4", "c4"))
    with pytest.raises(ConfigError, match="'spacey' is unknown, did you mean 'spacy'"):
        splitters("spacey")
