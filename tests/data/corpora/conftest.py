"""A small corpus on disk, with planted duplicates and personal data, and its config."""

import json

import numpy as np
import pytest

from jaxrec.data.corpora import (
    Blocks,
    CorpusConfig,
    Duplicates,
    GopherQuality,
    Quality,
    Source,
    Tokenizer,
)

WORDS = (
    *("film", "story", "war", "love", "night", "day", "city", "house", "river", "road", "music"),
    *("child", "mother", "father", "friend", "letter", "garden", "winter", "summer", "train"),
    *("ship", "island", "mountain", "teacher", "doctor", "soldier", "king", "queen", "ghost"),
)


def make_text(rng, sentences=8):
    """Return random sentences of words and stop words."""
    parts = []
    for _ in range(sentences):
        words = [WORDS[n] for n in rng.integers(0, len(WORDS), 9)]
        parts.append(f"The {' '.join(words[:4])} of the {' '.join(words[4:])} and that.")
    return " ".join(parts)


@pytest.fixture
def corpus(tmp_path):
    """Return a config of 60 documents in two files: 40 distinct, 10 copies, 10 near-copies."""
    rng = np.random.default_rng(0)
    texts = [make_text(rng) for _ in range(40)]
    texts[3] += " Write to ann@example.org or call +44 20 7946 0958, not 10.0.0.1 but 8.8.8.8."
    copies = [text.upper() for text in texts[:10]]
    near = [text.replace("The", "A", 1) for text in texts[10:20]]
    rows = [{"text": text} for text in (*texts, *copies, *near)]
    rows[50:50] = [{"text": " "}, {"text": "too short"}]
    for name, part in {"a.jsonl": rows[:35], "b.jsonl": rows[35:]}.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, part)))
    return CorpusConfig(
        source=Source(paths=(str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))),
        quality=Quality(rules=("gopher_quality",), gopher_quality=GopherQuality(min_words=20)),
        duplicates=Duplicates(sentences=3, tokens=50),
        tokenizer=Tokenizer(vocab_size=500),
        blocks=Blocks(length=64),
        shard_documents=13,
    )
