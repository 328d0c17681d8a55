import gzip
import json
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import ItemCodes, ItemIndex, external, repair
from jaxrec.ids.lengths import closed

ITEMS = ["x", "y", "z"]


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_published_ids_of_real_products_are_read_as_they_stand(real_data):
    path = real_data("amazon18-industrial") / "index.json"
    published = json.loads(path.read_text())
    items = sorted(published)
    codes = external.read(path, items)
    assert codes.num_items == 3686 and codes.levels == 3
    back = [
        [f"<{letter}_{code}>" for letter, code in zip("abc", row, strict=True)]
        for row in codes.codes.tolist()
    ]
    assert back == [published[item] for item in items]
    listed = [tuple(published[item]) for item in items]
    shared = sum(count for count in Counter(listed).values() if count > 1) / 3686
    assert codes.metadata["collision_share"] == pytest.approx(shared) == pytest.approx(31 / 3686)
    fixed = repair(codes)
    index = ItemIndex.build(fixed)
    np.testing.assert_array_equal(index.lookup(index.item_codes), np.arange(3686))
    assert (fixed.codes != codes.codes).any(axis=1).sum() == 16


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.json", {"z": [0, 5], "x": [1, 2], "y": [3]}),
        ("ids.json", {"z": ["<a_0>", "<b_5>"], "x": ["<a_1>", "<b_2>"], "y": ["<a_3>"]}),
        ("ids.csv", "item,first,second\nz,0,5\nx,1,2\n\ny,3,\n"),
        ("ids.csv", "item,first,second\nz,<a_0>,<b_5>\nx,<a_1>,<b_2>\ny,<a_3>,\n"),
        ("ids.csv", "item,id\nz,<a_0><b_5>\nx,<a_1> <b_2>\ny,<a_3>\n"),
        ("ids.tsv", "item\tid\nz\t0 5\nx\t1 2\ny\t3\n"),
    ],
)
def test_all_ways_of_writing_ids_say_the_same(tmp_path, name, content):
    path = written(tmp_path / name, content)
    codes = external.read(path, ITEMS)
    assert codes.codes.tolist() == [[1, 2], [3, -1], [0, 5]]
    assert codes.sizes == (4, 6) and codes.scheme == "external"
    zipped = tmp_path / (name + ".gz")
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(external.read(zipped, ITEMS).codes, codes.codes)
    assert closed(codes).codes.tolist() == [[1, 2], [3, 6], [0, 5]]


def test_the_list_of_an_export_is_read(tmp_path):
    rows = [{"item": key, "id": f"<a_{n}><b_3>", "label": "x"} for n, key in enumerate(ITEMS)]
    found = external.read(written(tmp_path / "item_ids.json", rows), ITEMS)
    assert found.codes.tolist() == [[0, 3], [1, 3], [2, 3]]


def test_given_sizes_make_room_for_codes_that_no_item_has(tmp_path):
    path = written(tmp_path / "ids.json", {"x": [0], "y": [1], "z": [2]})
    assert external.read(path, ITEMS, sizes=(256,)).sizes == (256,)
    with pytest.raises(DataError, match=r"item 2 has code 2 at level 0; codes there are 0\.\.1"):
        external.read(path, ITEMS, sizes=(2,))


