import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from jaxrec.core.errors import DataError
from jaxrec.data import Columns, read, read_amazon, read_recbole, read_sequences, read_table
from jaxrec.data.files import read_delimited
from jaxrec.data.movies import split_title

ITEM = "1|Toy Story (1995)|01-Jan-1995||url|0|0|0|1|1|1" + "|0" * 13 + "\n"


def histories(data) -> dict[str, list[str]]:
    return {
        str(data.user_ids[u]): data.items.ids[items].tolist()
        for u, items in enumerate(data.sequences())
    }


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Toy Story (1995)", ("Toy Story", "1995")),
        ("Rocky VI (1986) ", ("Rocky VI", "1986")),
        ("Fawlty Towers (1975-1979)", ("Fawlty Towers", "1975")),
        ("Big Bang Theory, The (2007-)", ("Big Bang Theory, The", "2007")),
        ("Land Before Time III (1995) (V)", ("Land Before Time III", "1995")),
        ("Hyena Road", ("Hyena Road", "")),
        ("(1995)", ("(1995)", "")),
    ],
)
def test_a_title_is_split_from_its_year(title, expected):
    assert split_title(title) == expected


def test_movielens_100k_is_read_with_items_and_users(write):
    write("ml/u.data", "7\t1\t3\t100\n10\t1\t5\t50\n7\t2\t4\t90\n")
    write("ml/u.item", (ITEM + ITEM.replace("1|Toy", "2|Mis\xe9rables", 1)).encode("latin-1"))
    path = write("ml/u.user", "7|24|M|writer|00123\n").parent
    data = read(path)
    assert histories(data) == {"7": ["2", "1"], "10": ["1"]}
    assert data.rating.tolist() == [4, 3, 5]
    assert data.items.labels() == ["Toy Story (1995)", "Mis\xe9rables Story (1995)"]
    assert data.items.text("genres")[0] == "Animation | Children's | Comedy"
    assert data.user_fields["occupation"].tolist() == ["writer", ""]


def test_movielens_csv_is_read(write):
    write("x/ratings.csv", "userId,movieId,rating,timestamp\n1,31,2.5,20\n1,5,3.0,10\n")
    path = write("x/movies.csv", 'movieId,title,genres\n31,"A, B (1999)",Drama|War\n').parent
    data = read(path, name="mine")
    assert data.name == "mine" and histories(data) == {"1": ["5", "31"]}
    assert data.items.labels() == ["5", "A, B (1999)"]
    assert data.items.text("genres") == ["", "Drama | War"]


def test_double_colon_files_keep_leading_zeros_and_may_be_gzipped(write):
    write("t/movies.dat.gz", "0104257::A Few Good Men (1992)::Drama|Thriller\n")
    path = write("t/ratings.dat.gz", "1::0104257::9::1363245118\n").parent
    data = read(path)
    assert data.items.ids.tolist() == ["0104257"]
    assert data.items.labels() == ["A Few Good Men (1992)"]


def test_chronological_sequences_stand_in_for_missing_ratings(write):
    write("m/sequences.txt.gz", "1 20 3 5\n2 5 20\n")
    write("m/users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n")
    data = read(write("m/movies.dat", "3::C (2000)::War\n").parent)
    assert histories(data) == {"1": ["20", "3", "5"], "2": ["5", "20"]}
    assert data.time_unit == "order" and np.isnan(data.rating).all()
    assert data.time.tolist() == [0, 1, 2, 0, 1]
    assert data.user_fields["occupation"].tolist() == ["K-12 student", "self-employed"]


def test_the_sequential_format_unescapes_titles(write):
    items = write(
        "b/items.jsonl.gz",
        '{"id": 0, "title": "Shine &amp; Go", "categories": [["Beauty", "Hair"], ["Beauty"]]}\n',
    )
    path = write("b/sequential_data.txt.gz", "1 0 10 2\n\n2 2 0\n")
    data = read(path.parent)
    assert histories(data) == {"1": ["0", "10", "2"], "2": ["2", "0"]}
    assert data.items.text("title", "categories")[0] == "Shine & Go Beauty | Hair"
    assert data.fingerprint() == read_sequences(path, items).fingerprint()


