"""IDs, ratings and item tables that would silently mean something else are refused."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from jaxrec.core import DataError
from jaxrec.data import Columns, Interactions, read


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (["a", None], "user ID in row 1 is None"),
        (["a", float("nan")], "user ID in row 1 is nan"),
        (np.array([1.0, np.nan]), "user ID in row 1 is nan"),
        (["a", "a\0"], "has a NUL in it"),
        (["a", ""], "empty user ID in row 1"),
    ],
)
def test_missing_and_cut_off_ids_are_refused(user, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_columns(user=user, item=["x", "y"])


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "null", "<NA>", "['a', 'b']", '"a\nb"'])
@pytest.mark.parametrize("slow", [False, True])
def test_a_cell_that_is_no_id_names_its_line(write, word, slow, monkeypatch):
    if slow:
        monkeypatch.setattr("jaxrec.data.files._read_with_arrow", lambda *_: None)
    cell = f'"{word}"' if "," in word else word
    with pytest.raises(DataError, match=r"line [34]: item"):
        read(write("x.csv", f"user,item\nu,1\nu,{cell}\n"))


def test_spellings_of_one_number_are_refused(write):
    for first, second in (("1", "01"), ("1", "1.0"), ("007", "7")):
        with pytest.raises(DataError, match=f"'{first}' and '{second}'|'{second}' and '{first}'"):
            read(write("x.csv", f"user,item\nu,{first}\nu,{second}\n"))
    data = read(write("x.csv", "user,item\nu,0104257\nu,B01\nu,1.5\n"))
    assert data.items.ids.tolist() == ["0104257", "1.5", "B01"]


SPELLINGS = {
    "no-break space": ("B01", "B01\u00a0"),
    "zero width": ("B01", "B\u200b01"),
    "byte order mark": ("B01", "\ufeffB01"),
    "trailing blank": ("B01", "B01 "),
    "normal form": ("caf\u00e9", "cafe\u0301"),
    "spreadsheet": ("0001", '"=""0001"""'),
    "quotes": ("0001", "'0001'"),
    "apostrophe": ("0001", "'0001"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_ids_that_look_the_same_are_refused(name, write):
    first, second = SPELLINGS[name]
    with pytest.raises(DataError, match="may be the same item; write every ID in one way"):
        read(write("x.csv", f"user,item\nu,{first}\nu,{second}\n"))
    # The second alone is read as it is, and noted.
    (note,) = read(write("x.csv", f"user,item\nu,{second}\nu,x\n")).notes
    assert note.startswith("1 item ID is written with") and f"write {first!r}" in note


def test_ids_that_may_be_none_are_counted(write):
    rows = ["Total,1", "u,2", "u,unknown", "v,unknown", "v,b1", "u,B1"]
    notes = read(write("x.csv", "user,item\n" + "\n".join(rows) + "\n")).notes
    assert [note.split(";")[0] for note in notes] == [
        "user ID 'Total' (1 row) may be a line of totals",
        "item ID 'unknown' (2 rows) may stand for a missing value",
        "1 item ID is equal to another one but for letter case, such as 'B1' and 'b1'",
    ]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1.23E+12", "'1.23E.12' is a number that a program has rounded"),
        ("\u200b\u00a0", "has only characters that cannot be seen"),
        ("#N/A", "stands for a missing value"),
        ("#REF!", "stands for a missing value"),
        ("\\N", "stands for a missing value"),
    ],
)
def test_cells_of_spreadsheets_that_are_no_ids_are_refused(cell, message, write):
    with pytest.raises(DataError, match=message):
        read(write("x.csv", f"user,item\nu,1\nu,{cell}\n"))


def test_a_rating_beyond_float32_is_refused(write):
    path = write("x.csv", "user,item,stars\nu,1,3.5\nu,2,1e39\n")
    with pytest.raises(DataError, match=r"rating 1e\+39 in row 1 is beyond float32"):
        read(path, columns=Columns(rating="stars"))


def table(write, ids, texts=("A", "B", "C")):
    rows = "".join(f"{key},{text}\n" for key, text in zip(ids, texts, strict=True))
    items = write("items.csv", "item,title\n" + rows)
    path = write("x.csv", "user,item\n" + "".join(f"u,{n}\n" for n in range(1, 21)))
    return read(path, columns=Columns(item_table=items))