def test_missing_and_unknown_items_are_named(tmp_path):
    path = written(tmp_path / "ids.json", {"x": [0], "B1": [1], "B2": [2]})
    with pytest.raises(DataError, match=r"no ID for 2 \('y', 'z'\) of 3 items"):
        external.read(path, ITEMS)
    with pytest.raises(DataError, match=r"2 \('B1', 'B2'\) of the file's 3 items are not in"):
        external.read(path, ["x"])
    codes = external.read(path, ["x"], unknown="ignore")
    assert codes.codes.tolist() == [[0]] and codes.metadata["unknown_items"] == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"x": [1],\n "y": [}', r"a\.json: line 2: not valid JSON"),
        ("a.json", '"x"', "expected a JSON object"),
        ("a.json", "[[1]]", r"expected rows \{\"item\": .* got \[1\]"),
        ("a.json", [{"item": "x"}], "expected rows .* got"),
        ("a.json", [{"item": "x", "id": "<a_1>b"}], "item 'x': '<a_1>b' is not a code"),
        ("a.json", {"x": 3}, "item 'x' has 3; expected a list"),
        ("a.json", {"x": []}, "item 'x': there are no codes"),
        ("a.json", {"x": [True]}, "item 'x': True is not a code"),
        ("a.json", {"x": [1.5]}, "item 'x': 1.5 is not a code"),
        ("a.json", {"x": ["a_1>"]}, "item 'x': 'a_1>' is not a code; write 12 or '<a_12>'"),
        ("a.json", '{"x": [1], "x": [2]}', "item 'x' is in the file twice"),
        ("a.json", {"x": ["<a_1>"], "y": ["<b_1>"]}, "item 'y': code '<b_1>' at level 0"),
        ("a.json", {"x": [1], "y": ["<b_1>"]}, "have bare numbers"),
        (
            "a.json",
            {"x": [1, 2**40]},
            "item 'x': code .*1099511627776.* at level 1 is not below 16,777,216",
        ),
        ("a.json", {"x": [2_000_000_000]}, "is not below 16,777,216"),
        ("a.json", {"x": ["<a_" + "9" * 5000 + ">"]}, "is not below 16,777,216"),
        ("a.json", '{"x": [' + "9" * 5000 + "]}", "not valid JSON"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.csv", 'item,0\nx,"' + "1" * 200_000, "line 2: field larger than field limit"),
        ("a.csv", "", r"a\.csv: line 1: expected a header"),
        ("a.csv", "item,0\nx,1\ny,-1\n", r"a\.csv: line 3: item 'y': '-1' is not a code"),
        ("a.csv", "item,0,1\nx,,1\n", r"a\.csv: line 2: item 'x': '' is not a code"),
        ("a.csv", "item,0\nx,1,2\n", r"a\.csv: line 2: the row has 3 cells, but the header has 2"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        external.read(written(tmp_path / name, content), ["x"])
    assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_no_array_is_as_long_as_the_largest_code(tmp_path):
    # 16 million codes in 2 items: counting them takes the memory of the items.
    path = written(tmp_path / "a.json", {"x": [16_000_000], "y": [0]})
    tracemalloc.start()
    codes = external.read(path, ["x", "y"])
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert codes.sizes == (16_000_001,)
    assert codes.metadata["entropy"] == [1.0] and codes.metadata["collapsed_levels"] == []


def test_other_files_and_choices_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"read from \.json, \.csv or \.tsv"):
        external.read(tmp_path / "ids.parquet", ITEMS)
    with pytest.raises(ConfigError, match="choices: refuse, ignore"):
        external.read(tmp_path / "ids.json", ITEMS, unknown="drop")
    with pytest.raises(DataError, match="no such file"):
        external.read(tmp_path / "ids.json", ITEMS)


@pytest.mark.parametrize("code", [2**24, 2_000_000_000, 2**40, "<a_1099511627776>", "9" * 5000])
def test_a_code_that_is_a_hash_is_refused_before_anything_is_allocated(code, tmp_path):
    cell = code if isinstance(code, str) else json.dumps(code)
    first = f'"{cell}"' if isinstance(code, str) else cell
    (tmp_path / "ids.json").write_text(f'{{"x": [{first}]}}')
    with pytest.raises(DataError, match=r"item 'x': code .* at level 0 is not below 16,777,216"):
        external.read(tmp_path / "ids.json", ["x"])


def test_a_codebook_that_no_vocabulary_holds_is_refused():
    with pytest.raises(DataError, match="a codebook of 2,000,000,000 codes is larger than"):
        ItemCodes(codes=np.array([[1]]), sizes=(2_000_000_000,), scheme="mine")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 50_000, '{"x": ' + "9" * 5000 + "}"])
def test_json_that_python_cannot_hold_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(DataError, match=r"ids\.json: .*(not valid JSON|expected a list)") as error:
        external.read(written(tmp_path / "ids.json", text), ITEMS)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