AMAZON = {
    "2014": (
        {"reviewerID": "U", "asin": "B1", "overall": 4.0, "unixReviewTime": 20},
        "{'asin': 'B1', 'title': 'Tom\\'s &quot;Comb&quot;', 'brand': 'X', "
        "'categories': [['Hair']]}",
    ),
    "2018": (
        {"reviewerID": "U", "asin": "B1", "overall": 4.0, "unixReviewTime": 20, "verified": True},
        json.dumps(
            {"asin": "B1", "title": "Tom's &quot;Comb&quot;", "brand": "X", "category": ["Hair"]}
        ),
    ),
    "2023": (
        {
            "user_id": "U",
            "parent_asin": "B1",
            "asin": "B9",
            "rating": 4,
            "timestamp": 1588687728923,
        },
        json.dumps(
            {"parent_asin": "B1", "title": 'Tom\'s "Comb"', "store": "X", "categories": ["Hair"]}
        ),
    ),
}


@pytest.mark.parametrize("release", AMAZON)
def test_amazon_releases_differ_in_names_only(write, release):
    review, item = AMAZON[release]
    write("a/meta_Beauty.json.gz", item + "\n")
    data = read(write("a/Beauty.jsonl.gz", json.dumps(review) + "\n").parent)
    assert data.items.ids.tolist() == ["B1"] and data.rating.tolist() == [4]
    assert data.time.tolist() == [1588687728 if release == "2023" else 20]
    assert data.items.fields["title"].tolist() == ['Tom\'s "Comb"']
    assert data.items.text("brand", "categories") == ["X Hair"]


def test_recbole_files_are_read_by_their_header(write):
    write(
        "r/r.item",
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tComedy War\n2\tOld (1990)\tV\tWar\n",
    )
    path = write(
        "r/r.inter",
        "item_id:token\tuser_id:token\trating:float\ttimestamp:float\n1\tu\t3\t9.0\n2\tu\t4\t8e0\n",
    )
    data = read(path.parent)
    assert histories(data) == {"u": ["2", "1"]}
    assert data.time.tolist() == [8, 9] and data.time_unit == "s"
    assert data.items.labels() == ["Toy Story (1995)", "Old (1990)"]
    assert data.items.text("genres") == ["Comedy | War", "War"]
    assert read_recbole(path).fingerprint() == data.fingerprint()


def test_csv_and_parquet_give_the_same_by_a_column_mapping(tmp_path, write):
    table = pa.table(
        {
            "who": ["a", "b", "a"],
            "what": [5, 5, 40],
            "when": pa.array([3, 2, 1], pa.timestamp("s")),
            "stars": [1.5, 2, 3],
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet")
    csv = write("x.csv.gz", 'who,what,when,stars\na,5,3,1.5\n"b",5,2,2\n\na,40,1,3\n')
    items = write("items.csv", 'id,name,text\n5,Five,"two\nlines"\n40,Forty,x\n')
    columns = Columns(
        user="who",
        item="what",
        time="when",
        rating="stars",
        item_table=items,
        item_id="id",
        item_fields={"title": "name"},
    )
    a, b = read_table(tmp_path / "x.parquet", columns, "x"), read(csv, columns=columns, name="x")
    assert a.fingerprint() == b.fingerprint()
    assert histories(a) == {"a": ["40", "5"], "b": ["5"]}
    assert a.items.labels() == ["Five", "Forty"]
    every = read_table(csv, Columns(user="who", item="what", item_table=items, item_id="id"))
    assert every.items.text("name", "text") == ["Five two\nlines", "Forty x"]
    assert every.time_unit == "order"


# name, contents, what the message must name
MALFORMED = [
    ("u.data", "1\t2\t3\t4\n1\t2\t3\n", [": 1 bad row, nothing", "line 2: 3 fields, expected 4"]),
    ("u.data", "1\t2\t3\t4\n\n1\t2\tx\t4\n", ["line 3: rating 'x' is not a number"]),
    ("u.data", "1\t2\tnan\t4\n", ["line 1: rating 'nan' is not a number"]),
    ("u.data", "1\t2\t3\t4\n\t2\t3\t4\n", ["line 2: empty user"]),
    ("u.data", "1\t2\t3\tsoon\n" * 9, ["9 bad rows", "line 1: timestamp 'soon'", "and 6 more"]),
    ("u.data", "", ["no rows; the file is empty"]),
    ("ratings.dat", "1::2::3::4\n1:2:3:4\n", ["ratings.dat", "line 2: 1 fields, expected 4"]),
    ("ratings.csv", "userId,movieId,rating\n1,2,3\n", ["line 1: no column 'timestamp'"]),
    ("ratings.csv", "userId,movieId,rating,timestamp\n1,2,3,4,5\n", ["line 2: 5 fields"]),
    ("x.inter", "user_id:token\titem_id:token\n1\n", ["x.inter", "line 2: 1 fields"]),
    ("x.inter", "user_id\titem_id\n1\t2\n", ["line 1: column 'user_id' is not 'name:type'"]),
    ("x.inter", "user_id:token\n1\n", ["line 1: no column 'item_id'; columns: user_id"]),
    ("x.txt", "1 2 3\n2\n1 4\n", ["line 2: user '2' has no items", "3: user '1' is already on"]),
    ("x.jsonl", '{"a": \n', ["x.jsonl", "line 1: not JSON"]),
    ("x.jsonl", '[1]\n', ["line 1: not a JSON object"]),
    ("x.jsonl", '{"asin": "B", "reviewerID": "U"}\n', ["no unixReviewTime or timestamp; fields"]),
    (
        "x.json",
        '{"asin": "B", "reviewerID": "U", "unixReviewTime": "now"}\n',
        ["line 1: time 'now' is not a number"],
    ),
    ("x.csv", "user,item\n1,2\n3\n", ["x.csv", "line 3: 1 fields, expected 2 (user, item)"]),
    ("x.csv", "", ["empty file; expected a header line"]),
    ("x.csv", "user,item\n1,2\n3," + "4" * 200_000 + ",5\n", ["line 3: field larger than"]),
    ("x.csv", b"user,item\n1,\xff\n", ["line 2: byte 0xff is not UTF-8"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "parts"), MALFORMED)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_malformed_file_names_itself_and_its_lines(write, name, text, parts, ending):
    path = write(name + ending, text)
    with pytest.raises(DataError) as error:
        read(path)
    message = str(error.value)
    assert "\n" not in message and len(message) < 700
    for part in [str(path), *parts]:
        assert part in message


def test_bad_rows_of_a_parquet_file_are_named(tmp_path):
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"user": ["a", None, "c"], "item": ["1", "2", ""]}), path)
    with pytest.raises(DataError, match=r"2 bad rows.*row 2: user is empty; row 3: empty item"):
        read(path)
    with pytest.raises(DataError, match=r"no column 'itm', did you mean 'item'\?; columns: user"):
        read_table(path, Columns(item="itm"))
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read(path)


