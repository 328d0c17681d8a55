"""The reader of texts that fit in memory: joined columns, places of files, and bad rows."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrec.core import DataError
from jaxrec.data.corpora import Source, find_text, left_out, read_texts

ROWS = [{"question": f"Is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(5)]


def lines(path, *rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    )
    return str(path)


def read(path, column="text", append=()):
    return read_texts(Source(paths=(path,), column=column), "mine", append)


def test_appended_columns_follow_on_new_lines_in_json_lines_and_parquet(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    wanted = [f"{row['question']}\n{row['answer']}" for row in ROWS]
    for path in (lines(tmp_path / "a.jsonl", *ROWS), str(tmp_path / "a.parquet")):
        assert read(path, "question", ["answer"]).documents == wanted
        assert read(path, "question").documents == [row["question"] for row in ROWS]


def test_bad_rows_are_counted_by_reason(tmp_path):
    rows = [*ROWS, {"question": "Is 5 even?"}, {"question": "?", "answer": 3}, '{"ques', "[]"]
    rows.append({"question": None, "answer": "no"})
    found = read(lines(tmp_path / "a.jsonl", *rows), "question", ["answer"])
    assert len(found.documents) == len(ROWS)
    assert found.rejected == {
        "empty": 1,
        "no text column": 1,
        "not JSON": 1,
        "not a JSON object": 1,
        "text is no string": 1,
    }
    assert left_out(found.rejected).startswith("left out: 1 empty, 1 no text column")
    assert left_out({}) == ""


@pytest.mark.parametrize(
    ("column", "append", "message"),
    [
        ("question", ["answers"], r"no column 'answers', did you mean 'answer'"),
        ("", [], r"no column is called text, .*choose one by --data\.column"),
    ],
)
def test_a_column_that_no_record_has_is_an_error(tmp_path, column, append, message):
    with pytest.raises(DataError, match=message):
        read(lines(tmp_path / "a.jsonl", *ROWS), column, append)


def test_a_source_without_any_document_is_an_error(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"text": ""}, {"text": None})
    with pytest.raises(DataError, match=r"data\.name mine: no document in .*\(2 empty\)"):
        read(path)


def test_a_relative_path_is_found_below_the_data_directory_first(tmp_path, monkeypatch):
    for place in ("data", "here"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "both.txt").write_text(place)
    (tmp_path / "here" / "one.txt").write_text("here")
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path / "here")
    assert find_text("both.txt").read_text() == "data"
    assert find_text("one.txt").read_text() == "here"
    assert find_text(str(tmp_path / "here" / "both.txt")).read_text() == "here"
    with pytest.raises(DataError, match=r"nowhere\.txt was not found .*JAXREC_DATA"):
        find_text("nowhere.txt")
