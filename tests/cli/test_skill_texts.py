"""`jaxrec skills` reads its file, or says in one line what is wrong with it."""

import gzip
import json

import pytest

from jaxrec.cli.skills import read_texts
from jaxrec.core import DataError

ROWS = '{"text": "know Python"}\n\n{"text": " "}\n{"text": "lead a team"}\n'


def test_texts_have_the_numbers_of_their_lines_or_records(tmp_path):
    plain = tmp_path / "a.txt"
    # A form feed and a line separator of Unicode end no line.
    plain.write_text("\ufeff know Python\r\n \nlead\u2028a\x0cteam\n", encoding="utf-8")
    assert read_texts(plain) == {1: "know Python", 3: "lead\u2028a\x0cteam"}
    for name in ("a.jsonl", "A.JSON"):
        (tmp_path / name).write_text(ROWS)
        assert read_texts(tmp_path / name) == {0: "know Python", 1: " ", 2: "lead a team"}
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(ROWS.encode()))
    assert len(read_texts(tmp_path / "b.jsonl.gz")) == 3
    # ".json" inside a name says nothing.
    (tmp_path / "notes.json.txt").write_text("know Python")
    assert read_texts(tmp_path / "notes.json.txt") == {1: "know Python"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "holds no texts; give a file with one text a line"),
        ("a.txt", b"\n \n\t\n", "holds no texts"),
        ("a.txt", b"%PDF-1.7\n%\xe2", "PDF"),
        ("a.txt", b"know\n\0\1\2", "line 2: a NUL character"),
        ("a.txt", b"know\n\xff\xfa", "line 2: byte 0xff is not UTF-8"),
        ("a.txt", ROWS.encode(), r"line 1 looks like JSON.*\.json or \.jsonl"),
        ("a.jsonl", b"know Python\n", "cannot be read as texts"),
        ("a.jsonl", b'{"text": "a"}\n{"title": "b"}\n', "record 1 has no text in 'text', got None"),
        ("a.jsonl", b'{"text": ["a"]}\n', r"record 0 has no text in 'text', got \['a'\]"),
        ("a.jsonl", b'["a"]\n', "record 0 is str, not an object"),
        ("a.jsonl", b'{"text": ""}\n{"text": " "}\n', "all texts are empty"),
        ("a.jsonl", b'{"text": "ab\\ud800"}\n', r"record 0: 'text' has half a character"),
        ("a.jsonl.gz", json.dumps({"text": "a"}).encode(), "is not gzipped"),
    ],
)
def test_files_without_texts_are_errors_of_one_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_texts(tmp_path / name)
    assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_missing_files_and_directories_are_errors(tmp_path):
    for path in (tmp_path / "absent.txt", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            read_texts(path)