def test_a_truncated_gzip_file_is_not_half_read(tmp_path):
    path = tmp_path / "u.data.gz"
    path.write_bytes(gzip.compress(b"1\t2\t3\t4\n" * 9999)[:-20])
    with pytest.raises(DataError, match="corrupted gzip"):
        read(path)


def test_a_bad_item_file_stops_the_whole_load(write):
    write("ml/u.item", ITEM + "2|half a row\n")
    path = write("ml/u.data", "1\t1\t3\t4\n")
    with pytest.raises(DataError, match=r"u\.item: 1 bad row.*line 2: 2 fields, expected 24"):
        read(path)


def test_an_unknown_format_lists_the_known_ones(write):
    path = write("d/readme.md", "hello")
    with pytest.raises(DataError, match=r"unknown format .* \.parquet"):
        read(path)
    with pytest.raises(DataError, match=r"it holds readme\.md\); expected u\.data"):
        read(path.parent)


def test_several_review_files_ask_for_one(write):
    write("a/one.jsonl", "{}\n")
    path = write("a/two.jsonl", "{}\n")
    with pytest.raises(DataError, match=r"found: one\.jsonl, two\.jsonl; give the path"):
        read(path.parent)
    with pytest.raises(DataError, match="no reviewerID or user_id; fields: none"):
        read_amazon(path)


@pytest.mark.parametrize("text", ["a,1,2.5,7\nb,2,3,8\n", "a,1,2.5,7.9\nb,2,3,8\n"])
def test_the_fast_and_the_slow_reader_agree(write, monkeypatch, text):
    path = write("x.csv", "u,i,r,t\n" + text)
    columns = {"u": "id", "i": "id", "r": "float", "t": "time"}
    fast = read_delimited(path, delimiter=",", columns=columns, quoted=True)
    monkeypatch.setattr("jaxrec.data.files._read_with_arrow", lambda *_: None)
    slow = read_delimited(path, delimiter=",", columns=columns, quoted=True)
    for name in columns:
        assert fast[name].dtype.kind == slow[name].dtype.kind
        np.testing.assert_array_equal(fast[name], slow[name])
    assert fast["t"].tolist() == [7, 8]
