"""Documents are read from all forms; what is missing is counted, named, and never asked."""

import gzip
import json

import pytest

from jaxrec.capacity import Source, data_directory, read_documents
from jaxrec.core import ConfigError, DataError

ROWS = [{"q": f"question {n}", "a": str(n)} for n in range(6)]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def table(mark):
    return "".join(mark.join(row) + "\n" for row in (("q", "a"), *(r.values() for r in ROWS)))


FORMS = {
    "d.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "d.json": json.dumps(ROWS),
    "d.csv": table(","),
    "d.tsv": table("\t"),
}


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", list(FORMS))
def test_every_form_gives_the_same_documents(name, packed, tmp_path):
    write(tmp_path / f"{name}{packed}", FORMS[name])
    found = read_documents(Source(files=(name,), fields=("q", "a")), tmp_path)
    assert [{"q": row["q"], "a": row["a"]} for row in found.asked] == ROWS
    assert found.asked[1]["_id"] == f"{name}:2"
    assert (found.missing, found.first_missing) == ({}, "")


def test_documents_without_a_field_are_counted_and_named(tmp_path):
    rows = [*ROWS, {"q": "no answer"}, {"q": "", "a": "1"}, {"q": None, "a": None}]
    write(tmp_path / "d.jsonl", "\n".join(map(json.dumps, rows)))
    found = read_documents(Source(files=("d.jsonl",), fields=("q", "a")), tmp_path)
    assert len(found.asked) == 6
    assert found.missing == {"q": 2, "a": 2}
    assert found.first_missing == "d.jsonl:7"


def test_a_limit_is_one_for_each_file(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / "sets" / f"{name}.jsonl", FORMS["d.jsonl"])
    found = read_documents(Source(files=("sets/*.jsonl",)), tmp_path, limit=2)
    assert [row["_id"] for row in found.asked] == [
        *("sets/a.jsonl:1", "sets/a.jsonl:2", "sets/b.jsonl:1", "sets/b.jsonl:2")
    ]


def test_demonstrations_are_never_asked(tmp_path):
    write(tmp_path / "d.jsonl", FORMS["d.jsonl"])
    source = Source(files=("d.jsonl",))
    found = read_documents(source, tmp_path, shots=2)
    assert [row["a"] for row in found.shown] == ["0", "1"]
    assert [row["a"] for row in found.asked] == ["2", "3", "4", "5"]
    held = read_documents(Source(files=("d.jsonl",), held_out=3), tmp_path, shots=2, limit=2)
    assert [row["a"] for row in held.shown] == ["0", "1"]
    assert [row["a"] for row in held.asked] == ["3", "4"]


def test_a_plain_file_stands_for_a_packed_one_of_its_name(tmp_path):
    write(tmp_path / "d.jsonl.gz", FORMS["d.jsonl"])
    write(tmp_path / "d.jsonl", json.dumps(ROWS[5]))
    assert len(read_documents(Source(files=("d.jsonl",)), tmp_path).asked) == 1


def test_prepared_documents_keep_a_number(tmp_path):
    write(tmp_path / "d.txt", "one\ntwo")
    source = Source(
        files=("d.txt",),
        fields=("line",),
        prepare=lambda rows, _: [{"line": line} for r in rows for line in r["text"].split("\n")],
    )
    found = read_documents(source, tmp_path)
    assert [(row["_id"], row["line"]) for row in found.asked] == [
        ("d.txt:1", "one"),
        ("d.txt:2", "two"),
    ]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ({"files": ("no.jsonl",)}, {}, r"no\.jsonl\[\.gz\] does not exist; put the data there"),
        ({"files": ("d.jsonl",), "fields": ("x",)}, {}, "none of 6 documents has the fields x; f"),
        ({"files": ("d.jsonl",)}, {"shots": 6}, "do not suffice for 6 demonstrations"),
        ({"files": ("d.jsonl",), "held_out": 4}, {"shots": 3}, "which leaves 2 for 3 demonstra"),
        ({"files": ("wide.csv",)}, {}, "row 1 has more cells than the header"),
        ({"files": ("bad.jsonl",)}, {}, "cannot be read as documents"),
    ],
)
def test_data_that_cannot_be_used_are_rejected(source, options, message, tmp_path):
    write(tmp_path / "d.jsonl", FORMS["d.jsonl"])
    write(tmp_path / "wide.csv", "q,a\n1,2,3\n")
    write(tmp_path / "bad.jsonl", '{"q": 1\n')
    with pytest.raises(DataError, match=message):
        read_documents(Source(**source), tmp_path, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"files": ()}, "files is empty"),
        ({"files": "d.jsonl"}, "files must be a tuple of names, got one"),
        ({"files": ("d.xml",)}, "'d.xml' has an unknown ending"),
        ({"files": ("d.csv",), "held_out": 0}, "held_out must be at least 1"),
    ],
)
def test_a_source_is_checked(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Source(**arguments)


def test_a_directory_is_given_or_set(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path))
    assert data_directory() == tmp_path
    monkeypatch.delenv("JAXREC_DATA")
    with pytest.raises(DataError, match="JAXREC_DATA, which is not set"):
        data_directory()
    with pytest.raises(DataError, match="is no directory"):
        data_directory(tmp_path / "absent")


def test_documents_may_be_made_by_rule(tmp_path):
    source = Source(make=lambda: [{"q": str(n)} for n in range(5)], fields=("q",), held_out=3)
    found = read_documents(source, tmp_path, shots=2)
    assert [row["q"] for row in found.shown] == ["0", "1"]
    assert [(row["_id"], row["q"]) for row in found.asked] == [
        ("made:3", "2"),
        ("made:4", "3"),
        ("made:5", "4"),
    ]
    with pytest.raises(DataError, match="made by rule: none of 1 documents"):
        read_documents(Source(make=lambda: [{}], fields=("q",)), tmp_path)
    with pytest.raises(ConfigError, match="give make"):
        Source()


def test_the_fields_that_a_message_lists_are_those_of_the_file(tmp_path):
    write(tmp_path / "d.jsonl", FORMS["d.jsonl"])
    with pytest.raises(DataError, match=r"none of 6 documents has the fields x; .* first: q, a$"):
        read_documents(Source(files=("d.jsonl",), fields=("x",)), tmp_path)


@pytest.mark.parametrize("name", ["d.jsonl", "d.csv"])
def test_a_file_that_is_called_gz_and_is_not_gzipped_is_named(name, tmp_path):
    (tmp_path / f"{name}.gz").write_text(FORMS[name])
    with pytest.raises(
        DataError, match=rf"{name}\.gz: the file is called \.gz, but it is not gzip"
    ):
        read_documents(Source(files=(name,)), tmp_path)


def fails(documents, directory):
    raise KeyError("animal")


def refuses(documents, directory):
    raise DataError("there are no animals")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (fails, "d.jsonl: the documents cannot be prepared: KeyError: 'animal'"),
        (refuses, "d.jsonl: there are no animals"),
    ],
)
def test_documents_that_cannot_be_prepared_are_named_by_their_file(prepare, message, tmp_path):
    write(tmp_path / "d.jsonl", FORMS["d.jsonl"])
    with pytest.raises(DataError, match=message):
        read_documents(Source(files=("d.jsonl",), prepare=prepare), tmp_path)
