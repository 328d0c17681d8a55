"""Documents are read in every form, and what is no document is counted by its reason."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data.corpora import Document, Source, documents, find_files, read_documents, read_file


def texts(path, form="auto", **options):
    return [
        row.text if isinstance(row, Document) else row.reason
        for row in read_file(path, Source(form=form, **options))
    ]


@pytest.fixture
def write(tmp_path):
    def write(name, raw):
        path = tmp_path / name
        raw = raw.encode() if isinstance(raw, str) else raw
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write


WIKI = " \n = One = \n\n first \n = = Part = = \n\n more \n = Two = \n second = x = \n"


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize(
    ("form", "raw", "expected"),
    [
        ("auto", "one\n\ntwo", ["one\n\ntwo"]),
        ("blank_lines", "one\na\n\n \r\n\ntwo", ["one\na\n", "two"]),
        ("blank_lines", "\n\n", []),
        ("end_marks", "one<|endoftext|>\n<|endoftext|>two", ["one", "empty", "two"]),
        ("end_marks", "one<|endoftext|>\n", ["one"]),
        ("wikitext", WIKI, ["= One =\n\nfirst\n= = Part = =\n\nmore\n", "= Two =\nsecond = x =\n"]),
        ("file", "", ["empty"]),
        ("file", "\ufeffone", ["one"]),
        ("file", b"\xff\xfeo\0", ["not UTF-8"]),
        ("blank_lines", b"a\0b\n\n\xff\n\nc", ["binary", "not UTF-8", "c"]),
    ],
)
def test_text_is_split_into_documents(write, name, form, raw, expected):
    assert texts(write(name, raw), form) == expected


def test_a_mark_on_the_border_of_two_blocks_is_seen(write, monkeypatch):
    raw = "one<|endoftext|>two<|endoftext|>three"
    path = write("a.txt", raw)
    for size in range(1, len(raw) + 1):
        monkeypatch.setattr(documents, "_BLOCK", size)
        assert texts(path, "end_marks") == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        ("file", "x" * 21),
        ("blank_lines", "ok\n\n" + "x\n" * 11 + "\nok"),
        ("end_marks", "ok<|endoftext|>" + "x" * 90 + "<|endoftext|>ok"),
        ("json_lines", '{"text": "o"}\n{"text": "' + "x" * 90 + '"}\n{"text": "o"}'),
    ],
)
def test_a_document_beyond_the_limit_is_rejected_and_its_neighbours_are_kept(
    write, monkeypatch, form, raw
):
    monkeypatch.setattr(documents, "LONGEST", 20)
    monkeypatch.setattr(documents, "_BLOCK", 7)
    found = texts(write("a.txt", raw), form)
    assert found.count("too long") == 1
    assert [text.strip()[:1] for text in found if text != "too long"] == ["o"] * (len(found) - 1)
    assert len(found) == (1 if form == "file" else 3)


def test_bad_lines_of_json_are_counted_by_reason(write):
    rows = [{"text": "a"}, {"text": None}, {"text": 3}, {"other": "x"}, {"text": "\ud800"}]
    raw = "\n".join(map(json.dumps, rows)).encode() + b'\n\n{"text": \n[1]\n{"text": "\xff"}\n'
    raw += b'{"text": "a", "text": "b"}\n'
    assert texts(write("a.jsonl", raw)) == [
        *("a", "empty", "text is no string", "no text column", "half a character"),
        *("not JSON", "not a JSON object", "not UTF-8", "a key twice"),
    ]


def parquet_file(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_gives_the_same_documents_as_json_lines(tmp_path, write):
    rows = [{"body": "a", "url": "u"}, {"body": "b\0", "url": None}, {"body": None, "url": "v"}]
    lines = write("a.jsonl", "\n".join(map(json.dumps, rows)))
    columns = {name: [row[name] for row in rows] for name in ("body", "url")}
    table = parquet_file(tmp_path / "a.parquet", **columns)
    source = Source(keep=("url",))
    found = [list(read_file(path, source, name="a")) for path in (lines, table)]
    assert found[0] == found[1]
    assert found[0][0] == Document("a#0", "a", {"url": "u"})
    assert [getattr(row, "reason", "") for row in found[0]] == ["", "binary", "empty"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_text_column_is_found_chosen_or_an_error(tmp_path, write, kind):
    def make(**row):
        if kind == "parquet":
            return parquet_file(tmp_path / "a.parquet", **{k: [v] for k, v in row.items()})
        return write("a.jsonl", json.dumps(row))

    assert texts(make(n=1, only="x")) == ["x"]
    assert texts(make(title="t", content="x")) == ["x"]
    assert texts(make(title="t", story="x"), column="story") == ["x"]
    with pytest.raises(DataError, match=r"no column is called .*title, story; choose one by"):
        texts(make(title="t", story="x"))
    with pytest.raises(DataError, match="no column 'storie', did you mean 'story'"):
        texts(make(title="t", story="x"), column="storie")


def test_damaged_and_missing_files_are_errors_that_name_them(tmp_path, write):
    packed = gzip.compress(b'{"text": "abc"}\n' * 5000)
    for name, raw in {"cut.jsonl": packed[:-20], "no.parquet": b"PAR1 nothing"}.items():
        path = tmp_path / name
        path.write_bytes(raw)
        with pytest.raises(DataError, match=name):
            texts(path)
    with pytest.raises(DataError, match=r"gone\.txt: no such file"):
        read_documents(Source(paths=(str(tmp_path / "gone.txt"),)))
    with pytest.raises(DataError, match="is empty"):
        read_documents(Source())
    with pytest.raises(ConfigError, match="did you mean 'wikitext'"):
        Source(form="wikitexts")


def test_files_are_found_by_name_and_ids_stay_distinct(tmp_path):
    for name in ("a/x.txt", "b/x.txt", "b/skipped.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    inside = find_files(Source(paths=(str(tmp_path),)))
    assert [name for name, _ in inside] == ["a/x.txt", "b/x.txt"]
    pattern = find_files(Source(paths=(str(tmp_path / "*" / "x.txt"),)))
    assert [path for _, path in pattern] == [path for _, path in inside]
    assert len({name for name, _ in pattern}) == 2
    with pytest.raises(DataError, match="twice"):
        find_files(Source(paths=(str(tmp_path / "a" / "x.txt"),) * 2))


def test_reading_holds_no_more_than_a_few_blocks(tmp_path):
    import tracemalloc

    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps({"text": "x" * 1000}) + "\n").encode() * 20_000))
    tracemalloc.start()
    count = sum(1 for _ in read_file(path, Source()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 8e6  # of 20 MB
