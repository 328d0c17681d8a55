"""What a file is: formats by contents and ending, and tables with any delimiter."""

import csv
import io
import json
import zipfile

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Columns, DataConfig, load_interactions, read
from jaxrec.data.layout import find_layout

ROWS = [("ann", "x", 3), ("ann", "y", 1), ("bob", "x, y; z", 2)]


def delimited(delimiter):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([("who", "what", "when"), *ROWS])
    return text.getvalue()


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.txt", "x.csv.gz"])
def test_a_delimiter_is_found_and_can_be_given(write, delimiter, name):
    path = write(name, delimited(delimiter))
    for given in ("", delimiter, "tab" if delimiter == "\t" else delimiter):
        columns = Columns(user="who", item="what", time="when", delimiter=given)
        data = read(path, columns=columns, name="x")
        assert data.user_ids.tolist() == ["ann", "bob"]
        assert data.items.ids.tolist() == ["x", "x, y; z", "y"]
        assert data.items.ids[data.history(0)].tolist() == ["y", "x"]


def test_the_delimiter_of_the_named_columns_wins(write):
    path = write("x.csv", "user;item;note, long, and with commas\n1;2;a, b, c\n")
    assert find_layout(path, wanted=("user", "item")).delimiter == ";"
    with pytest.raises(ConfigError, match="'ab' is no delimiter"):
        DataConfig(delimiter="ab")


FORMATS = {
    "x.inter": ("recbole", "user_id:token\titem_id:token\na\tx\na\ty\n"),
    "renamed.csv": ("recbole", "user_id:token\titem_id:token\na\tx\na\ty\n"),
    "u.data": ("movielens-100k", "1\t1\t5\t1\n1\t2\t5\t2\n"),
    "ratings.dat": ("double-colon", "1::1::5::1\n1::2::5::2\n"),
    "ratings.csv": ("movielens-csv", "userId,movieId,rating,timestamp\n1,1,5,1\n1,2,5,2\n"),
    "r.json": (
        "amazon",
        '{"user_id": "a", "parent_asin": "x", "timestamp": 1}\n'
        '{"user_id": "a", "parent_asin": "y", "timestamp": 2}\n',
    ),
    "log.jsonl": ("json", '{"user": "a", "item": "x"}\n{"user": "a", "item": "y"}\n'),
    "log": ("json", '[{"user": "a", "item": "x"}, {"user": "a", "item": "y"}]'),
    "s.txt": ("sequences", "u1 a b\nu2 b\n"),
    "t.txt": ("table", "user,item\na,x\na,y\n"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_every_format_is_read_from_its_file_by_a_config(write, name, packed):
    expected, text = FORMATS[name]
    path = write(name + packed, text)
    assert find_layout(path, wanted=("user", "item")).format == expected
    data = load_interactions(DataConfig(name="mine", from_file=str(path), min_count=0))
    assert data.name == "mine" and data.num_items == 2


def test_records_of_any_keys_are_a_table(write):
    lines = [{"who": u, "what": i, "when": t, "more": [1]} for u, i, t in ROWS]
    columns = Columns(user="who", item="what", time="when")
    line = write("x.jsonl", "\n".join(map(json.dumps, lines)))
    whole = write("y.json", json.dumps(lines, indent=2))
    table = write("z.csv", delimited(","))
    prints = {read(path, columns=columns, name="x").fingerprint() for path in (line, whole, table)}
    assert len(prints) == 1
    with pytest.raises(DataError, match=r"line 2: empty who"):
        text = '{"who": 1, "what": 2, "when": 3}\n{"what": 3, "when": 4}\n'
        read(write("x.jsonl", text), columns=columns)


def test_reviews_are_a_table_when_columns_are_named(write):
    path = write("r.jsonl", '{"user_id": "a", "asin": "x", "parent_asin": "p", "timestamp": 1}\n')
    assert read(path).items.ids.tolist() == ["p"]
    columns = Columns(user="user_id", item="asin", time="timestamp")
    assert read(path, columns=columns).items.ids.tolist() == ["x"]


def test_a_time_column_of_another_name_is_read(write):
    text = "user_id:token\titem_id:token\t{}:float\na\tlast\t3\na\tfirst\t1\na\tmiddle\t2\n"
    for name, columns in (("time", None), ("when", Columns(time="when"))):
        data = read(write("x.inter", text.format(name)), columns=columns)
        assert data.items.ids[data.history(0)].tolist() == ["first", "middle", "last"]
    data = read(write("x.inter", text.format("time")), columns=Columns(time="file-order"))
    assert data.items.ids[data.history(0)].tolist() == ["last", "first", "middle"]
    path = write("x.csv", "user,item,date\na,x,2020-01-02\na,y,2020-01-01\n")
    data = read(path, columns=Columns(time="file-order"))
    assert data.items.ids[data.history(0)].tolist() == ["x", "y"] and data.time_unit == "order"
    # Rows of each user in the order of their times: not to read the column changes nothing.
    path = write("x.csv", "user,item,date\na,x,2020-01-01\nb,x,2019-01-01\na,y,2020-01-01\n")
    assert len(read(path)) == 3


@pytest.mark.parametrize("name", ["u.data", "ratings.dat", "s.txt"])
def test_columns_are_not_named_for_a_format_that_fixes_them(write, name):
    path = write(name, FORMATS[name][1])
    with pytest.raises(ConfigError, match=r"fixed columns; remove --data\.time-column when"):
        read(path, columns=Columns(time="when"))


def test_an_item_table_is_read_with_every_format(write):
    items = write("items.csv", "item,title\n1,Alien\n2,Heat\n")
    path = write("u.data", FORMATS["u.data"][1])
    data = read(path, columns=Columns(item_table=items))
    assert data.items.text("title") == ["Alien", "Heat"]


def test_spaces_separate_the_named_columns_only(write):
    path = write("x.txt", "item user when\na u 2\nb u 1\n")
    data = read(path, columns=Columns(time="when"))
    assert data.items.ids[data.history(0)].tolist() == ["b", "a"]
    assert read(write("y.txt", "u1 a b\nu2 b\n")).num_users == 2


def test_a_file_is_read_itself_whatever_lies_beside_it(write):
    write("d/u.data", FORMATS["u.data"][1])
    data = read(write("d/ratings.csv", "userId,movieId,rating,timestamp\n9,8,5,1\n"))
    assert data.user_ids.tolist() == ["9"]


@pytest.mark.parametrize("packed", [False, True])
def test_the_only_file_of_a_directory_or_archive_is_read(write, tmp_path, packed):
    path = write("d/log.tsv", "who\twhat\nu\ta\nu\tb\n").parent
    if packed:
        with zipfile.ZipFile(tmp_path / "d.zip", "w") as content:
            content.write(path / "log.tsv", "log.tsv")
        path = tmp_path / "d.zip"
    data = read(path, columns=Columns(user="who", item="what"))
    assert data.items.ids.tolist() == ["a", "b"] and data.name == "d"
