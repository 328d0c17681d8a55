"""Files that are no tables say what they are, and what is nearly a table says how to mend it."""

import bz2
import io
import json
import lzma
import tarfile
import zipfile

import pyarrow as pa
import pytest
from pyarrow import parquet

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Columns, load, read

GOOD = "user,item\nu,1\nu,2\nv,1\n"


def packed_tar():
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        member = tarfile.TarInfo("x.csv")
        member.size = len(GOOD)
        archive.addfile(member, io.BytesIO(GOOD.encode()))
    return sink.getvalue()


def zipped(**members):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return sink.getvalue()


def table(**columns):
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue()


REFUSED = {
    "bzip2": ("x.csv.bz2", bz2.compress(GOOD.encode()), "packed by bzip2; unpack it with bunzip2"),
    "ending": ("x.csv", lzma.compress(GOOD.encode()), "packed by xz; unpack it with unxz"),
    "tar": ("x.tar.gz", packed_tar(), "a tar archive; unpack it with tar -xf"),
    "7z": ("x.7z", b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive; unpack it"),
    "xlsx": ("x.xlsx", zipped(xl__workbook="", **{"xl__workbook.xml": ""}), "save it as CSV"),
    "pdf": (
        "x.pdf",
        b"%PDF-1.7\n\xff",
        "a PDF document; give its text as a text file, or its table",
    ),
    "page": ("x.csv", "<!DOCTYPE html>\n<html>", "a web page; download the data themselves"),
    "utf-16": ("x.csv", GOOD.encode("utf-16-be"), "UTF-16BE; .* iconv -f UTF-16BE -t UTF-8"),
    "sep": ("x.csv", "sep=;\nuser;item\nu;1\n", "line 1: 'sep=;' .* remove this line"),
    "title": ("x.csv", "Sales, 2024\n" + GOOD, "line 2 is the header; .* from 'Sales, 2024' on"),
    "other title": ("x.csv", "Sales\nwho,what\nu,1\n", "'Sales' is no header: it has 1 field"),
    "header": ("x.csv", GOOD + GOOD, "row 4 repeats the header"),
    "headers": ("x.tsv", "user\titem\n" * 3 + "u\t1\n", "2 rows, first row 1, repeat the header"),
    "recbole": ("x.inter", "user_id:token\titem_id:token\n" * 2, "row 1 repeats the header"),
    "sequences": ("x.txt", "user item1 item2\nu 1 2\n", "line 1: .* is a header, which this"),
    "member": ("x.zip", zipped(**{"in__x.csv": "user,item\nu,nan\n"}), r"x\.zip, member x\.csv: 1"),
    "empty list": ("x.json", "[]", "no rows; the file is empty"),
    "twice": ("x.json", '[{"user": 1, "user": 2}]', "key 'user' is in the object twice"),
    "true": ("x.jsonl", '{"user": true, "item": 1}', "line 1: column 'user' holds true and false"),
    "nested": ("x.jsonl", '{"user": {"id": 1}, "item": 1}', "'user' holds objects; write each"),
    "flags": ("x.parquet", table(user=[True], item=["a"]), "'user' holds true and false"),
    "struct": ("x.parquet", table(user=["u"], item=[{"id": 1}]), "'item' holds objects"),
    "bytes": ("x.parquet", table(user=[b"\xff"], item=["a"]), "'user' holds bytes that are not"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_says_what_it_is(name, write, tmp_path):
    file, content, message = REFUSED[name]
    # The fixture packs what is called .gz.
    path = tmp_path / file if file.endswith(".gz") else write(file, content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as error:
        read(path)
    assert "\n" not in str(error.value) and "jaxrec-" not in str(error.value)


ROWS = [{"user": user, "item": item} for user, item in (("u", 1), ("u", 2), ("v", 1))]
READ = {
    "carriage returns": ("x.csv", GOOD.replace("\n", "\r")),
    "indented": ("x.json", json.dumps(ROWS, indent=2)),
    "objects": ("x.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
    "wrapped": ("x.json", json.dumps({"data": ROWS})),
    "wrapped and indented": ("x.json", json.dumps({"data": ROWS}, indent=1)),
    "bytes": ("x.parquet", table(user=[b"u", b"u", b"v"], item=[b"1", b"2", b"1"])),
    "bytes of a size": ("x.parquet", table(user=["u", "u", "v"], item=pa.array([b"1", b"2", b"1"],
                                                                             pa.binary(1)))),
    "a text that begins like bzip2": ("x.csv", GOOD.replace("user,item", "BZh,user,item")
                                      .replace("\nu", "\n0,u").replace("\nv", "\n0,v")),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_other_forms_of_one_table_are_the_same_data(name, write):
    expected = read(write("good.csv", GOOD))
    data = read(write(*READ[name]))
    assert data.fingerprint() == expected.fingerprint()
    # One form has another column, which might hold times.
    assert all(note.startswith("no column of times") for note in data.notes)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("31/01/2024", "--data.time-format %d/%m/%Y\\)"),
        ("01/31/2024", "--data.time-format %m/%d/%Y\\)"),
        ("01.02.2024 10:00", "--data.time-format '%d.%m.%Y %H:%M' or '%m.%d.%Y %H:%M'"),
        ("1700000000,5", "write decimals with a point: 1700000000.5"),
    ],
)
def test_dates_and_decimals_of_other_countries(cell, message, write):
    path = write("x.csv", f"user;item;when\nu;1;{cell}\n")
    with pytest.raises(DataError, match=message):
        read(path, columns=Columns(time="when"))
    with pytest.raises(DataError, match=message):  # of a column that no role was given to
        read(write("y.csv", path.read_text().replace("when", "date")))


def test_a_wrong_delimiter_and_a_decimal_comma(write):
    with pytest.raises(DataError, match=r"';' separates nothing in .*; remove --data.delimiter"):
        read(write("x.csv", GOOD), columns=Columns(delimiter=";"))
    path = write("x.csv", "user;item;stars\nu;1;4,5\n")
    with pytest.raises(DataError, match=r"write decimals with a point: 4\.5"):
        read(path, columns=Columns(rating="stars"))


def test_two_files_and_files_beside(write):
    write("x.csv", GOOD)
    path, other = write("y.csv", GOOD), write("z.csv", GOOD)
    with pytest.raises(ConfigError, match=r"two files are given, .*y\.csv and .*z\.csv"):
        load(str(path), from_file=other)
    assert len(load(str(path), from_file=path)) == len(load("toys", from_file=path)) == 3
    write("beside/items.jsonl", '{"id": "x", "title": "X"}\n')
    with pytest.raises(DataError, match=r"the item table is .*items\.jsonl, which lies beside"):
        read(write("beside/seq.txt", "u 1 2 3\n"))


def test_a_directory_with_ratings_of_own_columns(write):
    path = write("own/ratings.csv", GOOD.replace("user", "who"))
    assert len(read(path.parent, columns=Columns(user="who"))) == 3
    with pytest.raises(DataError, match=r"--data\.user-column who"):
        read(path.parent)


def test_an_object_in_an_item_table_is_written_by_key(write):
    items = write("items.jsonl", '{"item": 1, "size": {"w": 3, "h": null, "of": ["a", "b"]}}\n')
    data = read(write("x.csv", "user,item\nu,1\n"), columns=Columns(item_table=items))
    assert data.items.text("size") == ["w: 3 | of: a | b"]