def test_an_item_table_must_match(write):
    with pytest.raises(DataError, match=r"the data write '1' where the table writes '1\.0'"):
        table(write, ["1.0", "2.0", "3.0"])
    with pytest.raises(DataError, match=r"0 of 20 items have .* the table has 'x', 'y', 'z'"):
        table(write, "xyz")
    with pytest.raises(DataError, match="1 of 20 items have a row"):
        table(write, "1yz")
    with pytest.raises(DataError, match=r"item '1' has two rows .*rows 1 and 3"):
        table(write, "121")
    with pytest.warns(UserWarning, match="18 of 20 items have no texts in the item table"):
        data = table(write, "121", "ABA")  # a row that only stands there twice says nothing else
    assert data.items.text("title")[:3] == ["A", "B", ""]
    assert data.notes == ("18 of 20 items have no texts",)


def test_lists_in_a_column_become_joined_categories(tmp_path, write):
    rows = pa.table({"item": ["1", "2", "3"], "tags": [["War", "Crime"], None, []]})
    parquet.write_table(rows, tmp_path / "items.parquet")
    write(
        "items.jsonl",
        '{"item": 1, "tags": ["War", "Crime"]}\n{"item": 2}\n{"item": 3, "tags": []}\n',
    )
    path = write("x.csv", "user,item\nu,1\nu,2\nu,3\n")
    for name in ("items.parquet", "items.jsonl"):
        data = read(path, columns=Columns(item_table=tmp_path / name))
        assert data.items.text("tags") == ["War | Crime", "", ""]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "user,item,item\nu,1,2\n", "2 columns are called 'item'"),
        ("x.inter", "user_id:token\titem_id:token\titem_id:token\nu\t1\t2\n", "two columns"),
        ("x.jsonl", '{"user": "u", "item": 1, "item": 2}\n', "key 'item' is in the object twice"),
        ("x.jsonl", '{"user": "u", "item": ["1", "2"]}\n', "is a list; write one row"),
        ("x.jsonl", '{"user": "u\\u0000", "item": 1}\n', "has a line break or a NUL"),
        ("x.jsonl", '{"user": "u\\ud800", "item": 1}\n', "half a character"),
        ("x.csv", "user,item\nu,a b c d\nv,b c a\n", "holds histories such as 'a b c d'"),
        ("x.csv", "user,item,ts\nu,1,5\nu,2,4\n", "--data.time-column ts, or .*file-order"),
        ("x.csv", "user,item,date\nu,1,3/1/2020\n", "neither a number .* --data.time-column date"),
        ("x.csv", "user_id,movieId\nu,1\n", "column user_id --data.item-column movieId"),
        ("x.csv", "User ID,item\nu,1\n", "--data.user-column 'User ID'"),
        ("x.csv", "1,2,3\n4,5,6\n", "is a row of data; add a header line"),
        ("x.csv", b"user,item\nu,a\0\n", "line 2: a NUL character"),
        ("x.csv", "user,item\nu,a\n".encode("utf-16"), "UTF-16; convert it"),
    ],
)  # fmt: skip
def test_columns_that_mislead_are_refused(write, name, text, message):
    with pytest.raises(DataError, match=message) as error:
        read(write(name, text))
    assert "\n" not in str(error.value)


def test_parquet_columns_of_all_types(tmp_path):
    def written(**columns):
        parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
        return read(tmp_path / "x.parquet", columns=Columns(time="day"))

    days = pa.array([18262, 18263], pa.date32())
    data = written(user=["a", "a"], item=pa.array(["x", "y"]).dictionary_encode(), day=days)
    assert data.time.tolist() == [18262 * 86400, 18263 * 86400]
    whole = 2**60 + 1  # nanoseconds that a float would round
    data = written(user=["a", "a"], item=["x", "y"], day=pa.array([whole, whole - 1], pa.int64()))
    assert data.items.ids[data.history(0)].tolist() == ["y", "x"]
    with pytest.raises(DataError, match="'nan' stands for a missing value"):
        written(user=["a", "a"], item=[1.0, float("nan")], day=days)
    with pytest.raises(DataError, match="is a list; write one row"):
        written(user=["a", "b"], item=[["x", "y"], ["z"]], day=days)
    with pytest.raises(DataError, match="beyond 64 bits"):
        written(user=["a", "b"], item=["x", "y"], day=pa.array([1, 2**64 - 1], pa.uint64()))
