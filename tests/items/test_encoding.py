"""Encoded texts are kept by content, and an encoder that nobody asked for has to be quick."""

import dataclasses
import os
import shutil
import types

import numpy as np
import pytest

from jaxrec.items import encoding, text as item_text
from jaxrec.models import SentenceEncoder

TEXTS = ["a red shoe", "a blue shoe", "", "song of the sea"]


class Fake:
    """An encoder whose vectors are the lengths of a text and of its first word."""

    def encode(self, texts, progress=lambda done: None):
        progress(len(texts))
        return np.array([[len(x), len(x.split(" ")[0])] for x in texts], np.float32)


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    directory = tmp_path / "encoder"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    monkeypatch.setattr(SentenceEncoder, "load", lambda path: Fake())
    return directory


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXREC_TEXT_ENCODER", raising=False)
    return tmp_path / "cache" / "text_vectors"


def test_the_same_content_is_encoded_once_and_other_content_anew(
    encoder, cache, tmp_path, monkeypatch, capsys
):
    expected = Fake().encode(TEXTS)
    np.testing.assert_array_equal(encoding.encode_cached(encoder, TEXTS), expected)
    assert "encode texts: 4/4" in capsys.readouterr().err
    moved = tmp_path / "moved"
    shutil.copytree(encoder, moved)
    loads = []
    monkeypatch.setattr(SentenceEncoder, "load", lambda path: loads.append(path) or Fake())
    # What counts is the content of the directory, not its name.
    for place in (encoder, moved):
        np.testing.assert_array_equal(encoding.encode_cached(place, TEXTS), expected)
    assert loads == []
    np.testing.assert_array_equal(encoding.encode_cached(encoder, TEXTS[::-1]), expected[::-1])
    (moved / "notes.txt").write_text("another encoder")
    encoding.encode_cached(moved, TEXTS)
    assert loads == [encoder, moved]
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_cache_and_one_that_cannot_be_written_only_cost_time(encoder, cache):
    expected = encoding.encode_cached(encoder, TEXTS)
    (file,) = cache.iterdir()
    for damage in (b"", b"\x93NUMPY junk"):
        file.write_bytes(damage)
        np.testing.assert_array_equal(encoding.encode_cached(encoder, TEXTS), expected)
    shutil.rmtree(cache.parent)
    cache.parent.write_text("not a directory")
    np.testing.assert_array_equal(encoding.encode_cached(encoder, TEXTS), expected)


@pytest.mark.parametrize(("seconds", "taken"), [(59.0, True), (61.0, False)])
def test_auto_takes_an_encoder_that_needs_less_than_a_minute(
    encoder, monkeypatch, capsys, seconds, taken
):
    many = [f"shoe {n}" for n in range(600)]
    monkeypatch.setattr(item_text, "find_sentence_encoder", lambda: encoder)
    monkeypatch.setattr(encoding, "estimate_seconds", lambda model, texts: seconds)
    assert item_text.encoder_of("auto", "ids.text_encoder", many) == (encoder if taken else None)
    warned = "would take about 1.0 minutes for 600 texts" in capsys.readouterr().err
    assert warned is not taken
    # Few texts, and an encoder that was asked for, need no estimate.
    assert item_text.encoder_of("auto", "ids.text_encoder", many[:20]) == encoder
    assert item_text.encoder_of(str(encoder), "ids.text_encoder", many) == encoder
    monkeypatch.setenv("JAXREC_TEXT_ENCODER", str(encoder))
    assert item_text.encoder_of("auto", "ids.text_encoder", many) == encoder
    monkeypatch.delenv("JAXREC_TEXT_ENCODER")
    # Vectors that are in the cache cost nothing.
    os.makedirs(encoding.cache_file(encoder, many).parent)
    np.save(encoding.cache_file(encoder, many), np.zeros((600, 2), np.float32))
    assert item_text.encoder_of("auto", "ids.text_encoder", many) == encoder


def test_the_estimate_is_the_measured_time_of_a_sample_of_all_lengths(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    calls = []

    @dataclasses.dataclass
    class Model:
        def encode(self, texts):
            calls.append(texts)
            # The first call compiles, and the second is disturbed; then each character takes .01 s.
            clock.now += 100.0 * (len(calls) <= 2) + 0.01 * sum(map(len, texts))

    monkeypatch.setattr(encoding, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    texts = ["x" * (n % 50) for n in range(3200)]
    expected = 0.01 * sum(map(len, texts))
    assert encoding.estimate_seconds(Model(), texts) == pytest.approx(expected, rel=0.05)
    assert len(calls) == 4


class Disorder:
    """An engine that does the last piece first, and may stop.

    Attributes:
      most: number of pieces that it does.
    """

    def __init__(self, most=99):
        self.most, self.pieces = most, []

    def map(self, job, pieces):
        work = job()
        for number in range(len(pieces))[::-1][: self.most]:
            self.pieces.append(pieces[number])
            yield number, work(pieces[number])
        if self.most < len(pieces):
            raise KeyboardInterrupt


def test_pieces_are_kept_and_any_engine_continues(encoder, cache, monkeypatch, capsys):
    monkeypatch.setattr(encoding, "_PIECE", 3)
    many = [f"{'x' * n} shoe" for n in range(8)]
    engine = Disorder(most=2)
    with pytest.raises(KeyboardInterrupt):
        encoding.encode_cached(encoder, many, engine)
    assert engine.pieces == [many[6:], many[3:6]]
    engine = Disorder()
    vectors = encoding.encode_cached(encoder, many, engine)
    assert engine.pieces == [many[:3]]
    np.testing.assert_array_equal(vectors, Fake().encode(many))
    assert capsys.readouterr().err.count("encode texts: 8/8") == 1
    # Here, a piece reports its own texts.
    np.testing.assert_array_equal(encoding.encode_cached(encoder, many[::-1]), vectors[::-1])
    assert capsys.readouterr().err.count("encode texts: 8/8") == 1
    assert len(list(cache.iterdir())) == 6


def test_pieces_of_texts_are_affordable_if_all_are_kept(encoder, monkeypatch):
    monkeypatch.setattr(encoding, "_FEW", 2)
    monkeypatch.setattr(encoding, "estimate_seconds", lambda model, texts: 1e9)
    monkeypatch.setattr(encoding, "_PIECE", 3)
    many = [f"shoe {n}" for n in range(8)]
    encoding.encode_cached(encoder, many[:6])
    assert not encoding.is_affordable(encoder, many)
    encoding.encode_cached(encoder, many)
    assert encoding.is_affordable(encoder, many)
